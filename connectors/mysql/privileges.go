package mysql

import (
	"fmt"
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
		run = append(run, fmt.Sprintf("GRANT %s ON %s.* TO %s;", strings.Join(privileges, ", "), quotePattern(d.name), g.account))
	}
	routines := r.config.Routines && r.whole() && !seesRoutines(v, g, d.name)
	if routines {
		run = append(run, fmt.Sprintf("GRANT %s TO %s;", routinePrivilege(v, d.name), g.account))
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
	return job.Errorf(job.PermissionDenied, "the account lacks privileges for a whole dump of the database %q: %s. Run on the server: %s", d.name, what, strings.Join(run, " "))
}

// whole reports whether databases are dumped with all that belongs to them, rather
// than some tables of them.
func (r *reach) whole() bool { return len(r.config.Tables) == 0 }

// onChosen reports whether a privilege on the chosen tables is enough, and there.
func (*reach) onChosen(g *grants, d *database, privilege string) bool {
	if len(d.chosen) == 0 {
		return false
	}
	for _, name := range d.chosen {
		if !g.mayTable(privilege, d.name, name) {
			return false
		}
	}
	return true
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

// routinePrivilege is the least that shows them.
func routinePrivilege(v version, database string) string {
	switch {
	case v.flavor == mariaDB && v.atLeast(11, 3):
		return "SHOW CREATE ROUTINE ON " + quotePattern(database) + ".*"
	case v.flavor == oracle && v.atLeast(8, 0):
		return "SHOW_ROUTINE ON *.*"
	default:
		return "SELECT ON mysql.proc"
	}
}
