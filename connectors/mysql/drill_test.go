package mysql

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// drilled has dumps drilled.
func drilled(t *testing.T, o Options, members map[string]string) (job.DrillResult, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leftIn(t, dir) })
	return New(o).Drill(ctx, connectors.DrillEnv{
		TempDir: func() (string, error) { return dir, nil }, Phase: func(string) {},
		Visit: func(_ context.Context, paths []string, visit func(connectors.TargetItem) error) error {
			for _, name := range slices.Sorted(maps.Keys(members)) {
				if !slices.ContainsFunc(paths, func(p string) bool { return p == name || strings.HasPrefix(name, p+"/") }) {
					continue
				}
				item := connectors.TargetItem{Header: entry.Header{Path: name, Kind: entry.File, Size: int64(len(members[name]))}, Body: strings.NewReader(members[name])}
				if err := visit(item); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// A database with a bit of everything is loaded, and all of its rows are found.
func TestDrill(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Plant(name, 1000)
	m.Do(name, "CREATE TABLE `odd (``' VALUES` (`a (b` int, c text)", "INSERT INTO `odd (``' VALUES` VALUES (1, '),(\\'x'), (2, \"a\\n;\\\\\"), (3, NULL)")
	result, err := drilled(t, Options{}, newLab(t, m, fullGrants(name), name).mustRead())
	if err != nil {
		t.Fatalf("%v\n%+v", err, result)
	}
	if len(result.Databases) != 1 || !strings.HasPrefix(result.Server, "MariaDB 1") {
		t.Fatalf("%+v", result)
	}
	got := result.Databases[0]
	if !got.OK || got.Name != name || got.Rows != got.RowsExpected || got.Rows < 1000 || got.Tables < 3 {
		t.Errorf("%+v", got)
	}
	if i := slices.IndexFunc(got.TableRows, func(r job.DrillTable) bool { return r.Name == "odd (`' VALUES" }); i < 0 || got.TableRows[i].Rows != 3 {
		t.Errorf("%+v", got.TableRows)
	}
	t.Logf("%+v", result)
}

// dumpOf is SQL as a dump of MariaDB.
func dumpOf(statements ...string) string {
	return "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)\n--\n-- Server version\t10.11.6-MariaDB\n\n" +
		strings.Join(statements, "\n") + "\n-- Dump completed on 2026-11-26  8:00:00\n"
}

// Dumps that are hostile, broken, or of something else: none is green, nothing is
// written anywhere, and those that are good are told good all the same.
func TestDrillOfBadDumps(t *testing.T) {
	t.Parallel()
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, above := range []string{dir[:strings.LastIndex(dir, "/")]} {
		if err := os.Chmod(above, 0o711); err != nil {
			t.Fatal(err)
		}
	}
	const anyCode = job.Code("any")
	var wide strings.Builder // as a server takes it that is not strict
	for i := range 150 {
		fmt.Fprintf(&wide, "c%d char(255),", i)
	}
	cases := map[string]struct {
		dump string
		code job.Code // anyCode: whatever but green
	}{
		"good":       {dumpOf("CREATE TABLE `t` (a int);", "INSERT INTO `t` VALUES (1),(2);"), ""},
		"root_view":  {dumpOf("CREATE TABLE `t` (a int);", "CREATE DEFINER=`root`@`localhost` VIEW `v` AS SELECT * FROM `t`;", "CREATE DEFINER=`gone`@`%` VIEW `w` AS SELECT * FROM `v`;"), ""},
		"shell":      {dumpOf("\\! touch "+dir+"/shell", "system touch "+dir+"/system"), anyCode},
		"outfile":    {dumpOf("SELECT 1 INTO OUTFILE '" + dir + "/outfile';"), job.Unprovable},
		"local":      {dumpOf("CREATE TABLE `t` (a text);", "LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t;"), anyCode},
		"plugin":     {dumpOf("INSTALL SONAME 'ha_archive';"), job.Unprovable},
		"log":        {dumpOf("SET GLOBAL general_log_file = '"+dir+"/log';", "SET GLOBAL general_log = 1;"), job.Unprovable},
		"grant":      {dumpOf("GRANT ALL ON *.* TO xvault_drill@localhost;"), anyCode},
		"as_root":    {dumpOf("DELIMITER ;;", "CREATE DEFINER=`root`@`localhost` PROCEDURE p() BEGIN SELECT 1 INTO OUTFILE '"+dir+"/as_root'; END ;;", "DELIMITER ;", "CALL p();"), job.Unprovable},
		"as_sys":     {dumpOf("DELIMITER ;;", "CREATE DEFINER=`mariadb.sys`@`localhost` PROCEDURE p() BEGIN DELETE FROM mysql.global_priv; END ;;", "DELIMITER ;", "CALL p();"), job.Unprovable},
		"elsewhere":  {dumpOf("USE mysql;", "CREATE TABLE `t` (a int);"), anyCode},
		"engine":     {dumpOf("CREATE TABLE `t` (", "a int", ") ENGINE=ARCHIVE;"), job.Unprovable},
		"collation":  {dumpOf("CREATE TABLE `t` (a text COLLATE utf8mb4_0900_ai_ci);"), job.Unprovable},
		"away":       {dumpOf("CREATE VIEW `v` AS SELECT * FROM `good`.`t`;"), job.Unprovable},
		"nowhere":    {dumpOf("CREATE VIEW `v` AS SELECT * FROM `nowhere`.`t`;"), job.DumpFailed},
		"wide":       {dumpOf("CREATE TABLE `t` (" + wide.String() + "a int) ENGINE=InnoDB ROW_FORMAT=COMPACT CHARSET=latin1;"), ""},
		"memory":     {dumpOf("CREATE TABLE `t` (a char(255)) ENGINE=MEMORY CHARSET=latin1;", "INSERT INTO `t` VALUES (1)"+strings.Repeat(",(1)", 80_000)+";"), ""},
		"oracle":     {"-- MySQL dump 10.13\n-- Server version\t8.0.36\n-- Dump completed\n", job.Unprovable},
		"half":       {strings.TrimSuffix(dumpOf("CREATE TABLE `t` (a int);"), "-- Dump completed on 2026-11-26  8:00:00\n"), job.DumpFailed},
		"nonsense":   {dumpOf("CREATE TABLE `t` (a int);", "INSERT INTO `t` VALUES (1,2);"), job.DumpFailed},
		"fewer_rows": {dumpOf("CREATE TABLE `t` (a int primary key);", "INSERT INTO `t` VALUES (1),(1) ON DUPLICATE KEY UPDATE a = 1;"), job.DumpFailed},
	}
	members := map[string]string{}
	for name, c := range cases {
		members["mysql/"+name+".sql"] = c.dump
	}
	result, err := drilled(t, Options{}, members)
	wantError(t, "the drill", err, job.DumpFailed)
	if len(result.Databases) != len(cases) {
		t.Errorf("%+v", result)
	}
	for _, d := range result.Databases {
		want := cases[d.Name].code
		if strings.Contains(d.Problem, "attempt") || strings.Contains(d.Problem, "needs ALL") {
			t.Errorf("%s is told what belongs to a backup: %s", d.Name, d.Problem)
		}
		if d.OK != (want == "") || want != anyCode && d.Code != want {
			t.Errorf("%s: %+v", d.Name, d)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it wrote %v, %v", left, err)
	}
}

// That one does not load is told, whatever comes after.
func TestDrillKeepsVerdict(t *testing.T) {
	t.Parallel()
	half := "-- MariaDB dump 10.19\n-- Server version\t10.11.6-MariaDB\n"
	result, err := drilled(t, Options{ServerFolders: []string{"/nonexistent"}}, map[string]string{"mysql/a.sql": half, "mysql/b.sql": dumpOf("CREATE TABLE `t` (a int);")})
	wantError(t, "half a dump, and no server", err, job.DumpFailed, `"a"`)
	if other := result.Databases[1]; other.OK || other.Code != job.Unprovable {
		t.Errorf("%+v", other)
	}
}

// A worker that lacks something cannot tell, and says what it lacks.
func TestDrillUnprovable(t *testing.T) {
	t.Parallel()
	members := map[string]string{"mysql/shop.sql": dumpOf("CREATE TABLE `t` (a int);")}
	_, err := drilled(t, Options{ServerFolders: []string{"/nonexistent"}}, members)
	wantError(t, "no server", err, job.Unprovable, "mariadb-server")
	members["mysql/shop.sql"] = strings.Replace(members["mysql/shop.sql"], "version\t10.11", "version\t99.1", 1)
	_, err = drilled(t, Options{}, members)
	wantError(t, "an old server", err, job.Unprovable, "99.1")
	_, err = drilled(t, Options{}, nil)
	wantError(t, "nothing", err, job.Unprovable)
}
