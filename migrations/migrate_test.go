package migrations_test

import (
	"context"
	"errors"
	"io/fs"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/migrations"
)

// The library leaves the reader of a migration's file behind when it cannot even
// begin with it; the program ends then.
func TestMain(m *testing.M) {
	testenv.Main(m, goleak.IgnoreAnyFunction("github.com/golang-migrate/migrate/v4.(*Migration).Buffer"))
}

func empty(t *testing.T) secret.Text {
	t.Helper()
	return secret.New(testenv.Postgres(t))
}

func connect(t *testing.T, url secret.Text) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func wantStatus(t *testing.T, url secret.Text, want migrations.Status) {
	t.Helper()
	got, err := migrations.ReadStatus(t.Context(), url)
	if err != nil || got != want {
		t.Errorf("status is %+v, %v; want %+v", got, err, want)
	}
}

func TestUpAndDown(t *testing.T) {
	t.Parallel()
	url, latest := empty(t), migrations.Latest()
	wantStatus(t, url, migrations.Status{Latest: latest})
	for range 2 {
		if err := migrations.Up(t.Context(), url); err != nil {
			t.Fatal(err)
		}
		wantStatus(t, url, migrations.Status{Version: latest, Latest: latest})
	}
	for _, steps := range []int{0, -1, latest + 1} {
		if err := migrations.Down(t.Context(), url, steps); err == nil {
			t.Errorf("went down %d steps", steps)
		}
	}
	if err := migrations.Down(t.Context(), url, latest); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, url, migrations.Status{Latest: latest})
	var left int
	err := connect(t, url).QueryRow(t.Context(), `SELECT (SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace
		AND relkind IN ('r', 'v', 'S') AND relname <> 'schema_migrations') + (SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace)`).Scan(&left)
	if err != nil || left != 0 {
		t.Errorf("%d things are left after all the way down, error %v", left, err)
	}
	if err := migrations.Up(t.Context(), url); err != nil {
		t.Errorf("up again: %v", err)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	url := empty(t)
	errs := make([]error, 6)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { errs[i] = migrations.Up(t.Context(), url) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, url, migrations.Status{Version: migrations.Latest(), Latest: migrations.Latest()})
}

func TestTheWaitIsBounded(t *testing.T) {
	t.Parallel()
	url := empty(t)
	if _, err := connect(t, url).Exec(t.Context(), "SELECT pg_advisory_lock($1)", migrations.AdvisoryLock); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{"0001_a.up.sql": {Data: []byte("CREATE TABLE a ()")}}
	err := migrations.UpFrom(t.Context(), url, files, 200*time.Millisecond)
	if !errors.Is(err, migrations.ErrLocked) {
		t.Errorf("while another one migrates: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := migrations.Up(ctx, url); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a deadline of its own: %v", err)
	}
}

// TestALibraryThatHangs: another user of the library, a command line say, holds
// the lock that the library waits for without limit.
func TestALibraryThatHangs(t *testing.T) {
	t.Parallel()
	url := empty(t)
	files := fstest.MapFS{"0001_a.up.sql": {Data: []byte("CREATE TABLE a ()")}}
	conn := connect(t, url)
	if _, err := conn.Exec(t.Context(), "CREATE TABLE schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"); err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE schema_migrations IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := migrations.UpFrom(t.Context(), url, files, 200*time.Millisecond); err == nil || time.Since(start) > 20*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := migrations.UpFrom(t.Context(), url, files, 5*time.Second); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestAnOlderProgramAgainstANewerCatalog(t *testing.T) {
	t.Parallel()
	url := empty(t)
	if err := migrations.Up(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, url).Exec(t.Context(), "UPDATE schema_migrations SET version = 999"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"up":   migrations.Up(t.Context(), url),
		"down": migrations.Down(t.Context(), url, 1),
	} {
		if !errors.Is(err, migrations.ErrNewerCatalog) || !strings.Contains(err.Error(), "version 999") {
			t.Errorf("%s: %v", name, err)
		}
	}
	status, err := migrations.ReadStatus(t.Context(), url)
	if err != nil || !errors.Is(status.Err(), migrations.ErrNewerCatalog) {
		t.Errorf("status: %v, %v", status.Err(), err)
	}
}

func TestAMigrationThatFails(t *testing.T) {
	t.Parallel()
	url := empty(t)
	broken := fstest.MapFS{
		"0001_a.up.sql": {Data: []byte("CREATE TABLE a ();")},
		"0002_b.up.sql": {Data: []byte("CREATE TABLE b (); SELECT 1/0;")},
	}
	if err := migrations.UpFrom(t.Context(), url, broken, time.Second); err == nil || !strings.Contains(err.Error(), "division by zero") {
		t.Fatalf("error is %v", err)
	}
	err := migrations.UpFrom(t.Context(), url, broken, time.Second)
	if !errors.Is(err, migrations.ErrDirty) || !strings.Contains(err.Error(), "xvault migrate force 1`") {
		t.Fatalf("the second time: %v", err)
	}
	var there *string
	if err := connect(t, url).QueryRow(t.Context(), "SELECT to_regclass('b')::text").Scan(&there); err != nil || there != nil {
		t.Errorf("half of a migration is there: %v, %v", there, err)
	}
	// What the message says to do. This program knows version 1 only.
	if err := migrations.Force(t.Context(), url, 1); err != nil {
		t.Fatal(err)
	}
	repaired := fstest.MapFS{"0001_a.up.sql": broken["0001_a.up.sql"], "0002_b.up.sql": {Data: []byte("CREATE TABLE b ();")}}
	if err := migrations.UpFrom(t.Context(), url, repaired, time.Second); err != nil {
		t.Errorf("after it was forced and repaired: %v", err)
	}
	for _, version := range []int{-1, migrations.Latest() + 1} {
		if err := migrations.Force(t.Context(), url, version); err == nil {
			t.Errorf("forced to version %d", version)
		}
	}
}

func TestErrorsHoldNoPassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"postgres://u:hunter2@h:port/db", "postgres://u:hunter2@127.0.0.1:1/db?connect_timeout=1", "hunter2"} {
		_, err := migrations.ReadStatus(t.Context(), secret.New(url))
		for _, err := range []error{err, migrations.Up(t.Context(), secret.New(url))} {
			if err == nil || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error is %v", err)
			}
		}
	}
}

// TestEveryMigrationHasItsWayBack and a name that sorts.
func TestEveryMigrationHasItsWayBack(t *testing.T) {
	t.Parallel()
	ups, err := fs.Glob(migrations.Files(), "*.up.sql")
	if err != nil || len(ups) != migrations.Latest() {
		t.Fatalf("%d migrations for %d versions, error %v", len(ups), migrations.Latest(), err)
	}
	for _, up := range ups {
		if !regexp.MustCompile(`^\d{4}_[a-z0-9_]+\.up\.sql$`).MatchString(up) {
			t.Errorf("%s is not a name like 0001_init.up.sql", up)
		}
		if _, err := fs.Stat(migrations.Files(), strings.Replace(up, ".up.", ".down.", 1)); err != nil {
			t.Errorf("%s has no way back: %v", up, err)
		}
	}
}
