package mysql

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

const testJob = "0197b3c4-0000-7000-8000-0123456789ab"

// restore puts dumps back by one target.
func (l *lab) restore(o connectors.TargetOptions, dumps map[string]io.Reader) (connectors.TargetReport, error) {
	l.t.Helper()
	raw, err := json.Marshal(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	config, faults := Validate(raw)
	if len(faults) > 0 {
		l.t.Fatal(faults)
	}
	if o.JobID = testJob; o.Existing == "" {
		o.Existing = job.ExistingSkip
	}
	target, err := New(l.options).OpenTarget(config, l.env, o)
	if err != nil {
		return connectors.TargetReport{}, err
	}
	defer func() {
		for range 2 {
			if err := target.Close(); err != nil {
				l.t.Error(err)
			}
		}
	}()
	err = target.Put(l.t.Context(), connectors.TargetItem{Header: entry.Header{Path: "mysql", Kind: entry.Dir}, Above: true})
	for path, dump := range dumps {
		if err == nil {
			err = target.Put(l.t.Context(), connectors.TargetItem{Header: entry.Header{Path: path, Kind: entry.File, Size: 1}, Body: dump})
		}
	}
	return target.Report(), errors.Join(err, target.Finish(l.t.Context()))
}

func one(path, dump string) map[string]io.Reader {
	return map[string]io.Reader{path: strings.NewReader(dump)}
}

// writer is an account that may restore.
func writer(name string) []string {
	return []string{"ALL ON `" + strings.ReplaceAll(name, "_", `\_`) + "%`.*", "SET USER ON *.*", "SELECT ON mysql.proc"}
}

func TestRestoreIntoANewDatabase(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Do("", "ALTER DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci")
	m.Plant(name, 1000)
	want := m.Content(name)
	l := newLab(t, m, writer(name), name)
	path := member(name)
	dump := l.mustRead()[path]
	restored := name + "_restored_456789ab"
	t.Cleanup(func() { m.Do("", "DROP DATABASE IF EXISTS "+restored, "DROP DATABASE IF EXISTS "+name+"_copy") })
	for _, again := range []bool{false, true} {
		report, err := l.restore(connectors.TargetOptions{Again: again}, one(path, dump))
		if err != nil || report.Failed > 0 || len(report.Notes) != 1 || !strings.Contains(report.Notes[0], restored) || report.Files != 1 && !again || report.Unchanged != 1 && again {
			t.Errorf("%+v, %v", report, err)
		}
		m.SameContent(want, m.Content(restored))
		m.SameContent(want, m.Content(name))
	}
	// What an attempt left half way is replaced by the next one.
	m.Do(restored, "CREATE TABLE `"+connectors.TempPrefix+testJob+"` (x INT)", "DROP TABLE log")
	if report, err := l.restore(connectors.TargetOptions{Again: true}, one(path, dump)); err != nil || report.Files != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	m.SameContent(want, m.Content(restored))
	// Under a name that was asked for, and never over what is there.
	copied := connectors.TargetOptions{Folder: "/" + name + "_copy"}
	if report, err := l.restore(copied, one(path, dump)); err != nil || report.Files != 1 {
		t.Errorf("%+v, %v", report, err)
	}
	m.SameContent(want, m.Content(name+"_copy"))
	m.Do(name+"_copy", "INSERT INTO log (what) VALUES ('kept')")
	want = m.Content(name + "_copy")
	report, err := l.restore(copied, one(path, dump))
	if err != nil || report.Failed != 1 || !strings.Contains(report.Problems[0].Err.Message, "is there already") {
		t.Errorf("%+v, %v", report, err)
	}
	m.SameContent(want, m.Content(name+"_copy"))
}

func TestRestoreOverADatabase(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	m.Plant(name, 100)
	want := m.Content(name)
	l := newLab(t, m, writer(name), name)
	dump := l.mustRead()[member(name)]
	m.Do(name, "SET foreign_key_checks = 0", "DROP TABLE orders", "DELETE FROM parts", "DROP PROCEDURE fill", "DROP VIEW v_orders")
	report, err := l.restore(connectors.TargetOptions{Existing: job.ExistingOverwrite}, one(member(name), dump))
	if err != nil || report.Files != 1 || report.Overwritten != 1 || report.Failed > 0 {
		t.Errorf("%+v, %v", report, err)
	}
	m.SameContent(want, m.Content(name))
	if _, err := l.restore(connectors.TargetOptions{Existing: job.ExistingNewer}, nil); job.CodeOf(err) != job.ConfigInvalid {
		t.Errorf("newer: %v", err)
	}
	report, err = l.restore(connectors.TargetOptions{Existing: job.ExistingOverwrite}, one("mysql/mysql.sql", "SELECT 1;"))
	if err != nil || report.Failed != 1 {
		t.Errorf("over the server's own: %+v, %v", report, err)
	}
}

// A restore that fails leaves no half database.
func TestRestoreFails(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	l := newLab(t, m, writer(name), name)
	path, good := member(name), "CREATE TABLE a (b INT);\nINSERT INTO a VALUES (1);\n"
	gone := func(what string) {
		t.Helper()
		if rows := m.Query("", "SHOW DATABASES LIKE '"+name+"\\_%'"); len(rows) > 0 {
			t.Errorf("%s: %q is left", what, rows)
		}
	}
	report, err := l.restore(connectors.TargetOptions{}, one(path, good+"INSERT INTO a VALUES (;\n"))
	if err != nil || report.Failed != 1 || !strings.Contains(report.Problems[0].Err.Message, "1064") || report.Files != 0 {
		t.Errorf("%+v, %v", report, err)
	}
	gone("an error in the dump")
	damaged := errors.New("the artifact is damaged")
	_, err = l.restore(connectors.TargetOptions{}, map[string]io.Reader{path: io.MultiReader(strings.NewReader(good), failing{damaged})})
	if !errors.Is(err, damaged) {
		t.Errorf("the content's error became %v", err)
	}
	gone("an error of the content")
	n := 0
	fenced := errors.New("fenced")
	if _, err = l.restore(connectors.TargetOptions{Allowed: func() error {
		if n++; n > 3 {
			return fenced
		}
		return nil
	}}, one(path, good)); !errors.Is(err, fenced) {
		t.Errorf("a fence became %v", err)
	}
	m.Do("", "DROP DATABASE IF EXISTS "+name+"_restored_456789ab")
	poor := newLab(t, m, fullGrants(name), name)
	report, err = poor.restore(connectors.TargetOptions{}, one(path, good))
	if err != nil || report.Failed != 1 || report.Problems[0].Err.Code != job.PermissionDenied || !strings.Contains(report.Problems[0].Err.Message, "GRANT ALL ON") {
		t.Errorf("%+v, %v", report, err)
	}
	for _, path := range []string{"home/x.sql", "mysql/a/b.sql", "mysql/%zz.sql", "mysql/.sql", "mysql/x"} {
		if report, err := l.restore(connectors.TargetOptions{}, one(path, good)); err != nil || report.Failed != 1 {
			t.Errorf("%s: %+v, %v", path, report, err)
		}
	}
	l.options.Folders = []string{testenv.Dir(t)}
	_, err = l.restore(connectors.TargetOptions{}, one(path, good))
	wantError(t, "no client", err, job.ConfigInvalid, "--sandbox")
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A hostile dump runs nothing on the worker, and reads and writes no file there.
func TestHostileDumps(t *testing.T) {
	t.Parallel()
	m := testenv.MariaDB(t)
	name := m.Database()
	l := newLab(t, m, writer(name), name)
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("CANARY-CONTENT\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	owned := filepath.Join(dir, "owned")
	harmless := "CREATE TABLE IF NOT EXISTS a (b TEXT);\n"
	for _, dump := range []string{
		`\! touch ` + owned, `system touch ` + owned, `SYSTEM touch ` + owned + ";", `  \! touch ` + owned, `select 1; \! touch ` + owned, "delimiter //\n\\! touch " + owned + "\n//",
		`/*! \! touch ` + owned + ` */;`, "-- a comment\n\\! touch " + owned, `source ` + secretFile, `\. ` + secretFile, `tee ` + owned, `\T ` + owned, `pager cat > ` + owned + "\nselect 1;",
		`\P cat > ` + owned + "\nselect 1;", "edit\n:!touch " + owned + "\n:q!\n", "\\e\n:!touch " + owned + "\n:q!\n", `select 1 \e`, "LOAD DATA LOCAL INFILE '" + secretFile + "' INTO TABLE a;",
		`connect ` + name + ` 127.0.0.1`, "\x00\\! touch " + owned, "'\n\\! touch " + owned + "\n';", "`\n\\! touch " + owned + "\n`;", "/*\n\\! touch " + owned + "\n*/;",
		"/*M!999999\\- enable the sandbox mode */\n\\! touch " + owned, "\\C utf8mb4 \\! touch " + owned, "\\C gbk\nSELECT '\xbf\\';\\! touch " + owned + " -- ';", "charset gbk\n\\! touch " + owned, "SELECT '" + secretFile + "' INTO OUTFILE '" + owned + "';",
		"DELIMITER \\! touch " + owned + "\n", "delimiter \\!\nsystem touch " + owned + "\\!",
	} {
		for _, before := range []string{"", harmless} {
			report, err := l.restore(connectors.TargetOptions{Again: true}, one(member(name), before+dump))
			if _, there := os.Lstat(owned); there == nil {
				t.Fatalf("%q was obeyed", dump)
			}
			restored := name + "_restored_456789ab"
			if rows := m.Query("", "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '"+restored+"' AND TABLE_NAME = 'a'"); len(rows) > 0 {
				for _, row := range m.Query(restored, "SELECT b FROM a") {
					t.Errorf("%q brought %q", dump, row)
				}
			}
			for _, problem := range report.Problems {
				if strings.Contains(problem.Err.Message, "CANARY") {
					t.Errorf("%q: %v", dump, problem.Err)
				}
			}
			t.Logf("%q: %v, %v", dump, report.Problems, err)
			m.Do("", "DROP DATABASE IF EXISTS "+restored)
		}
	}
}
