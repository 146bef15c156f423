package mysql

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

func TestProbeTells(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Plant(name, 10)
	m.Do(name, "CREATE TABLE old (a INT) ENGINE=MyISAM")
	l := newLab(t, m, []string{"ALL ON " + name + ".*", "SELECT ON mysql.proc"}, name)
	found, err := l.probe()
	if err != nil {
		t.Fatal(err)
	}
	if len(found.Paths) != 1 || found.Paths[0] != (connectors.ProbePath{Path: name, Reachable: true, Kind: "database"}) {
		t.Errorf("paths: %+v", found.Paths)
	}
	if !strings.Contains(found.ServerVersion, "MariaDB") || !strings.Contains(found.Transport, "dumped with MariaDB 10.") || !strings.Contains(found.Transport, "TLS") {
		t.Errorf("%q, %q", found.ServerVersion, found.Transport)
	}
	for _, tell := range []string{"could change or delete", "old (MyISAM)", "certificate is not checked"} {
		if !slices.ContainsFunc(found.Warnings, func(w string) bool { return strings.Contains(w, tell) }) {
			t.Errorf("no warning of %q in %q", tell, found.Warnings)
		}
	}
	l.mustRead()
	if !strings.Contains(l.log.String(), "old (MyISAM)") {
		t.Errorf("the log does not tell of the table without transactions:\n%s", l.log.String())
	}
	least := newLab(t, m, fullGrants(name), name)
	if found, err = least.probe(); err != nil || slices.ContainsFunc(found.Warnings, func(w string) bool { return strings.Contains(w, "could change") }) {
		t.Errorf("of the least: %v, %q", err, found.Warnings)
	}
}

var grantsToRun = regexp.MustCompile(`GRANT [^;]+;`)

// What an account lacks is found out before anything is dumped, and what the message
// says to run is enough.
func TestMissingPrivileges(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := "under_score%" + m.Database()
	m.DatabaseNamed(name)
	m.Plant(name, 10)
	on := " ON " + quotePattern(name) + ".*"
	for what, c := range map[string]struct {
		grants []string
		code   job.Code
		lacks  []string
	}{
		"nothing":                   {nil, job.PathNotFound, []string{"GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON"}},
		"no trigger":                {[]string{"SELECT, SHOW VIEW, EVENT" + on, "SELECT ON mysql.proc"}, job.PermissionDenied, []string{"GRANT TRIGGER ON"}},
		"no view":                   {[]string{"SELECT, TRIGGER, EVENT" + on, "SELECT ON mysql.proc"}, job.PermissionDenied, []string{"GRANT SHOW VIEW ON"}},
		"no event":                  {[]string{"SELECT, TRIGGER, SHOW VIEW" + on, "SELECT ON mysql.proc"}, job.PermissionDenied, []string{"GRANT EVENT ON"}},
		"no routine":                {[]string{"SELECT, TRIGGER, SHOW VIEW, EVENT" + on}, job.PermissionDenied, []string{"GRANT SELECT ON mysql.proc TO"}},
		"one table":                 {[]string{"SELECT, TRIGGER, SHOW VIEW ON " + quoteName(name) + ".log", "EVENT" + on, "SELECT ON mysql.proc"}, job.PermissionDenied, []string{"GRANT SELECT, TRIGGER ON"}},
		"almost none":               {[]string{"SELECT (id) ON " + quoteName(name) + ".log"}, job.PermissionDenied, []string{"SELECT, TRIGGER, EVENT", "mysql.proc"}},
		"a pattern beside the name": {[]string{"SELECT, SHOW VIEW" + on, "SELECT, TRIGGER, SHOW VIEW, EVENT ON `under%`.*", "SELECT ON mysql.proc"}, job.PermissionDenied, []string{"GRANT TRIGGER, EVENT ON"}},
		"only by a pattern":         {[]string{"SELECT, SHOW VIEW ON `under%`.*", "SELECT ON mysql.proc"}, job.PermissionDenied, []string{"GRANT TRIGGER, EVENT ON `under%`.*"}},
		"another name":              {[]string{"SELECT, TRIGGER, SHOW VIEW, EVENT ON `underscore%`.*"}, job.PathNotFound, []string{"GRANT"}},
	} {
		l := newLab(t, m, c.grants, name)
		found, err := l.probe()
		wantError(t, what, err, c.code, c.lacks...)
		if len(found.Paths) != 1 || found.Paths[0].Reachable || found.Paths[0].Error == nil || found.Paths[0].Error.Code != c.code {
			t.Errorf("%s: %+v", what, found.Paths)
		}
		if dumps, err := l.read(); job.CodeOf(err) != c.code || len(dumps) > 0 {
			t.Errorf("%s: %d dumps, %v", what, len(dumps), err)
		}
		for range 2 { // a database that was not seen before shows what else is missing
			if e, ok := errors.AsType[*job.Error](err); ok {
				for _, grant := range grantsToRun.FindAllString(e.Message+";", -1) {
					m.Do("", strings.TrimSuffix(grant, ";"))
				}
			}
			_, err = l.probe()
		}
		if _, err := l.read(); err != nil {
			t.Errorf("%s: after the grants: %v", what, err)
		}
	}
	l := newLab(t, m, []string{"SELECT, TRIGGER, SHOW VIEW, EVENT" + on}, name)
	l.config["routines"] = false
	for _, dump := range l.mustRead() {
		if strings.Contains(dump, "twice") {
			t.Error("routines are in a dump without")
		}
	}
	l = newLab(t, m, []string{"SELECT, TRIGGER, SHOW VIEW, EVENT, EXECUTE" + on}, name)
	_, err := l.read()
	wantError(t, "routines without their text", err, job.PermissionDenied, "mysql.proc")
}

func TestRolesCount(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Plant(name, 10)
	l := newLab(t, m, nil, name)
	role := "r_" + name
	m.Do("", "CREATE ROLE "+role)
	t.Cleanup(func() { m.Do("", "DROP ROLE "+role) })
	for _, grant := range fullGrants(name) {
		m.Do("", "GRANT "+grant+" TO "+role)
	}
	m.Do("", "GRANT "+role+" TO "+l.account+"@'%'", "SET DEFAULT ROLE "+role+" FOR "+l.account+"@'%'")
	l.mustRead()
}

// Which databases and tables are dumped.
func TestSelection(t *testing.T) {
	t.Parallel()
	m := testenv.NewMariaDB(t, testenv.MariaDBOptions{NoTLS: true})
	for _, name := range []string{"b", "a", "a-b"} {
		m.DatabaseNamed(name)
		m.Do(name, "CREATE TABLE one (x INT)", "CREATE TABLE two (x INT)", "CREATE TABLE only_"+name[:1]+" (x INT)", "CREATE VIEW v AS SELECT x FROM one")
	}
	all := []string{"SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW DATABASES ON *.*"}
	l := newLab(t, m, all, "*")
	if dumps := l.mustRead(); len(dumps) != 3 || dumps["mysql/a.sql"] == "" || dumps["mysql/b.sql"] == "" || dumps["mysql/a-b.sql"] == "" {
		t.Errorf("%d dumps of all", len(dumps))
	}
	l.config["exclude_tables"] = []string{"two", "a.only_a", "v", "not_there"}
	dumps := l.mustRead()
	for _, has := range []struct {
		name, table string
		want        bool
	}{{"a", "one", true}, {"a", "two", false}, {"a", "only_a", false}, {"b", "only_b", true}, {"b", "two", false}, {"a-b", "only_a", true}} {
		if got := strings.Contains(dumps["mysql/"+has.name+".sql"], "CREATE TABLE `"+has.table+"`"); got != has.want {
			t.Errorf("%+v: %v", has, got)
		}
	}
	if strings.Contains(dumps["mysql/a.sql"], "`v`") || !strings.Contains(l.log.String(), "not_there") {
		t.Error("the view is not left out, or nothing is said of a table that is not there")
	}
	delete(l.config, "exclude_tables")
	l.config["tables"] = []string{"only_b", "a.one"}
	if dumps = l.mustRead(); len(dumps) != 2 || strings.Count(dumps["mysql/a.sql"], "CREATE TABLE") != 1 || strings.Count(dumps["mysql/b.sql"], "CREATE TABLE") != 1 {
		t.Errorf("some tables: %v", dumps)
	}
	l.config["tables"] = []string{"one", "not_there"}
	_, err := l.read()
	wantError(t, "a table that is not there", err, job.PathNotFound, "not_there")
	l.config["databases"], l.config["tables"] = []string{"a", "b"}, []string{"only_b"}
	_, err = l.read()
	wantError(t, "a database without", err, job.PathNotFound, `"a"`)
	delete(l.config, "tables")
	l.config["databases"] = []string{"a", "B"}
	_, err = l.read()
	wantError(t, "a database that is not there", err, job.PathNotFound, `"B"`, `"b"`)
	few := newLab(t, m, fullGrants("a"), "*")
	if dumps := few.mustRead(); len(dumps) != 1 || !strings.Contains(few.log.String(), "may not see all") {
		t.Errorf("%d dumps of what one account sees\n%s", len(dumps), few.log.String())
	}
	// A table that is seen in one database is not missed in another, where it is hidden.
	hidden := newLab(t, m, append(fullGrants("b"), "SELECT, TRIGGER, SHOW VIEW ON a.one"), "a", "b")
	hidden.config["tables"] = []string{"one", "two"}
	_, err = hidden.read()
	wantError(t, "a hidden table", err, job.PermissionDenied, `"a"`, "database.table")
	hidden.config["tables"] = []string{"a.one", "b.two"}
	if dumps := hidden.mustRead(); len(dumps) != 2 {
		t.Errorf("%d dumps of what is seen", len(dumps))
	}
	hidden.config["databases"], hidden.config["tables"] = []string{"*"}, []string{"two"}
	if dumps := hidden.mustRead(); len(dumps) != 1 || !strings.Contains(hidden.log.String(), "databases are left out") {
		t.Errorf("%d dumps of one table in all databases\n%s", len(dumps), hidden.log.String())
	}
	none := newLab(t, m, nil, "*")
	_, err = none.read()
	wantError(t, "none", err, job.PathNotFound, "GRANT")
}

// What cannot be dumped fails, and the message says which.
func TestWhatCannotBeDumped(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do("", "CREATE USER poor_"+name+"@'%'")
	m.Do(name, "CREATE TABLE a (b INT)", "CREATE DEFINER=poor_"+name+"@'%' VIEW of_a_poor_one AS SELECT b FROM a")
	l := newLab(t, m, fullGrants(name), name)
	l.mustRead() // of a view only the text is dumped, whoever it belongs to
	m.Do(name, "DROP USER poor_"+name+"@'%'")
	l.mustRead()
	m.Do(name, "CREATE TABLE c (d INT)", "CREATE VIEW of_a_lost_table AS SELECT d FROM c", "DROP TABLE c")
	_, err := l.read()
	wantError(t, "a view without its table", err, job.DumpFailed, "of_a_lost_table", "exclude_tables")
	l.config["exclude_tables"] = []string{"of_a_lost_table"}
	l.mustRead()
}
