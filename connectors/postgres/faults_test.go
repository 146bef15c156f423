package postgres_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"xvault/connectors"
	"xvault/connectors/postgres"
	"xvault/internal/job"
)

// large has a table of some megabytes, more than any buffer on the way holds.
func large(t *testing.T) *database {
	t.Helper()
	d := newDatabase(t)
	d.exec("CREATE TABLE big AS SELECT g AS id, repeat(md5(g::text), 32) AS filler FROM generate_series(1, 12000) g",
		"CREATE TABLE later (a int)")
	return d
}

// midTable reads a source, and calls do when the first megabyte of the database was
// read.
func midTable(t *testing.T, source connectors.Source, do func()) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return source.Read(ctx, func(item connectors.Item) error {
		if strings.HasSuffix(item.Path, ".dump") {
			if _, err := io.CopyN(io.Discard, item.Body, 1<<20); err != nil {
				return err
			}
			do()
		}
		_, err := io.Copy(io.Discard, item.Body)
		return err
	})
}

// Not everything that listens is PostgreSQL.
func TestOtherServer(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n"))
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close() })
	d := newDatabase(t)
	config := d.config(nil)
	config["port"] = l.Addr().(*net.TCPAddr).Port //nolint:errcheck // of a TCP listener
	_, err = collect(open(t, postgres.Options{}, config, d.env()))
	wantCode(t, err, job.ConnectFailed, "PostgreSQL")
}

// stockFolder is where the machine's own programs are.
func stockFolder(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump")
	if err != nil || len(found) == 0 {
		t.Fatalf("no pg_dump: %v", err)
	}
	return filepath.Dir(found[len(found)-1])
}

// programs makes a folder with PostgreSQL's programs, of which some are scripts.
func programs(t *testing.T, scripts map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"pg_dump", "pg_dumpall", "pg_restore"} {
		path := filepath.Join(dir, name)
		script, ok := scripts[name]
		if !ok {
			script = "exec $STOCK/" + name + ` "$@"`
		}
		// Written by another process: this one's children would hold it open while
		// they start, and a file that is open for writing cannot be run.
		cmd := exec.CommandContext(t.Context(), "sh", "-c", `cat >"$0" && chmod 755 "$0"`, path)
		cmd.Stdin = strings.NewReader("#!/bin/bash\nSTOCK=" + stockFolder(t) + "\n" + script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

// F7: what a broken dump program may do.
func TestBrokenPrograms(t *testing.T) {
	t.Parallel()
	d := planted(t)
	const version = `[ "$1" = --version ] && exec $STOCK/pg_dump --version; `
	for _, tt := range []struct {
		name, format string
		scripts      map[string]string
		texts        []string
	}{
		{"plausible output, then failure", "custom", map[string]string{"pg_dump": version + `$STOCK/pg_dump "$@"; echo "pg_dump: error: out of luck" >&2; exit 1`}, []string{"out of luck"}},
		{"half a dump and success", "custom", map[string]string{"pg_dump": version + `$STOCK/pg_dump "$@" | head -c 60000; exit 0`}, []string{"to be sure of it"}},
		{"nothing and success", "custom", map[string]string{"pg_dump": version + `exit 0`}, []string{"to be sure of it"}},
		{"half a plain dump and success", "plain", map[string]string{"pg_dump": version + `$STOCK/pg_dump "$@" | head -c 60000; exit 0`}, []string{"last line"}},
		{"a plain dump without its last line", "plain", map[string]string{"pg_dump": version + `$STOCK/pg_dump "$@" | grep -v "database dump complete"; exit 0`}, []string{"last line"}},
		{"globals that end early", "custom", map[string]string{"pg_dumpall": `$STOCK/pg_dumpall "$@" | head -c 200; exit 0`}, []string{"last line", "roles"}},
		{"globals that fail", "custom", map[string]string{"pg_dumpall": `$STOCK/pg_dumpall "$@"; echo "nope" >&2; exit 3`}, []string{"nope", "roles"}},
		{"a reader that fails", "custom", map[string]string{"pg_restore": `head -c 1000 >/dev/null; echo "not an archive" >&2; exit 1`}, []string{"not an archive"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := programs(t, tt.scripts)
			mine := &database{t, d.url, d.name}
			_, err := collect(open(t, postgres.Options{ClientFolders: []string{dir}}, mine.config(map[string]any{"format": tt.format}), mine.env()))
			wantCode(t, err, job.DumpFailed, tt.texts...)
		})
	}
}

func TestClientIsChosen(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	version := func(v string) map[string]string {
		return map[string]string{"pg_dump": fmt.Sprintf(`[ "$1" = --version ] && { echo "pg_dump (PostgreSQL) %s (test)"; exit; }; echo "chosen: %s" >&2; exit 1`, v, v)}
	}
	old, fits, newer := programs(t, version("9.6.24")), programs(t, version("90.1")), programs(t, version("91.3"))
	wrapper := programs(t, map[string]string{"pg_dump": `echo "Error: You must install at least one postgresql-client-<version> package"; exit 1`})
	choose := func(folders ...string) error {
		_, err := collect(open(t, postgres.Options{ClientFolders: folders}, d.config(nil), d.env()))
		return err
	}
	wantCode(t, choose(newer, old, fits, wrapper), job.DumpFailed, "chosen: 90.1")
	wantCode(t, choose(old, wrapper), job.ConfigInvalid, "pg_dump is 9", "postgresql-client-")
	wantCode(t, choose(wrapper, t.TempDir()), job.ConfigInvalid, "has no pg_dump", "postgresql-client-")
}

// F17: while a dump is held up, no secret is in what its programs were started with.
func TestNoSecretInProcesses(t *testing.T) {
	t.Parallel()
	d := large(t)
	const password = "canary password %s"
	role := d.role(password, "")
	d.exec("GRANT pg_read_all_data TO " + quoted(role))
	source := open(t, postgres.Options{}, d.config(map[string]any{"username": role}), newEnv(t, password))
	seen := 0
	err := midTable(t, source, func() {
		for _, file := range []string{"cmdline", "environ"} {
			paths, err := filepath.Glob("/proc/[0-9]*/" + file)
			if err != nil {
				t.Fatal(err)
			}
			for _, path := range paths {
				text, err := os.ReadFile(path)
				if err != nil {
					continue // it has ended
				}
				if strings.Contains(string(text), "pg_dump\x00") && strings.Contains(string(text), d.name) {
					seen++
				}
				if strings.Contains(string(text), "canary password") && !strings.Contains(string(text), "ALTER ROLE") {
					t.Errorf("the password is in %s: %q", path, text)
				}
			}
		}
	})
	if err != nil || seen == 0 {
		t.Errorf("%d dumps were seen at work; %v", seen, err)
	}
}

func TestLockedTable(t *testing.T) {
	t.Parallel()
	d := newDatabase(t)
	d.exec("CREATE TABLE locked (a int)")
	holder, err := pgx.Connect(t.Context(), d.url.String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := holder.PgConn().Exec(t.Context(), "BEGIN; LOCK TABLE locked IN ACCESS EXCLUSIVE MODE").ReadAll(); err != nil {
		t.Fatal(err)
	}
	_, err = collect(open(t, postgres.Options{LockWait: 200 * time.Millisecond}, d.config(nil), d.env()))
	wantCode(t, err, job.Timeout, "locked", d.name)
	if err := holder.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
