package postgres_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/job"
)

// configTable makes hstore an extension with a table of its own, of whose rows only some
// are dumped, as PostGIS has one.
const configTable = `
CREATE TABLE refs (id int, own bool);
INSERT INTO refs VALUES (1, false), (2, false);
SELECT pg_catalog.pg_extension_config_dump('refs', 'WHERE own');
`

// An extension fills its own tables where it is made: these rows are in the server and
// not in the dump. One of another version, which has no such table, proves nothing.
func TestDrillOfExtensionsWithRows(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE SCHEMA app", "CREATE EXTENSION hstore WITH SCHEMA app",
		"CREATE TABLE app.refs (id int, own bool)", "INSERT INTO app.refs VALUES (1, false), (2, false), (3, true)",
		"ALTER EXTENSION hstore ADD TABLE app.refs",
		"UPDATE pg_extension SET extconfig = ARRAY['app.refs'::regclass::oid], extcondition = ARRAY['WHERE own'] WHERE extname = 'hstore'")
	members := d.snapshot()
	_, err := drilled(t, members)
	wantCode(t, err, job.Unprovable, "hstore", "another version")

	programs, share := installedCopy(t)
	script, err := os.OpenFile(filepath.Join(share, "extension", "hstore--1.4.sql"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = script.WriteString(configTable)
	if err = firstOf(err, script.Close()); err != nil {
		t.Fatal(err)
	}
	result, err := postgres.New(postgres.Options{ClientFolders: []string{programs}}).Drill(t.Context(), drillEnv(t, members))
	if err != nil || len(result.Databases) != 1 || !result.Databases[0].OK || result.Databases[0].Rows != 1 {
		t.Errorf("%+v, %v", result, err)
	}
}

// installedCopy copies the newest server that is installed, which finds its own files by
// where it is, and gives the folders of its programs and of what they read.
func installedCopy(t *testing.T) (programs, share string) {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		t.Fatalf("no server is installed: %v", err)
	}
	bin := filepath.Dir(found[len(found)-1])
	lib := filepath.Dir(bin)
	shared := filepath.Join("/usr/share/postgresql", filepath.Base(lib))
	to := openDir(t)
	programs, share = filepath.Join(to, bin), filepath.Join(to, shared)
	for from, into := range map[string]string{bin: programs, shared: share} {
		if err := os.CopyFS(into, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(lib, "lib"), filepath.Join(to, lib, "lib")); err != nil {
		t.Fatal(err)
	}
	return programs, share
}

func firstOf(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Files of text search are beside the server: that the worker lacks them says nothing.
func TestDrillWithoutTextSearchFiles(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE TABLE t (a int)", "CREATE TEXT SEARCH DICTIONARY words (TEMPLATE = pg_catalog.simple, STOPWORDS = english)")
	name := "postgres/" + d.name + ".dump"
	dump := bytes.ReplaceAll(d.snapshot()[name], []byte("'english'"), []byte("'englisx'"))
	_, err := drilled(t, map[string][]byte{name: dump})
	wantCode(t, err, job.Unprovable, "englisx")
}

// What a drill has shown stays shown when it cannot go on.
func TestDrillGivenUpAfterDisproof(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE TABLE t AS SELECT i, repeat('x', 200) AS filler FROM generate_series(1, 2000) i")
	good := d.snapshot()["postgres/"+d.name+".dump"]
	env := drillEnv(t, map[string][]byte{"postgres/a.dump": good[:len(good)/2], "postgres/b.dump": good})
	visit := env.Visit
	env.Visit = func(ctx context.Context, paths []string, each func(connectors.TargetItem) error) error {
		if len(paths) == 1 && paths[0] == "postgres/b.dump" {
			return job.Errorf(job.StorageFull, "the disk is full")
		}
		return visit(ctx, paths, each)
	}
	result, err := postgres.Type().Drill(t.Context(), env)
	wantCode(t, err, job.DumpFailed)
	if b := result.Databases[1]; b.OK || b.Code != job.Unprovable {
		t.Errorf("%+v", b)
	}
}
