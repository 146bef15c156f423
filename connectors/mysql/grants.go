package mysql

import (
	"context"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"
)

// grants are what an account may do.
type grants struct {
	list    []grant
	account string // as SQL: 'user'@'host'
	literal bool   // names of databases are no patterns
	merged  bool   // what roles give is listed as the account's own
}

// grant is some privileges on something.
type grant struct {
	privileges []string // in capitals: "SELECT", "ALL PRIVILEGES"
	database   string   // "*": all
	table      string   // "*": all
	grantee    string   // the account, a role or PUBLIC, as the server writes it
	revoked    bool     // taken away from what another one gives
}

// readGrants asks for those of the account, with the roles that are in force. What
// the server prints may hold hashes of passwords, so it is never shown.
func (s *server) readGrants(ctx context.Context) (*grants, error) {
	g := &grants{}
	account, err := s.one(ctx, "SELECT CURRENT_USER()", 1)
	if err != nil {
		return nil, err
	}
	g.account = quoteAccount(account[0])
	question := "SHOW GRANTS"
	if s.flavor == oracle && s.atLeast(8, 0) {
		roles, err := s.one(ctx, "SELECT CURRENT_ROLE()", 1)
		if err != nil {
			return nil, err
		}
		if roles[0] != "NONE" && roles[0] != "" {
			question = "SHOW GRANTS FOR CURRENT_USER() USING " + roles[0] // names that the server quoted
			g.merged = true
		}
	}
	lines, err := s.texts(ctx, question)
	if err != nil {
		return nil, err
	}
	if s.flavor == mariaDB && s.atLeast(10, 11) {
		public, err := s.texts(ctx, "SHOW GRANTS FOR PUBLIC")
		if err != nil && ctx.Err() != nil {
			return nil, err
		}
		lines = append(lines, public...)
	}
	for _, line := range lines {
		if one, ok := parseGrant(line); ok {
			g.list = append(g.list, one)
			g.literal = g.literal || one.revoked
		}
	}
	return g, nil
}

// parseGrant reads "GRANT SELECT, INSERT (`a`) ON `db`.* TO ..."; false for what is
// not about databases: roles, proxies, single routines.
func parseGrant(line string) (grant, bool) {
	var g grant
	rest, ok := strings.CutPrefix(line, "GRANT ")
	if !ok {
		if rest, ok = strings.CutPrefix(line, "REVOKE "); !ok {
			return g, false
		}
		g.revoked = true
	}
	what, on, ok := cutOutside(rest, " ON ")
	if !ok {
		return g, false
	}
	for _, privilege := range splitOutside(what) {
		if !strings.Contains(privilege, "(") { // of some columns only
			g.privileges = append(g.privileges, strings.ToUpper(privilege))
		}
	}
	on = strings.TrimPrefix(on, "TABLE ")
	if g.database, on, ok = cutName(on); !ok || !strings.HasPrefix(on, ".") {
		return g, false
	}
	g.table, on, ok = cutName(on[1:])
	_, g.grantee, _ = cutOutside(on, " TO ")
	g.grantee, _, _ = cutOutside(g.grantee, " ") // from "IDENTIFIED BY", "REQUIRE", "WITH"
	if strings.HasSuffix(on, " WITH GRANT OPTION") || strings.Contains(on, "WITH GRANT OPTION") && !strings.Contains(on, "'") {
		g.privileges = append(g.privileges, "GRANT OPTION")
	}
	return g, ok
}

// cutOutside cuts at a separator that stands neither in quotes nor in parentheses.
func cutOutside(text, separator string) (before, after string, found bool) {
	quoted, depth := false, 0
	for i := range len(text) {
		switch c := text[i]; {
		case c == '`':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case depth == 0 && strings.HasPrefix(text[i:], separator):
			return text[:i], text[i+len(separator):], true
		}
	}
	return text, "", false
}

// splitOutside splits at commas likewise.
func splitOutside(text string) (parts []string) {
	for more := true; more; {
		var part string
		part, text, more = cutOutside(text, ",")
		parts = append(parts, strings.TrimSpace(part))
	}
	return parts
}

// cutName takes a name in backticks, or "*", from the front.
func cutName(text string) (name, rest string, ok bool) {
	if rest, ok := strings.CutPrefix(text, "*"); ok {
		return "*", rest, true
	}
	if !strings.HasPrefix(text, "`") {
		return "", text, false
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '`':
			b.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == '`':
			b.WriteByte('`')
			i++
		default:
			return b.String(), text[i+1:], true
		}
	}
	return "", text, false
}

// may reports whether the account has a privilege on a whole database; "*" means on
// all of them.
func (g *grants) may(privilege, database string) bool {
	all := false
	for _, one := range g.list {
		switch {
		case one.table != "*" || !one.gives(privilege):
		case one.revoked && database != "*" && one.database == database:
			return false
		case !one.revoked && one.database == "*":
			all = true
		}
	}
	return all || database != "*" && g.gives(privilege, database)
}

// mayTable reports whether it has a privilege on one table.
func (g *grants) mayTable(privilege, database, table string) bool {
	return g.may(privilege, database) || slices.ContainsFunc(g.list, func(one grant) bool {
		return !one.revoked && one.database == database && one.table == table && one.gives(privilege)
	})
}

func (g grant) gives(privilege string) bool {
	return slices.Contains(g.privileges, privilege) ||
		privilege != "GRANT OPTION" && (slices.Contains(g.privileges, "ALL PRIVILEGES") || slices.Contains(g.privileges, "ALL"))
}

func (g *grants) matches(pattern, database string) bool {
	if g.literal {
		return pattern == database
	}
	return like(pattern, database)
}

// like matches a pattern of SQL: "%" any text, "_" one character, "\" takes the next
// one as it is.
func like(pattern, text string) bool {
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	escaped := false
	for _, r := range pattern {
		switch {
		case escaped:
			b.WriteString(regexp.QuoteMeta(string(r)))
			escaped = false
		case r == '\\':
			escaped = true
		case r == '%':
			b.WriteString(".*")
		case r == '_':
			b.WriteString(".")
		default:
			b.WriteString(regexp.QuoteMeta(string(r)))
		}
	}
	b.WriteString(`\z`)
	compiled, err := regexp.Compile(b.String())
	return err == nil && compiled.MatchString(text)
}

// writing are privileges that a backup never needs.
var writing = []string{
	"INSERT", "UPDATE", "DELETE", "DELETE HISTORY", "CREATE", "DROP", "ALTER", "INDEX", "CREATE VIEW", "CREATE ROUTINE", "ALTER ROUTINE",
	"CREATE USER", "CREATE ROLE", "DROP ROLE", "CREATE TABLESPACE", "SUPER", "FILE", "SHUTDOWN", "GRANT OPTION", "ALL PRIVILEGES", "ALL",
}

// writes lists those that the account has.
func (g *grants) writes() (list []string) {
	for _, privilege := range writing {
		if slices.ContainsFunc(g.list, func(one grant) bool { return !one.revoked && slices.Contains(one.privileges, privilege) }) {
			list = append(list, privilege)
		}
	}
	return list
}

// quoteName writes a name as SQL.
func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// quoteText writes a text as SQL.
func quoteText(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text) + "'"
}

// literal writes a text as SQL, whatever the server's settings make of backslashes.
func literal(text string) string { return "_utf8mb4 X'" + hex.EncodeToString([]byte(text)) + "'" }

// quotePattern writes a database's name where SQL takes a pattern.
func quotePattern(name string) string {
	return quoteName(strings.NewReplacer(`\`, `\\`, `_`, `\_`, `%`, `\%`).Replace(name))
}

// quoteAccount writes "user@host" as SQL.
func quoteAccount(account string) string {
	at := strings.LastIndexByte(account, '@')
	if at < 0 {
		return quoteText(account)
	}
	return quoteText(account[:at]) + "@" + quoteText(account[at+1:])
}
