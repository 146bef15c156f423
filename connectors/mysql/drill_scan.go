package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"

	"xvault/internal/job"
)

// dumpAbout is what a dump says of itself, read as the dump programs write it: each
// statement begins a line, and ends of lines in values are escaped.
type dumpAbout struct {
	server   version
	made     string // of CREATE DATABASE, how it was made
	tables   []string
	rows     map[string]int64
	engines  map[string]bool
	definers map[account]bool
	complete bool

	routine bool   // within a body that another delimiter ends
	table   string // whose rows come
	row     rowScanner
}

// account is who owns a view or a routine.
type account struct{ user, host string }

func newDumpAbout() *dumpAbout {
	return &dumpAbout{rows: map[string]int64{}, engines: map[string]bool{}, definers: map[account]bool{}}
}

// What is taken of a dump at most.
const (
	maxDrillTables = 200_000
	maxDefiners    = 1_000
	maxEngines     = 100
	scanBuffer     = 256 << 10
)

var (
	serverLine  = regexp.MustCompile(`^-- Server version\s+(\S.*)$`)
	definerWord = regexp.MustCompile("DEFINER=`((?:[^`]|``)*)`@`((?:[^`]|``)*)`")
	engineWord  = regexp.MustCompile(`^\) ENGINE=([A-Za-z0-9_]+)`)
	insertWord  = []byte("INSERT INTO `")
	createWord  = []byte("CREATE TABLE `")
)

// read reads a dump to its end.
func (a *dumpAbout) read(dump io.Reader) error {
	r := bufio.NewReaderSize(dump, scanBuffer)
	for begin := true; ; {
		piece, err := r.ReadSlice('\n')
		if len(piece) > 0 {
			if wrong := a.piece(piece, begin); wrong != nil {
				return wrong
			}
		}
		begin = err == nil
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// piece takes a line, or a part of a long one.
func (a *dumpAbout) piece(p []byte, begin bool) error {
	if a.table != "" {
		a.count(p)
		return nil
	}
	if !begin {
		return nil
	}
	switch {
	case bytes.HasPrefix(p, []byte("DELIMITER ")):
		a.routine = string(bytes.TrimSpace(p)) != "DELIMITER ;"
	case a.routine:
		a.owners(p)
	case bytes.HasPrefix(p, insertWord):
		return a.insert(p)
	case bytes.HasPrefix(p, createWord):
		name, _, ok := backticked(p[len(createWord)-1:])
		if !ok {
			return notUnderstood()
		}
		return a.addTable(name)
	default:
		a.line(string(bytes.TrimRight(p, "\r\n")))
	}
	return nil
}

// line reads what is neither a table nor its rows.
func (a *dumpAbout) line(text string) {
	a.complete = lastLine.MatchString(text) || a.complete && text == ""
	if m := serverLine.FindStringSubmatch(text); m != nil && a.server.major == 0 {
		a.server, _ = versionOf(m[1], "") // none is told by its number
	}
	if m := madeLine.FindStringSubmatch(text + "\n"); m != nil && a.made == "" {
		a.made = " CHARACTER SET " + m[1] + " COLLATE " + m[2]
	}
	if m := engineWord.FindStringSubmatch(text); m != nil && len(a.engines) < maxEngines {
		a.engines[strings.ToLower(m[1])] = true
	}
	a.owners([]byte(text))
}

// owners notes who owns what is made.
func (a *dumpAbout) owners(text []byte) {
	for _, m := range definerWord.FindAllSubmatch(text, 8) {
		if len(a.definers) < maxDefiners {
			a.definers[account{unbacktick(m[1]), unbacktick(m[2])}] = true
		}
	}
}

func (a *dumpAbout) addTable(name string) error {
	if _, there := a.rows[name]; there {
		return nil
	}
	if len(a.tables) == maxDrillTables {
		return job.Errorf(job.Unprovable, "it has more than %d tables, which is too much for a drill", maxDrillTables)
	}
	a.tables = append(a.tables, name)
	a.rows[name] = 0
	return nil
}

// insert begins a statement with rows: INSERT INTO `t` [(`a`, `b`)] VALUES (1,'x'),(2,'y');
func (a *dumpAbout) insert(p []byte) error {
	name, rest, ok := backticked(p[len(insertWord)-1:])
	if !ok {
		return notUnderstood()
	}
	if err := a.addTable(name); err != nil {
		return err
	}
	a.table, a.row = name, rowScanner{}
	a.count(rest)
	return nil
}

// count counts the rows in a piece of a statement.
func (a *dumpAbout) count(p []byte) {
	rows, ended := a.row.scan(p)
	a.rows[a.table] += rows
	if ended {
		a.table = ""
	}
}

func notUnderstood() error {
	return job.Errorf(job.Unprovable, "its rows cannot be counted: what the dump program wrote is not understood")
}

// backticked reads a name at the beginning of SQL.
func backticked(p []byte) (name string, rest []byte, ok bool) {
	for i := 1; i < len(p); i++ {
		if p[i] != '`' {
			continue
		}
		if i+1 < len(p) && p[i+1] == '`' {
			i++
			continue
		}
		return unbacktick(p[1:i]), p[i+1:], true
	}
	return "", nil, false
}

func unbacktick(p []byte) string { return strings.ReplaceAll(string(p), "``", "`") }

// rowScanner finds the rows in what follows a table's name: what stands in parentheses,
// outside of quotes, behind the word VALUES.
type rowScanner struct {
	quote   byte // that ends what is quoted; 0: nothing is
	escaped bool // the byte before was a backslash within quotes
	depth   int
	values  bool
}

// scan tells how many rows begin in a piece, and whether the statement ends in it.
func (s *rowScanner) scan(p []byte) (rows int64, ended bool) {
	for _, c := range p {
		switch {
		case s.escaped:
			s.escaped = false
		case s.quote != 0:
			switch {
			case c == s.quote:
				s.quote = 0 // a doubled one opens the next at once
			case c == '\\' && s.quote != '`':
				s.escaped = true
			}
		case c == '\'' || c == '"' || c == '`':
			s.quote = c
		case c == '(':
			if s.depth++; s.depth == 1 && s.values {
				rows++
			}
		case c == ')':
			s.depth--
		case c == 'V' && s.depth == 0:
			s.values = true
		case c == ';' && s.depth == 0:
			return rows, true
		}
	}
	return rows, false
}
