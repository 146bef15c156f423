package dumptool_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

const trailer = "-- Dump completed\n"

// ended is content with output that ends with the trailer.
func ended() dumptool.Check {
	return dumptool.Trailer(64, func(end []byte) error {
		if !bytes.HasSuffix(end, []byte(trailer)) {
			return errors.New("the dump's last line is missing")
		}
		return nil
	})
}

func shell(script string) dumptool.Command {
	return dumptool.Command{Path: "/bin/sh", Args: []string{"-c", script}, What: `the dump of database "shop"`}
}

// dump runs a command to its end.
func dump(ctx context.Context, t *testing.T, c dumptool.Command) (string, error) {
	t.Helper()
	d, err := dumptool.Start(ctx, c)
	if err != nil {
		return "", err
	}
	content, err := io.ReadAll(d)
	if again, errAgain := d.Read(make([]byte, 1)); again != 0 || (err != nil && !errors.Is(errAgain, err)) || (err == nil && !errors.Is(errAgain, io.EOF)) {
		t.Errorf("the next read gave %d bytes and %v after %v", again, errAgain, err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	return string(content), err
}

func wantFailure(t *testing.T, err error, code job.Code, texts ...string) {
	t.Helper()
	if err == nil || job.CodeOf(err) != code {
		t.Fatalf("got %v, want %s", err, code)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func TestWholeDump(t *testing.T) {
	t.Parallel()
	c := shell(`for i in 1 2 3; do echo "INSERT $i"; done; echo "-- Dump completed"; echo "a warning" >&2`)
	c.Check = ended()
	got, err := dump(t.Context(), t, c)
	if want := "INSERT 1\nINSERT 2\nINSERT 3\n" + trailer; err != nil || got != want {
		t.Fatalf("got %q and %v", got, err)
	}
}

func TestBrokenDumps(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, script string
		texts        []string
	}{
		{"plausible output, exit 1", `echo "INSERT 1"; echo "-- Dump completed"; echo "dump: error: lost the server" >&2; exit 1`, []string{"lost the server", "exit status 1", `"shop"`}},
		{"half a dump, exit 0", `echo "INSERT 1"`, []string{"last line is missing"}},
		{"nothing, exit 0", `true`, []string{"last line is missing"}},
		{"killed", `echo "-- Dump completed"; kill -9 $$`, []string{"signal: killed"}},
		{"hands over to another process", `(sleep 0.2; echo "-- Dump completed") & echo "INSERT 1"`, []string{"last line is missing"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := shell(tt.script)
			c.Check = ended()
			_, err := dump(t.Context(), t, c)
			wantFailure(t, err, job.DumpFailed, tt.texts...)
		})
	}
}

func TestExplained(t *testing.T) {
	t.Parallel()
	c := shell(`echo "fatal: no such role" >&2; exit 3`)
	c.Explain = func(f dumptool.Failure) *job.Error {
		if f.Exited && strings.Contains(f.Stderr, "no such role") {
			return job.Errorf(job.AuthFailed, "%s: the server refuses the login (%s)", f.What, f.LastWords())
		}
		return nil
	}
	_, err := dump(t.Context(), t, c)
	wantFailure(t, err, job.AuthFailed, "fatal: no such role")
}

func TestMissingProgram(t *testing.T) {
	t.Parallel()
	_, err := dumptool.Start(t.Context(), dumptool.Command{Path: "/nonexistent/pg_dump", What: "the dump", Check: ended()})
	wantFailure(t, err, job.DumpFailed, "pg_dump")
}

// alive tells whether a process of a number exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return state != "" && state[0] != 'Z'
}

// readPIDs reads the numbers that a script printed in its first line.
func readPIDs(t *testing.T, d io.Reader) []int {
	t.Helper()
	var line []byte
	for b := make([]byte, 1); b[0] != '\n'; line = append(line, b[0]) {
		if _, err := io.ReadFull(d, b); err != nil {
			t.Fatalf("after %q: %v", line, err)
		}
	}
	var pids []int
	for f := range strings.FieldsSeq(string(line)) {
		pid, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// family is a program that hangs, with children that hang, one of which ignores
// what can be ignored.
const family = `sleep 1000 & a=$!; sh -c 'trap "" TERM HUP INT PIPE; sleep 1000; sleep 1000' & b=$!; echo $$ $a $b; wait; sleep 1000`

func wantGone(t *testing.T, pids []int) {
	t.Helper()
	if len(pids) != 3 {
		t.Fatalf("the program told %v", pids)
	}
	for _, pid := range pids {
		// Orphans are reaped by someone else, in their own time.
		testenv.Eventually(t, 2*time.Minute, func() bool { return !alive(pid) }, "process %d is still there", pid)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	d, err := dumptool.Start(t.Context(), shell(family))
	if err != nil {
		t.Fatal(err)
	}
	pids := readPIDs(t, d)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	wantGone(t, pids)
	if _, err := d.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a closed dump ends with %v", err)
	}
}

func TestContextEndsEverything(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	d, err := dumptool.Start(ctx, shell(family))
	if err != nil {
		t.Fatal(err)
	}
	pids := readPIDs(t, d)
	cause := errors.New("canceled by its owner")
	cancel(cause)
	if _, err := io.ReadAll(d); !errors.Is(err, cause) {
		t.Errorf("it ended with %v", err)
	}
	wantGone(t, pids)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestPatience(t *testing.T) {
	t.Parallel()
	c := shell(`echo $$ $$ $$; sleep 1000`)
	c.Patience = 50 * time.Millisecond
	d, err := dumptool.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	pids := readPIDs(t, d)
	_, err = io.ReadAll(d)
	wantFailure(t, err, job.Timeout, `"shop"`)
	wantGone(t, pids)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

// A reader that takes its time is no reason to give up a program.
func TestSlowReaderIsNoSilence(t *testing.T) {
	t.Parallel()
	c := shell(`head -c 300000 /dev/zero`)
	c.Patience = 100 * time.Millisecond
	d, err := dumptool.Start(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(300 * time.Millisecond)
	n, err := io.Copy(io.Discard, d)
	if n != 300000 || err != nil {
		t.Errorf("got %d bytes and %v", n, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestSecretsAreCutOut(t *testing.T) {
	t.Parallel()
	const password = "p'a ss\\%wörd"
	c := shell(`i=0; while [ $i -lt 2000 ]; do echo "login with $0 refused"; i=$((i+1)); done >&2; printf 'a\033[31mb\n' >&2; exit 1`)
	c.Args = append(c.Args, password) // a test may
	c.Secrets = []secret.Text{secret.New(password), secret.New("")}
	var seen dumptool.Failure
	c.Explain = func(f dumptool.Failure) *job.Error { seen = f; return nil }
	_, err := dump(t.Context(), t, c)
	wantFailure(t, err, job.DumpFailed, "[redacted]")
	for _, text := range []string{seen.Stderr, err.Error()} {
		// No end of the secret either, where the window begins within it.
		if strings.Contains(text, password) || strings.Contains(text, "wörd") || strings.Contains(text, "\033") {
			t.Fatalf("%q", text)
		}
	}
	if len(seen.Stderr) > 9<<10 || len(seen.Stderr) < 2<<10 {
		t.Errorf("%d bytes were kept", len(seen.Stderr))
	}
}

func TestEnvironmentIsNotInherited(t *testing.T) {
	t.Setenv("XVAULT_TEST_CANARY", "must-not-be-seen")
	dir := t.TempDir()
	c := shell(`env; pwd; ls -l /proc/self/fd`)
	c.Dir, c.Env = dir, []string{"PGAPPNAME=xvault"}
	got, err := dump(t.Context(), t, c)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(got, "CANARY") {
		t.Error("the worker's environment was inherited")
	}
	for _, want := range []string{"HOME=" + dir + "\n", "PGAPPNAME=xvault\n", "\n" + dir + "\n", "LANG=C.UTF-8\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in %s", want, got)
		}
	}
}

func TestSecretFile(t *testing.T) {
	t.Parallel()
	content := "line one\n\x00 'quoted' % \\ ü\n"
	f, err := dumptool.Secret([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	c := shell(`stat -L -c %a "$0"; cat "$0"; cat "$0"; (echo x >"$0") 2>/dev/null && echo writable`)
	c.Args = append(c.Args, dumptool.FilePath(0))
	c.Files = []*os.File{f}
	c.Check = nil
	got, err := dump(t.Context(), t, c)
	if err != nil && !strings.Contains(err.Error(), "exit status") {
		t.Fatal(err)
	}
	if want := "600\n" + content + content; got != want {
		t.Errorf("the program read %q, want %q", got, want)
	}
}

func TestStdin(t *testing.T) {
	t.Parallel()
	content := strings.Repeat("0123456789\n", 100000)
	c := shell(`cat`)
	c.Stdin = strings.NewReader(content)
	got, err := dump(t.Context(), t, c)
	if err != nil || got != content {
		t.Errorf("got %d bytes and %v", len(got), err)
	}
}

func TestStdinThatBreaks(t *testing.T) {
	t.Parallel()
	broken := errors.New("the archive is damaged")
	done := filepath.Join(t.TempDir(), "done")
	c := shell(`cat; touch "$0"`)
	c.Args = append(c.Args, done)
	c.Stdin = io.MultiReader(strings.NewReader("DROP TABLE a;\n"), errReader{broken})
	if _, err := dump(t.Context(), t, c); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(done); !errors.Is(err, os.ErrNotExist) {
		t.Error("the program saw an orderly end of its input")
	}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

func TestStdinNotTaken(t *testing.T) {
	t.Parallel()
	c := shell(`head -c 10`)
	for _, size := range []int{5_000, 1 << 20, 5 << 20} { // some of it in the pipe, all of it, not even that
		c.Stdin = strings.NewReader(strings.Repeat("x", size))
		_, err := dump(t.Context(), t, c)
		wantFailure(t, err, job.DumpFailed, "before it had read everything")
	}
}

func TestReadBy(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, dump, reader string
		want               []string // nothing: success
	}{
		{"content", `head -c 1000000 /dev/zero`, `n=$(wc -c); [ $n = 1000000 ]`, nil},
		{"half", `head -c 500000 /dev/zero`, `n=$(wc -c); [ $n = 1000000 ] || { echo "unexpected end of file" >&2; exit 1; }`, []string{"unexpected end of file"}},
		{"refuses at once", `head -c 1000000 /dev/zero`, `echo "not a dump" >&2; exit 1`, []string{"not a dump"}},
		{"ends before the dump does", `head -c 1000000 /dev/zero`, `head -c 10 >/dev/null`, []string{"before it had read everything"}},
		{"ends a little before the dump does", `head -c 1000000 /dev/zero`, `head -c 999000 >/dev/null`, []string{"before it had read everything"}},
		{"ends long before the dump does", `head -c 10000000 /dev/zero`, `head -c 10 >/dev/null`, []string{"before it had read everything"}},
		{"dump fails", `head -c 1000000 /dev/zero; echo "server gone" >&2; exit 1`, `cat >/dev/null`, []string{"server gone"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reader := shell(tt.reader)
			reader.What = "reading the dump"
			check, err := dumptool.ReadBy(t.Context(), reader)
			if err != nil {
				t.Fatal(err)
			}
			c := shell(tt.dump)
			c.Check = check
			got, err := dump(t.Context(), t, c)
			if tt.want != nil {
				wantFailure(t, err, job.DumpFailed, tt.want...)
			} else if err != nil || len(got) != 1000000 {
				t.Errorf("got %d bytes and %v", len(got), err)
			}
		})
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	said, err := dumptool.Run(t.Context(), shell(`echo output; echo "warning: slow" >&2`))
	if err != nil || said != "warning: slow\n" {
		t.Errorf("got %q and %v", said, err)
	}
	_, err = dumptool.Run(t.Context(), shell(`exit 2`))
	wantFailure(t, err, job.DumpFailed, "exit status 2")
}

// TestKilledWorkerLeavesNothing runs a worker's part in a process of its own, and
// kills that.
func TestKilledWorkerLeavesNothing(t *testing.T) {
	if os.Getenv("XVAULT_TEST_VICTIM") != "" {
		victim(t)
		return
	}
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	d, err := dumptool.Start(t.Context(), dumptool.Command{
		Path: exe, Args: []string{"-test.run", "^TestKilledWorkerLeavesNothing$"}, What: "the victim",
		Env: []string{"XVAULT_TEST_VICTIM=1"}, Dir: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	pids := readPIDs(t, d)
	if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantGone(t, append(pids, pids[0]))
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}

func victim(t *testing.T) {
	t.Helper()
	d, err := dumptool.Start(t.Context(), shell(`echo $$; exec sleep 1000`))
	if err != nil {
		t.Fatal(err)
	}
	pid := readPIDs(t, d)[0]
	if _, err := fmt.Fprintf(os.Stdout, "%d %d\n", os.Getpid(), pid); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(d)
	t.Error(err)
}

func TestFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, script string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("15/bin/dumper", `echo "dumper 15.3 (test)"; echo more`, 0o700)
	write("16/bin/dumper", `echo "dumper 16.1"`, 0o700)
	write("17/bin/dumper", `echo "dumper 17"; exit 1`, 0o700)
	write("18/bin/dumper", `echo "dumper 18"`, 0o600)
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../15/bin/dumper", filepath.Join(dir, "bin/dumper")); err != nil {
		t.Fatal(err)
	}
	// A file that was just written may still be open in a child that another test
	// is about to start: then it cannot be run yet.
	var got []dumptool.Program
	testenv.Eventually(t, 2*time.Minute, func() bool {
		var err error
		if got, err = dumptool.Find(t.Context(), "dumper", filepath.Join(dir, "*/bin"), filepath.Join(dir, "bin"), "/nonexistent"); err != nil {
			t.Fatal(err)
		}
		return len(got) == 2
	}, "found %v", got)
	if got[0].Banner != "dumper 15.3 (test)" || got[1].Banner != "dumper 16.1" {
		t.Errorf("found %v", got)
	}
}
