package testenv

import (
	"bufio"
	"bytes"
	"context"
	_ "embed" // the planted database
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"
)

//go:embed testdata/postgres.sql
var postgresContent string

// PlantPostgres fills a database with a bit of everything that a dump can get wrong.
func PlantPostgres(t testing.TB, url string) {
	t.Helper()
	ExecPostgres(t, url, postgresContent)
}

// ExecPostgres runs statements on a database.
func ExecPostgres(t testing.TB, url string, statements ...string) {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	conn := connectPostgres(ctx, t, url)
	for _, s := range statements {
		if _, err := conn.PgConn().Exec(ctx, s).ReadAll(); err != nil {
			t.Fatalf("%.200s: %v", s, err)
		}
	}
	if err := conn.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func connectPostgres(ctx context.Context, t testing.TB, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	return conn
}

// QueryPostgres gives the first column of a query, as texts.
func QueryPostgres(t testing.TB, url, sql string) []string {
	t.Helper()
	ctx, cancel := startContext()
	defer cancel()
	conn := connectPostgres(ctx, t, url)
	defer func() { _ = conn.Close(ctx) }()
	rows, err := conn.Query(ctx, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

// LoadPostgres loads a dump into a database with PostgreSQL's own programs.
func LoadPostgres(t testing.TB, url string, dump []byte) {
	t.Helper()
	LoadPostgresFrom(t, url, bytes.NewReader(dump))
}

// LoadPostgresFrom is LoadPostgres for a dump that is too large to be held.
func LoadPostgresFrom(t testing.TB, url string, from io.Reader) {
	t.Helper()
	dump := bufio.NewReader(from)
	begin, _ := dump.Peek(5) // what is too short is no dump, and fails below
	program, args := "psql", []string{"--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"}
	if string(begin) == "PGDMP" {
		program, args = "pg_restore", []string{"--exit-on-error"}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if err != nil || len(found) == 0 {
		t.Fatalf("no %s: %v; run `make deps`", program, err)
	}
	cmd := exec.Command(found[len(found)-1], append(args, "--dbname="+url)...) //nolint:noctx // a test's
	cmd.Stdin = dump
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", program, err, out)
	}
}

// RestorePostgres loads a dump into a fresh database, and gives its URL.
func RestorePostgres(t testing.TB, dump []byte) string {
	t.Helper()
	url := Postgres(t)
	LoadPostgres(t, url, dump)
	return url
}

const (
	relationsOfPostgres = `SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind IN ('r', 'm', 'v', 'p') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' ORDER BY 1`
	rowsOfPostgres = `SELECT format('%%s rows, hash %%s', count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text)))) FROM ONLY %s t`
)

// restOfPostgres asks for what is no table.
var restOfPostgres = []string{
	"SELECT format('sequence %s.%s %s %s %s', schemaname, sequencename, last_value, increment_by, data_type) FROM pg_sequences",
	"SELECT format('large object %s %s', oid, md5(lo_get(oid))) FROM pg_largeobject_metadata",
	"SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal",
	`SELECT format('function %s', pg_get_functiondef(p.oid)) FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
		WHERE l.lanname IN ('plpgsql', 'sql') AND p.oid >= 16384 AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = p.oid AND deptype = 'e')`,
	"SELECT format('constraint %s %s', conname, pg_get_constraintdef(oid)) FROM pg_constraint WHERE oid >= 16384",
	"SELECT format('index %s', indexdef) FROM pg_indexes WHERE schemaname !~ '^pg_'",
	"SELECT format('extension %s %s %s', extname, extversion, extnamespace::regnamespace) FROM pg_extension",
	"SELECT format('comment %s', description) FROM pg_description WHERE classoid = 'pg_class'::regclass AND objoid >= 16384",
}

// FingerprintPostgres tells all of a database's content: a line for each table, with
// the hash of its rows, and for each other thing in it.
func FingerprintPostgres(t testing.TB, url string) []string {
	t.Helper()
	var lines []string
	for _, table := range QueryPostgres(t, url, relationsOfPostgres) {
		lines = append(lines, table+": "+QueryPostgres(t, url, fmt.Sprintf(rowsOfPostgres, table))[0])
	}
	if lines == nil {
		t.Fatal("there is no table to compare")
	}
	for _, sql := range restOfPostgres {
		found := QueryPostgres(t, url, sql)
		slices.Sort(found)
		lines = append(lines, found...)
	}
	return lines
}

// SamePostgres compares two fingerprints.
func SamePostgres(t testing.TB, want, got []string) {
	t.Helper()
	for i := range max(len(want), len(got)) {
		if i >= len(want) || i >= len(got) || want[i] != got[i] {
			t.Fatalf("line %d of %d and %d differs:\nwant %q\ngot  %q", i, len(want), len(got), want[min(i, len(want)-1)], got[min(i, len(got)-1)])
		}
	}
}
