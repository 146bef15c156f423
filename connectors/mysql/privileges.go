package mysql

import (
	"fmt"
	"slices"
	"strings"

	"xvault/internal/job"
)

// lacking says which privileges a whole dump of a database still needs: without
// them the server does not refuse, it hides tables, triggers and routines.
func (r *reach) lacking(v version, g *grants, d *database) *job.Error {
	var privileges []string
	for _, privilege := range []string{"SELECT", "TRIGGER", "EVENT"} {
		if privilege == "EVENT" && !r.whole() {
			continue
		}
		if !g.may(privilege, d.name) && !r.onChosen(g, d, privilege) {
			privileges = append(privileges, privilege)
		}
	}
	if !g.may("SHOW VIEW", d.name) && hidesView(g, d) {
		privileges = append(privileges, "SHOW VIEW")
	}
	var run []string
	if len(privileges) > 0 {
		for _, on := range g.targets(d.name) {
			run = append(run, fmt.Sprintf("GRANT %s ON %s.* TO %s;", strings.Join(privileges, ", "), on, g.account))
		}
	}
	routines := r.config.Routines && r.whole() && !seesRoutines(v, g, d.name)
	if routines {
		for _, on := range routinePrivilege(v, g.targets(d.name)) {
			run = append(run, fmt.Sprintf("GRANT %s TO %s;", on, g.account))
		}
	}
	if len(run) == 0 {
		return nil
	}
	what := strings.Join(privileges, ", ")
	if routines {
		if what != "" {
			what += " and "
		}
		what += "the right to see stored procedures and functions (or set routines to false, to leave them out)"
	}
	either := ""
	if len(d.chosen) > 0 && !r.single() {
		either = " Or write each of tables as database.table, so that it is looked for in that database alone."
	}
	return job.Errorf(job.PermissionDenied, "the account lacks privileges for a whole dump of the database %q: %s. Run on the server: %s%s", d.name, what, strings.Join(run, " "), either)
}

// whole reports whether databases are dumped with all that belongs to them, rather
// than some tables of them.
func (r *reach) whole() bool { return len(r.config.Tables) == 0 }

// onChosen reports whether a privilege on the chosen tables is enough, and there.
func (r *reach) onChosen(g *grants, d *database, privilege string) bool {
	if len(d.chosen) == 0 {
		return false
	}
	names := slices.Clone(d.chosen)
	if !r.single() && !g.may("SELECT", d.name) {
		names = append(names, r.meant(d.name)...)
	}
	return !slices.ContainsFunc(names, func(name string) bool { return !g.mayTable(privilege, d.name, name) })
}

// single reports whether a table that is named can only be in one place, so that it
// is missed where the account may not see it.
func (r *reach) single() bool {
	return len(r.config.Databases) == 1 && r.config.Databases[0] != everything
}

// meant are the named tables that a database may have, also where none is seen: a
// table that is seen in another one would not be missed here.
func (r *reach) meant(database string) (names []string) {
	for _, name := range r.config.Tables {
		table := name
		if of, rest, qualified := strings.Cut(name, "."); qualified {
			if of != database {
				continue
			}
			table = rest
		}
		if !means(r.config.ExcludeTables, database, table) {
			names = append(names, table)
		}
	}
	return names
}

func hidesView(g *grants, d *database) bool {
	for _, t := range d.tables {
		if t.isView() && !g.mayTable("SHOW VIEW", d.name, t.name) {
			return true
		}
	}
	return false
}

// seesRoutines reports whether the account is told of all of a database's routines.
// With EXECUTE it is told that they are there, and the dump fails if it cannot have
// their text.
func seesRoutines(v version, g *grants, database string) bool {
	for _, privilege := range []string{"EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE"} {
		if g.may(privilege, database) {
			return true
		}
	}
	switch {
	case v.flavor == mariaDB && v.atLeast(11, 3) && g.may("SHOW CREATE ROUTINE", database):
		return true
	case v.flavor == oracle && v.atLeast(8, 0):
		return g.may("SHOW_ROUTINE", "*") || g.may("SELECT", "*")
	default:
		return g.mayTable("SELECT", "mysql", "proc")
	}
}

// routinePrivilege is the least that shows them, on the given patterns where it is not
// on everything.
func routinePrivilege(v version, patterns []string) []string {
	switch {
	case v.flavor == mariaDB && v.atLeast(11, 3):
		on := make([]string, len(patterns))
		for i, pattern := range patterns {
			on[i] = "SHOW CREATE ROUTINE ON " + pattern + ".*"
		}
		return on
	case v.flavor == oracle && v.atLeast(8, 0):
		return []string{"SHOW_ROUTINE ON *.*"}
	default:
		return []string{"SELECT ON mysql.proc"}
	}
}
