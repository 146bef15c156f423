// Package testenv gives tests real servers: Postgres, Redis, an SSH server.
// Nothing is mocked and nothing is shared with the machine; what is missing
// fails the test and says how to install it, it never skips.
//
// Every package that uses it has
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// One Postgres and one MariaDB serve a whole test process: each starts when the
// first test asks for it, every test gets databases of its own, and Main stops it. Everything
// else belongs to the test that asked.
package testenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"xvault/internal/devenv"
)

// startTimeout is generous: many test processes start servers at once.
const startTimeout = 2 * time.Minute

// shared is what one test process has once.
var shared struct {
	scratch  sync.Once
	dir      string
	dirErr   error
	postgres sharedPostgres
	mariadb  sharedMariaDB
}

// Runner is *testing.M, or something that wraps it.
type Runner interface{ Run() int }

// Main runs a package's tests, stops the shared servers, removes their files,
// fails if goroutines are left, and exits.
func Main(m Runner, ignore ...goleak.Option) { os.Exit(Wrap(m, ignore...).Run()) }

// Wrap does what Main does but for the exit, for handing to testscript.Main.
func Wrap(m Runner, ignore ...goleak.Option) Runner { return wrapped{m, ignore} }

type wrapped struct {
	m      Runner
	ignore []goleak.Option
}

func (w wrapped) Run() int {
	code := w.m.Run()
	if err := stopShared(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: stop servers:", err)
		code = max(code, 1)
	}
	if code != 0 {
		return code // a failed test may well have left goroutines
	}
	if err := goleak.Find(w.ignore...); err != nil {
		fmt.Fprintln(os.Stderr, "testenv: goroutines are left after the tests:", err)
		return 1
	}
	return 0
}

func stopShared() error {
	err := errors.Join(shared.postgres.stop(), shared.mariadb.stop())
	if shared.dir == "" {
		return err
	}
	if rmErr := os.RemoveAll(shared.dir); err == nil {
		err = rmErr
	}
	return err
}

// scratch is this process's folder; children that run as another user can
// reach below it.
func scratch() (string, error) {
	shared.scratch.Do(func() { shared.dir, shared.dirErr = devenv.Scratch() })
	return shared.dir, shared.dirErr
}

// Dir makes a folder that is removed after the test and, unlike t.TempDir, can
// be passed through by a server that runs as another user.
func Dir(t testing.TB) string {
	t.Helper()
	parent, err := scratch()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(parent, "") //nolint:usetesting // see above
	if err != nil {
		t.Fatalf("make test folder: %v", err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // see above
		t.Fatalf("make test folder: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove test folder: %v", err)
		}
	})
	return dir
}

func startContext() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), startTimeout)
}

// Eventually polls until state holds, and fails the test with msg when it does
// not within the timeout. It is the one place where tests sleep.
func Eventually(t testing.TB, timeout time.Duration, state func() bool, msg string, args ...any) {
	t.Helper()
	deadline := time.Now().Add(timeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		if state() {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", timeout, fmt.Sprintf(msg, args...))
		}
		time.Sleep(pause)
	}
}
