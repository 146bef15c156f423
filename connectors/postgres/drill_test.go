package postgres_test

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/entry"
	"xvault/internal/job"
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
