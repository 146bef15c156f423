package postgres_test

import (
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// A database whose tables are in a tablespace is restored into it, and where that is
// missing beside everything else; what would be replaced is left as it is.
func TestRestoreTablespaces(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	space, owner := "space_"+d.name, "gone_"+d.name
	d.exec("SET allow_in_place_tablespaces = on", "CREATE TABLESPACE "+space+" LOCATION ''", "CREATE ROLE "+owner,
		"CREATE TABLE t TABLESPACE "+space+" AS SELECT generate_series(1, 100) AS a", "CREATE TABLE other (b int)",
		"CREATE INDEX ON other (b) TABLESPACE "+space, "ALTER TABLE t OWNER TO "+owner)
	want := testenv.FingerprintPostgres(t, d.url.String())
	got := mustCollect(t, open(t, postgres.Options{}, d.config(nil), d.env()))
	dump := got.content[d.member()]
	if globals := string(got.content["postgres/globals.sql"]); !strings.Contains(globals, "CREATE TABLESPACE "+space) {
		t.Errorf("the tablespace is missing in %s", globals)
	}
	restore := func(opts connectors.TargetOptions) connectors.TargetReport {
		t.Helper()
		target := openTarget(t, d.config(nil), d.env(), opts)
		if err := put(target, d.member(), dump); err != nil {
			t.Fatal(err)
		}
		return target.Report()
	}

	there := d.called(d.name + "_restored_000000bb")
	if report := restore(connectors.TargetOptions{JobID: "0197b3c4-0000-7000-8000-0000000000bb"}); report.Files != 1 || report.OwnersLost != 0 || strings.Contains(strings.Join(report.Notes, " "), "tablespace") {
		t.Errorf("the tablespace is there: %+v", report)
	}
	if in := testenv.QueryPostgres(t, there.url.String(), "SELECT tablespace::text FROM pg_tables WHERE tablename = 't'"); len(in) != 1 || in[0] != space {
		t.Errorf("the table is in %q", in)
	}

	d.exec("DROP DATABASE "+there.name, "DROP TABLE t, other", "DROP TABLESPACE "+space, "DROP ROLE "+owner)
	missing := d.called(d.name + "_restored_456789ab")
	report := restore(connectors.TargetOptions{})
	notes := strings.Join(report.Notes, " ")
	if report.Files != 1 || report.Failed != 0 || report.OwnersLost != 1 || !strings.Contains(notes, "tablespace") || !strings.Contains(notes, "roles that own") {
		t.Fatalf("without the tablespace and the owner: %+v", report)
	}
	testenv.SamePostgres(t, want, testenv.FingerprintPostgres(t, missing.url.String()))

	d.exec("CREATE TABLE kept (a int)")
	kept := testenv.FingerprintPostgres(t, d.url.String())
	report = restore(connectors.TargetOptions{Existing: job.ExistingOverwrite})
	if report.Failed != 1 || report.Problems[0].Err.Code != job.DumpFailed || !strings.Contains(report.Problems[0].Err.Message, "CREATE TABLESPACE") {
		t.Errorf("over the database itself: %+v", report)
	}
	testenv.SamePostgres(t, kept, testenv.FingerprintPostgres(t, d.url.String()))
}
