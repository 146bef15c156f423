package postgres_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

const restoreJob = "0197b3c4-0000-7000-8000-0123456789ab"

func openTarget(t *testing.T, raw map[string]any, env connectors.Env, opts connectors.TargetOptions) connectors.Target {
	t.Helper()
	text, err := json.Marshal(raw)
	if err != nil {
		t.Fatal(err)
	}
	kind := postgres.Type()
	canonical, faults := kind.Validate(text)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if opts.JobID == "" {
		opts.JobID = restoreJob
	}
	target, err := kind.OpenTarget(canonical, env, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := target.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return target
}

func put(target connectors.Target, member string, content []byte) error {
	return putBody(target, member, bytes.NewReader(content))
}

func putBody(target connectors.Target, member string, body io.Reader) error {
	return target.Put(context.Background(), connectors.TargetItem{Header: entry.Header{Path: member, Kind: entry.File}, Body: body})
}

// databases are those of the server whose name has the text in it.
func (d *database) databases(text string) []string {
	d.t.Helper()
	return testenv.QueryPostgres(d.t, d.url.String(), "SELECT datname::text FROM pg_database WHERE datname LIKE '%"+text+"%' ORDER BY 1")
}

// called is the same server's database of another name, gone after the test.
func (d *database) called(name string) *database {
	d.t.Helper()
	u := *d.url
	u.Path = "/" + name
	u.RawPath = "/" + url.PathEscape(name)
	d.t.Cleanup(func() {
		testenv.ExecPostgres(d.t, d.url.String(), "DROP DATABASE IF EXISTS "+quoted(name)+" WITH (FORCE)")
	})
	return &database{d.t, &u, name}
}

func (d *database) dump() []byte {
	d.t.Helper()
	return mustCollect(d.t, open(d.t, postgres.Options{}, d.config(nil), d.env())).content["postgres/"+d.name+".dump"]
}

func (d *database) member() string { return "postgres/" + d.name + ".dump" }

// Without a word that anything may be replaced, a database is restored beside itself.
func TestRestoreIntoNewDatabase(t *testing.T) {
	t.Parallel()
	d := planted(t)
	want := testenv.FingerprintPostgres(t, d.url.String())
	dump := d.dump()
	d.exec("DROP TABLE app.bytes")
	restored := d.called(d.name + "_restored_456789ab")
	for attempt := range 2 {
		target := openTarget(t, d.config(nil), d.env(), connectors.TargetOptions{Existing: job.ExistingSkip, Again: attempt > 0})
		if err := errors.Join(put(target, d.member(), dump), put(target, "postgres/globals.sql", []byte("DROP ROLE xvault;")), target.Finish(t.Context())); err != nil {
			t.Fatal(err)
		}
		report := target.Report()
		if report.Failed != 0 || report.Files+report.Unchanged != 1 || report.Unchanged != int64(attempt) || report.Skipped != 1 || report.Overwritten != 0 {
			t.Errorf("attempt %d: %+v", attempt, report)
		}
		if notes := strings.Join(report.Notes, "\n"); !strings.Contains(notes, restored.name) || !strings.Contains(notes, "globals.sql") {
			t.Errorf("notes %q", notes)
		}
		testenv.SamePostgres(t, want, testenv.FingerprintPostgres(t, restored.url.String()))
	}
	if left := d.databases(strings.ReplaceAll(restoreJob, "-", "") + "-" + d.name); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// With it, its content is replaced, all or nothing.
func TestRestoreIntoTheSameDatabase(t *testing.T) {
	t.Parallel()
	d := planted(t)
	want := testenv.FingerprintPostgres(t, d.url.String())
	dump := d.dump()
	d.exec("DELETE FROM app.texts", "DROP TABLE app.numbers", "UPDATE public.parent SET name = name || '!'", "SELECT lo_unlink(424242)")
	damaged := testenv.FingerprintPostgres(t, d.url.String())
	opts := connectors.TargetOptions{Existing: job.ExistingOverwrite}

	// A dump that breaks off changes nothing; neither does one that is refused half-way.
	broken := errors.New("the artifact is damaged")
	target := openTarget(t, d.config(nil), d.env(), opts)
	if err := putBody(target, d.member(), io.MultiReader(bytes.NewReader(dump[:len(dump)*2/3]), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("a body that breaks: %v", err)
	}
	if err := put(target, d.member(), dump[:len(dump)*2/3]); err != nil || target.Report().Failed != 1 {
		t.Errorf("half a dump: %v, %+v", err, target.Report())
	}
	testenv.SamePostgres(t, damaged, testenv.FingerprintPostgres(t, d.url.String()))

	target = openTarget(t, d.config(nil), d.env(), opts)
	if err := put(target, d.member(), dump); err != nil {
		t.Fatal(err)
	}
	if report := target.Report(); report.Files != 1 || report.Overwritten != 1 || report.Failed != 0 || report.Bytes != int64(len(dump)) {
		t.Errorf("%+v", report)
	}
	testenv.SamePostgres(t, want, testenv.FingerprintPostgres(t, d.url.String()))
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// A database that is not there any more gets its own name back.
func TestRestoreLostDatabase(t *testing.T) {
	t.Parallel()
	d := planted(t)
	want, dump := testenv.FingerprintPostgres(t, d.url.String()), d.dump()
	lost := d.called("lost \"ü\" " + d.name)
	target := openTarget(t, d.config(nil), d.env(), connectors.TargetOptions{Existing: job.ExistingOverwrite})
	if err := put(target, "postgres/"+connectors.EncodeName(lost.name)+".dump", dump); err != nil {
		t.Fatal(err)
	}
	if report := target.Report(); report.Failed > 0 || report.Files != 1 || report.Overwritten != 0 {
		t.Fatalf("%+v", report)
	}
	testenv.SamePostgres(t, want, testenv.FingerprintPostgres(t, lost.url.String()))
}

// A failed restore leaves nothing behind, and others go on.
func TestRestoreFailures(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE TABLE t AS SELECT generate_series(1, 20000) AS a")
	dump := d.dump()
	d.called(d.name + "_restored_456789ab")
	target := openTarget(t, d.config(nil), d.env(), connectors.TargetOptions{Existing: job.ExistingSkip})
	for member, content := range map[string][]byte{
		d.member():               dump[:len(dump)/2],
		"postgres/x.dump":        []byte("this is no dump"),
		"postgres/x.sql":         []byte("\\! touch /tmp/xvault-owned"),
		"postgres/a/b.dump":      dump,
		"home/web/index.html":    []byte("hello"),
		"postgres/%00.dump":      dump,
		"postgres/nothing.dump":  nil,
		"postgres/%zz.dump":      dump,
		"mysql/" + d.name + ".x": dump,
	} {
		if err := put(target, member, content); err != nil {
			t.Errorf("%s: %v", member, err)
		}
	}
	report := target.Report()
	if report.Failed != 9 || report.Files != 0 {
		t.Errorf("%+v", report)
	}
	told := fmt.Sprint(report.Problems)
	for _, p := range report.Problems {
		told += p.Err.Message
	}
	if !strings.Contains(told, "psql --no-psqlrc") {
		t.Errorf("%s", told)
	}
	if left := d.databases("_restored_"); strings.Contains(strings.Join(left, " "), d.name) {
		t.Errorf("left over: %q", left)
	}
	stopped := errors.New("the lease may be lost")
	target = openTarget(t, d.config(nil), d.env(), connectors.TargetOptions{JobID: "0197b3c4-0000-7000-8000-0000000000ff", Allowed: func() error { return stopped }})
	if err := put(target, d.member(), dump); !errors.Is(err, stopped) {
		t.Errorf("what is not allowed: %v", err)
	}
	for _, opts := range []connectors.TargetOptions{{Folder: "/srv"}, {Existing: job.ExistingNewer}} {
		canonical, _ := postgres.Validate(mustJSON(t, d.config(nil)))
		_, err := postgres.Type().OpenTarget(canonical, d.env(), opts)
		wantCode(t, err, job.ConfigInvalid)
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// Roles that the server does not have do not keep a database from being restored, and
// it is told; nor does a role of the source that may not give things away.
func TestRestoreOwners(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE ROLE gone_"+d.name, "CREATE TABLE t AS SELECT generate_series(1, 100) AS a", "ALTER TABLE t OWNER TO gone_"+d.name,
		"CREATE VIEW v AS SELECT * FROM t", "GRANT SELECT ON v TO gone_"+d.name)
	want, dump := testenv.FingerprintPostgres(t, d.url.String()), d.dump()
	d.exec("DROP OWNED BY gone_"+d.name+" CASCADE", "DROP ROLE gone_"+d.name)
	restored := d.called(d.name + "_restored_456789ab")
	target := openTarget(t, d.config(nil), d.env(), connectors.TargetOptions{})
	if err := put(target, d.member(), dump); err != nil {
		t.Fatal(err)
	}
	if report := target.Report(); report.OwnersLost != 1 || report.Files != 1 || report.Failed != 0 || !strings.Contains(strings.Join(report.Notes, " "), "are not on this server") {
		t.Errorf("%+v", report)
	}
	testenv.SamePostgres(t, want, testenv.FingerprintPostgres(t, restored.url.String()))

	role := d.role("secret", "")
	config := d.config(map[string]any{"username": role})
	opts := connectors.TargetOptions{JobID: "0197b3c4-0000-7000-8000-0000000000aa"}
	own := d.called(d.name + "_restored_000000aa")
	target = openTarget(t, config, newEnv(t, "secret"), opts)
	if err := put(target, d.member(), dump); err != nil || target.Report().Failed != 1 || !strings.Contains(target.Report().Problems[0].Err.Message, "CREATEDB") {
		t.Errorf("without CREATEDB: %v, %+v", err, target.Report())
	}
	d.exec("ALTER ROLE " + quoted(role) + " CREATEDB")
	target = openTarget(t, config, newEnv(t, "secret"), opts)
	if err := put(target, d.member(), dump); err != nil || target.Report().Files != 1 || target.Report().OwnersLost != 1 {
		t.Errorf("with CREATEDB: %v, %+v", err, target.Report())
	}
	testenv.SamePostgres(t, want, testenv.FingerprintPostgres(t, own.url.String()))
	d.exec("ALTER DATABASE " + quoted(own.name) + " OWNER TO xvault")
}

// With a role that stops at the first error, half a database is never taken for whole.
func TestRestoreStopsAtMissingRole(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	gone := "gone_" + d.name
	d.exec("CREATE ROLE "+gone, "CREATE TABLE t (a int)", "CREATE POLICY p ON t TO "+gone, "CREATE TABLE u (a int)", "CREATE POLICY p ON u USING (a > 0)")
	dump := d.dump()
	d.exec("DROP OWNED BY "+gone, "DROP TABLE t, u", "DROP ROLE "+gone)
	restored := d.called(d.name + "_restored_456789ab")
	config := d.config(map[string]any{"username": d.role("secret", "CREATEDB")})
	target := openTarget(t, config, newEnv(t, "secret"), connectors.TargetOptions{})
	if err := put(target, d.member(), dump); err != nil {
		t.Fatal(err)
	}
	if report := target.Report(); report.Failed != 1 || report.Files != 0 || !strings.Contains(report.Problems[0].Err.Message, "CREATE ROLE") {
		t.Errorf("%+v", report)
	}
	if left := d.databases(restored.name); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// A hostile dump names commands in all the places that psql would look at; none runs.
func TestHostileDumpRunsNothing(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	mark := filepath.Join(t.TempDir(), "owned")
	evil := "x\n\\! touch " + mark + "\nSELECT 1"
	d.exec("CREATE TABLE "+quoted(evil)+" (a text)", "INSERT INTO "+quoted(evil)+" VALUES (E'\\\\.\\n\\\\! touch "+mark+"')", "COMMENT ON TABLE "+quoted(evil)+" IS E'\\n\\\\! touch "+mark+"\\n'")
	dump := d.dump()
	d.called(d.name + "_restored_456789ab")
	target := openTarget(t, d.config(nil), d.env(), connectors.TargetOptions{})
	if err := put(target, d.member(), dump); err != nil || target.Report().Failed > 0 {
		t.Errorf("%v, %+v", err, target.Report())
	}
	if _, err := os.Stat(mark); !errors.Is(err, os.ErrNotExist) {
		t.Error("a command of the dump was run")
	}
}
