package testenv_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"xvault/internal/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv("TESTENV_CHILD") != "" {
		os.Exit(m.Run()) // dies by SIGKILL before that
	}
	testenv.Main(m)
}

func query(t *testing.T, url, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := conn.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	var s string
	if err := conn.QueryRow(t.Context(), sql).Scan(&s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	empty, a, b := testenv.Postgres(t), testenv.Catalog(t), testenv.Catalog(t)
	if a == b || a == empty {
		t.Fatalf("two tests share a database: %s %s %s", empty, a, b)
	}
	if n := query(t, a, "SELECT count(*)::text FROM tenants"); n != "0" {
		t.Errorf("tenants in a fresh catalog: %s", n)
	}
	if n := query(t, empty, "SELECT count(*)::text FROM pg_tables WHERE schemaname = 'public'"); n != "0" {
		t.Errorf("tables in an empty database: %s", n)
	}
	if dump := testenv.DumpPostgres(t, a); !strings.Contains(dump, "CREATE TABLE public.tenants") {
		t.Error("the dump of a catalog lacks its tables")
	}
}

func TestPostgresSurvivesItsCrash(t *testing.T) {
	t.Parallel()
	p := testenv.NewPostgres(t, testenv.PostgresOptions{Durable: true})
	url := p.Database("d")
	if err := p.Exec(t.Context(), "d", "CREATE TABLE x AS SELECT 'kept' AS v"); err != nil {
		t.Fatal(err)
	}
	p.Kill()
	p.Restart()
	if v := query(t, url, "SELECT v FROM x"); v != "kept" {
		t.Errorf("after the crash: %q", v)
	}
}

func TestRedisForgets(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	opts, err := redis.ParseURL(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(opts)
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	for name, disturb := range map[string]func(){
		"kill": func() { r.Kill(); r.Start() }, "stop": func() { r.Stop(); r.Start() }, "flush": r.FlushAll,
	} {
		if err := c.Set(t.Context(), "k", "v", 0).Err(); err != nil {
			t.Fatal(err)
		}
		disturb()
		if n, err := c.Exists(t.Context(), "k").Result(); err != nil || n != 0 {
			t.Errorf("%s: %d keys left, error %v", name, n, err)
		}
	}
}

// A test process that is killed takes its servers with it, and the next one
// removes its files.
func TestServersDieWithTheProcess(t *testing.T) {
	t.Parallel()
	tmp := testenv.Dir(t)
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.count=1")
	child.Env = append(os.Environ(), "TESTENV_CHILD="+tmp, "TMPDIR="+tmp)
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	ready := filepath.Join(tmp, "ready")
	testenv.Eventually(t, 2*time.Minute, func() bool { _, err := os.Stat(ready); return err == nil }, "child has no servers")
	if n := running(t, tmp); n < 2 {
		t.Fatalf("%d server processes while the child lives", n)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // it was killed
	testenv.Eventually(t, 2*time.Minute, func() bool { return running(t, tmp) == 0 }, "servers outlive the killed process")
	if n := scratchFolders(t, tmp); n != 1 {
		t.Fatalf("%d scratch folders after the kill", n)
	}
	sweeper := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestSweeper$", "-test.count=1")
	sweeper.Env = append(os.Environ(), "TESTENV_SWEEP=1", "TMPDIR="+tmp)
	if out, err := sweeper.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := scratchFolders(t, tmp); n != 0 {
		t.Errorf("%d scratch folders after the next process", n)
	}
}

func scratchFolders(t *testing.T, dir string) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "xvault-env-*"))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// TestSweeper makes a scratch folder, which removes those of the dead.
func TestSweeper(t *testing.T) {
	if os.Getenv("TESTENV_SWEEP") != "" {
		testenv.Dir(t)
	}
}

func TestChild(t *testing.T) {
	tmp := os.Getenv("TESTENV_CHILD")
	if tmp == "" {
		return // only the test above runs it
	}
	testenv.Postgres(t)
	testenv.Redis(t)
	if err := os.WriteFile(filepath.Join(tmp, "ready"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	select {}
}

// running counts the processes that name the folder in their command line or
// work in it.
func running(t *testing.T, dir string) int {
	t.Helper()
	procs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, p := range procs {
		cwd, err := os.Readlink(filepath.Join(p, "cwd"))
		if err == nil && strings.HasPrefix(cwd, dir+"/") {
			n++
		}
	}
	return n
}
