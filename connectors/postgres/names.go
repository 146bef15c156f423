package postgres

import (
	"errors"
	"regexp"
	"strings"

	"xvault/connectors"
)

// folder holds all members.
const folder = "postgres/"

const globalsName = folder + "globals.sql"

// member is the name under which a database is stored.
func member(database string, f Format) string {
	name := folder + connectors.EncodeName(database)
	if f == Custom {
		return name + ".dump"
	}
	if name += ".sql"; name == globalsName {
		return folder + "%67lobals.sql" // the first letter escaped
	}
	return name
}

// quoteIdent writes a name as SQL has it.
func quoteIdent(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// quoteValue writes a value of a connection string.
func quoteValue(value string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(value) + "'"
}

// tablePattern is one item of exclude_tables: `table` in whatever schema, or
// `schema.table`. In either part "*" stands for any characters and "?" for one;
// everything else is itself, upper and lower case included. A part in double quotes
// has no wildcards and may hold dots.
type tablePattern struct{ schema, table []piece }

// piece is text as it is, or a wildcard.
type piece struct {
	text string // "" for a wildcard
	wild byte   // '*' or '?'
}

func parseTablePattern(pattern string) (tablePattern, error) {
	var parts [][]piece
	var part []piece
	quoted := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == 0:
			return tablePattern{}, errors.New("must not hold a zero byte")
		case c == '"' && quoted && i+1 < len(pattern) && pattern[i+1] == '"':
			part = literal(part, '"')
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '.':
			parts, part = append(parts, part), nil
		case !quoted && (c == '*' || c == '?'):
			part = append(part, piece{wild: c})
		default:
			part = literal(part, c)
		}
	}
	if quoted {
		return tablePattern{}, errors.New("has a double quote without its other half")
	}
	return newTablePattern(append(parts, part))
}

func newTablePattern(parts [][]piece) (tablePattern, error) {
	for _, p := range parts {
		if len(p) == 0 {
			return tablePattern{}, errors.New("must be a table, or a schema and a table with a dot between")
		}
	}
	switch len(parts) {
	case 1:
		return tablePattern{schema: []piece{{wild: '*'}}, table: parts[0]}, nil
	case 2:
		return tablePattern{schema: parts[0], table: parts[1]}, nil
	default:
		return tablePattern{}, errors.New(`has more than one dot: put a name that holds dots in double quotes`)
	}
}

func literal(part []piece, c byte) []piece {
	if n := len(part); n > 0 && part[n-1].wild == 0 {
		part[n-1].text += string([]byte{c})
		return part
	}
	return append(part, piece{text: string([]byte{c})})
}

// dumpPattern is the pattern as pg_dump has it, where names outside of quotes are
// lower-cased and many characters have a meaning.
func (p tablePattern) dumpPattern() string { return psqlPart(p.schema) + "." + psqlPart(p.table) }

func psqlPart(part []piece) string {
	var b strings.Builder
	for _, p := range part {
		if p.wild != 0 {
			b.WriteByte(p.wild)
		} else {
			b.WriteString(quoteIdent(p.text))
		}
	}
	return b.String()
}

// matches reports whether a table is meant.
func (p tablePattern) matches(schema, table string) bool {
	return expression(p.schema).MatchString(schema) && expression(p.table).MatchString(table)
}

func expression(part []piece) *regexp.Regexp {
	var b strings.Builder
	for _, p := range part {
		switch p.wild {
		case '*':
			b.WriteString(".*")
		case '?':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(p.text))
		}
	}
	return regexp.MustCompile(`(?s)\A` + b.String() + `\z`)
}
