package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// drilled has members of a snapshot drilled.
func drilled(t *testing.T, members map[string][]byte) (job.DrillResult, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	return postgres.Type().Drill(ctx, drillEnv(t, members))
}

func drillEnv(t *testing.T, members map[string][]byte) connectors.DrillEnv {
	t.Helper()
	return connectors.DrillEnv{
		TempDir: tempDir(t), Phase: func(string) {},
		Visit: func(_ context.Context, paths []string, visit func(connectors.TargetItem) error) error {
			for _, name := range slices.Sorted(maps.Keys(members)) {
				if !slices.ContainsFunc(paths, func(p string) bool { return p == name || strings.HasPrefix(name, p+"/") }) {
					continue
				}
				content := members[name]
				item := connectors.TargetItem{Header: entry.Header{Path: name, Kind: entry.File, Size: int64(len(content))}, Body: bytes.NewReader(content)}
				if err := visit(item); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// snapshotOf is what a backup of the databases holds.
func (d *database) snapshot() map[string][]byte {
	d.t.Helper()
	return mustCollect(d.t, open(d.t, postgres.Options{}, d.config(nil), d.env())).content
}

// A database with a bit of everything is loaded, and all of its rows are found.
func TestDrill(t *testing.T) {
	t.Parallel()
	d := planted(t)
	d.exec(`CREATE TABLE "odd ("" name" ("a (b" int, c text)`, `INSERT INTO "odd ("" name" SELECT i, E'\\.\n\\.' FROM generate_series(1, 1000) i`,
		"CREATE TABLE \"two\nlines\" (a int)", "INSERT INTO \"two\nlines\" VALUES (1)")
	result, err := drilled(t, d.snapshot())
	if err != nil {
		t.Fatalf("%v\n%+v", err, result)
	}
	if len(result.Databases) != 1 || !strings.HasPrefix(result.Server, "PostgreSQL 1") {
		t.Fatalf("%+v", result)
	}
	got := result.Databases[0]
	if !got.OK || got.Name != d.name || got.Rows != got.RowsExpected || got.Tables < 5 || got.Code != "" {
		t.Errorf("%+v", got)
	}
	if i := slices.IndexFunc(got.TableRows, func(r job.DrillTable) bool { return r.Name == `public.odd (" name` }); i < 0 || got.TableRows[i].Rows != 1000 {
		t.Errorf("%+v", got.TableRows)
	}
	t.Logf("%+v", result)
}

// evil tries all that a role might do to the machine, and hides that it could not.
const evil = `CREATE OR REPLACE FUNCTION evil() RETURNS int LANGUAGE plpgsql AS $f$
DECLARE way text;
BEGIN
	FOREACH way IN ARRAY ARRAY[
		$$COPY (SELECT 1) TO PROGRAM 'touch DIR/program'$$, $$COPY (SELECT 1) TO 'DIR/file'$$, $$SELECT lo_export(lo_from_bytea(0, 'x'), 'DIR/object')$$,
		$$ALTER ROLE CURRENT_USER SUPERUSER$$, $$CREATE EXTENSION file_fdw$$, $$CREATE LANGUAGE plpython3u$$, $$SELECT pg_read_file('/etc/passwd')$$,
		$$SELECT pg_reload_conf()$$, $$GRANT pg_execute_server_program TO CURRENT_USER$$, $$ALTER SYSTEM SET archive_command = 'touch DIR/archive'$$]
	LOOP
		BEGIN
			EXECUTE way;
		EXCEPTION WHEN OTHERS THEN NULL;
		END;
	END LOOP;
	RETURN 1;
END $f$`

// Dumps that are hostile, broken, or want what is not there: none of them does harm or
// is green for it, and those that are good are told good all the same.
func TestDrillOfBadDumps(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	d := newDatabase(t)
	d.exec("CREATE TABLE t AS SELECT i, repeat('x', 200) AS filler FROM generate_series(1, 2000) i",
		"CREATE SCHEMA app", "CREATE EXTENSION hstore WITH SCHEMA app", "ALTER TABLE t ADD h app.hstore")
	good := d.snapshot()["postgres/"+d.name+".dump"]
	d.exec("CREATE FUNCTION evil() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE MATERIALIZED VIEW m AS SELECT evil() AS a",
		strings.ReplaceAll(evil, "DIR", dir))
	hostile := d.snapshot()["postgres/"+d.name+".dump"]
	d.exec("SELECT evil()") // as a superuser
	if done, err := os.ReadDir(dir); err != nil || len(done) < 2 {
		t.Fatalf("what is hostile does nothing: %v, %v", done, err)
	} else {
		for _, f := range done {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.exec("DROP MATERIALIZED VIEW m", "CREATE FUNCTION nobody_may(internal) RETURNS internal LANGUAGE internal AS 'int4recv'")
	privileged := d.snapshot()["postgres/"+d.name+".dump"]

	cases := map[string]struct {
		dump []byte
		code job.Code
	}{
		"good":       {good, ""},
		"hostile":    {hostile, ""},
		"elsewhere":  {bytes.ReplaceAll(good, []byte("LOCALE = 'C'"), []byte("LOCALE = 'Q'")), ""},
		"missing":    {bytes.ReplaceAll(good, []byte("hstore"), []byte("hstorx")), job.Unprovable},
		"privileged": {privileged, job.Unprovable},
		"half":       {good[:len(good)/2], job.DumpFailed},
		"no dump":    {[]byte("plain text"), job.DumpFailed},
	}
	members := map[string][]byte{"postgres/plain.sql": []byte("\\! touch " + dir + "/psql\n")}
	for name, c := range cases {
		members["postgres/"+connectors.EncodeName(name)+".dump"] = c.dump
	}
	result, err := drilled(t, members)
	wantCode(t, err, job.DumpFailed)
	if len(result.Databases) != len(members) {
		t.Errorf("%+v", result)
	}
	for _, got := range result.Databases {
		want, ok := cases[got.Name]
		if !ok {
			want.code = job.Unprovable // the plain one
		}
		if got.Code != want.code || got.OK != (want.code == "") {
			t.Errorf("%s: %+v", got.Name, got)
		}
		if got.Name == "missing" && !strings.Contains(got.Problem, "hstorx") {
			t.Errorf("it does not say what is missing: %s", got.Problem)
		}
	}
	if !slices.ContainsFunc(result.Notes, func(note string) bool { return strings.Contains(note, "elsewhere") }) {
		t.Errorf("nobody tells of the sort order: %q", result.Notes)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("it wrote %v, %v", left, err)
	}
}

// openDir is a folder that every user can write to.
func openDir(t *testing.T) string {
	t.Helper()
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A worker that lacks something cannot tell, and says what it lacks.
func TestDrillUnprovable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE TABLE t (a int)")
	name := "postgres/" + d.name + ".dump"
	dump := d.snapshot()[name]
	env := drillEnv(t, map[string][]byte{name: dump})
	_, err := postgres.New(postgres.Options{ClientFolders: []string{"/nonexistent"}}).Drill(t.Context(), env)
	wantCode(t, err, job.Unprovable, "postgresql")
	version := testenv.QueryPostgres(t, d.url.String(), "SELECT current_setting('server_version')")[0]
	newer := "99" + version[2:]
	_, err = drilled(t, map[string][]byte{name: bytes.ReplaceAll(dump, []byte(version), []byte(newer))})
	wantCode(t, err, job.Unprovable, "PostgreSQL 99", "postgresql-99")
	_, err = drilled(t, nil)
	wantCode(t, err, job.Unprovable)
}

// A drill that is told to stop leaves nothing, wherever it is.
func TestDrillStops(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE TABLE t AS SELECT i FROM generate_series(1, 1000) i")
	members := d.snapshot()
	for _, phase := range []string{"starting a scratch server", "loading", "counting"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("told to stop")
		env := drillEnv(t, members)
		env.Phase = func(now string) {
			if now == phase {
				cancel(why)
			}
		}
		if _, err := postgres.Type().Drill(ctx, env); !errors.Is(err, why) {
			t.Errorf("at %s: %v", phase, err)
		}
		dir, err := env.TempDir()
		if err != nil {
			t.Fatal(err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("at %s it left %v, %v", phase, left, err)
		}
		cancel(nil)
	}
}
