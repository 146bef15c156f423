package mysql

import (
	"slices"
	"strings"
)

// Of the patterns that match a database's name the server takes one, and forgets the
// others: the most special one, which is the name itself where it was granted
// (acl_get and get_sort in sql_acl.cc of MariaDB and, without active roles, of MySQL;
// "Specifying Account Names and Privileges" in MySQL's manual). It does so for the
// account, for PUBLIC, and for all active roles together; what these three give adds
// up. With active roles MySQL 8 takes the name itself, and all patterns where there
// is none (Security_context::db_acl).

// row is what a group of grantees has on one pattern.
type row struct {
	pattern string
	grants  []grant
}

func (r row) gives(privilege string) bool {
	return slices.ContainsFunc(r.grants, func(one grant) bool { return one.gives(privilege) })
}

// inForce gives the rows that count on a database, of each group of grantees. Where
// several of a group are as special as each other, which one counts is not known.
func (g *grants) inForce(database string) map[string][]row {
	groups := map[string][]row{}
	for _, one := range g.list {
		if one.revoked || one.table != "*" || one.database == "*" || !g.matches(one.database, database) {
			continue
		}
		rows := groups[g.group(one)]
		i := slices.IndexFunc(rows, func(r row) bool { return r.pattern == one.database })
		if i < 0 {
			i, rows = len(rows), append(rows, row{pattern: one.database})
		}
		rows[i].grants = append(rows[i].grants, one)
		groups[g.group(one)] = rows
	}
	for name, rows := range groups {
		most := 0
		for _, r := range rows {
			most = max(most, g.rank(r.pattern))
		}
		groups[name] = slices.DeleteFunc(rows, func(r row) bool { return g.rank(r.pattern) < most })
	}
	return groups
}

// The groups of grantees.
const (
	ofAccount = "account"
	ofPublic  = "PUBLIC"
	ofRoles   = "roles"
)

func (g *grants) group(one grant) string {
	switch {
	case one.grantee == ofPublic || one.grantee == quoteName(ofPublic):
		return ofPublic
	case g.merged, strings.Contains(one.grantee, "@"):
		return ofAccount
	default:
		return ofRoles
	}
}

// rank orders patterns: the longer what stands before the first wildcard, the more
// special.
func (g *grants) rank(pattern string) int {
	const plain = 128
	if g.literal {
		return plain
	}
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '%', '_':
			if g.merged {
				return 1
			}
			return min(i+1, plain-1)
		}
	}
	return plain
}

// gives reports whether the rows that count on a database have a privilege, whichever
// of equals it is that counts.
func (g *grants) gives(privilege, database string) bool {
	lacks := func(r row) bool { return !r.gives(privilege) }
	for _, rows := range g.inForce(database) {
		if !slices.ContainsFunc(rows, lacks) || g.merged && slices.ContainsFunc(rows, func(r row) bool { return r.gives(privilege) }) {
			return true
		}
	}
	return false
}

// targets are the patterns, as SQL, on which the account has to be granted more to
// have it on a database. A row of its own for the name would take the place of what
// the account has by a pattern.
func (g *grants) targets(database string) []string {
	rows := g.inForce(database)[ofAccount]
	if len(rows) == 0 {
		return []string{quotePattern(database)}
	}
	quoted := make([]string, len(rows))
	for i, r := range rows {
		quoted[i] = quoteName(r.pattern)
	}
	if g.merged {
		return quoted[:1]
	}
	return quoted
}
