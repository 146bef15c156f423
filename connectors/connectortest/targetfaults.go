package connectortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

var errBad = errors.New("the content is not what the archive promises")

func testBadContent(t *testing.T, start Factory) {
	t.Helper()
	for _, size := range []int{0, 100, 5 << 20} {
		s := start(t, Options{})
		tr := tree{t, s.Root}
		tr.file("first", 10)
		tr.file("then", size)
		all := backedUp(t, s, s.Root)
		must(t, os.Remove(tr.path("first")), os.Remove(tr.path("then")))
		all[len(all)-1].bad = errBad
		target := restoring(t, s, connectors.TargetOptions{}, s.Root)
		if err := putAll(deadline(t), target, all); !errors.Is(err, errBad) {
			t.Errorf("%d bytes: %v", size, err)
		}
		noLeftovers(t, s.Root)
		if _, err := os.Lstat(tr.path("then")); !os.IsNotExist(err) {
			t.Errorf("%d bytes: the bad file: %v", size, err)
		}
		if _, err := os.Lstat(tr.path("first")); err != nil {
			t.Errorf("%d bytes: the good file: %v", size, err)
		}
	}
}

// Who is not root cannot give files away; they are restored all the same. What the
// user may not write is told.
func testUnprivilegedTarget(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{Unprivileged: true})
	if os.Getuid() != 0 {
		t.Log("not root: owners are the same anyway")
	}
	tr := tree{t, s.Root + "/tree"}
	tr.file("open/x", 10)
	tr.file("open/setuid", 10)
	tr.file("closed/y", 10)
	tr.dir("open/read-only")
	tr.file("open/read-only/z", 10)
	must(t, syscall.Chmod(tr.path("open/setuid"), 0o4755), os.Chmod(tr.path("open/read-only"), 0o555)) //nolint:gosec // the tree of a test
	all := backedUp(t, s, tr.root)
	must(t, os.RemoveAll(tr.path("open")), os.Mkdir(tr.path("open"), 0o777), os.Chmod(tr.path("open"), 0o777), //nolint:gosec // the tree of a test
		os.Remove(tr.path("closed/y")))
	target := restoring(t, s, connectors.TargetOptions{}, tr.root)
	if err := putAll(deadline(t), target, all); err != nil {
		t.Fatal(err)
	}
	report := target.Report()
	noLeftovers(t, s.Root)
	if os.Getuid() == 0 {
		if report.Failed != 1 || report.Problems[0].Err.Code != job.PermissionDenied || report.OwnersLost == 0 {
			t.Errorf("report %+v", report)
		}
		if info, err := os.Stat(tr.path("open/setuid")); err != nil || info.Mode()&os.ModeSetuid != 0 {
			t.Errorf("someone else's program would lend this user's rights: %v, %v", info.Mode(), err)
		}
	}
	if info, err := os.Stat(tr.path("open/read-only")); err != nil || info.Mode().Perm() != 0o555 && !s.CannotWrite.Modes {
		t.Errorf("a read-only folder: %v, %v", info, err)
	}
	if b, err := os.ReadFile(tr.path("open/read-only/z")); err != nil || len(b) != 10 {
		t.Errorf("in it: %v", err)
	}
}

// An attempt that dies at any point is taken up by the next: the tree is as it was,
// folders included, and nothing is left.
func testResume(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root + "/tree"}
	for _, name := range []string{"a/1", "a/b/2", "a/b/c/3", "a/large", "d/4", "e"} {
		tr.file(name, 2000)
	}
	tr.file("a/large", 600_000)
	tr.dir("a/ro")
	tr.file("a/ro/5", 10)
	if !s.CannotWrite.Links {
		tr.link("a/link", "1")
	}
	must(t, os.Chmod(tr.path("a/ro"), 0o550)) //nolint:gosec // the tree of a test
	for _, dir := range []string{"a/b/c", "a/b", "a/ro", "a", "d", ""} {
		must(t, os.Chtimes(tr.path(dir), modTime, modTime))
	}
	all := backedUp(t, s, tr.root)
	before := onDisk(t, s, tr.root)
	for steps := 0; ; steps += 1 + steps/3 {
		must(t, os.RemoveAll(tr.root))
		var done atomic.Int64 // steps, of any goroutine
		broken := errors.New("the process dies here")
		target := restoring(t, s, connectors.TargetOptions{Allowed: func() error {
			if done.Add(1) > int64(steps) {
				return broken
			}
			return nil
		}, Resumes: func(error) bool { return true }}, tr.root)
		err := putAll(deadline(t), target, all)
		must(t, target.Close())
		if err == nil {
			t.Logf("%d steps", steps)
			break
		}
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		report := mustRestore(t, s, connectors.TargetOptions{Again: true}, all, tr.root)
		if report.Failed > 0 {
			t.Fatalf("after %d steps: %+v", steps, report.Problems)
		}
		noLeftovers(t, s.Root)
		sameTrees(t, s, onDisk(t, s, tr.root), before)
		if t.Failed() {
			t.Fatalf("after %d steps", steps)
		}
	}
}

func testNotAllowed(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root + "/tree"}
	tr.file("x", 10)
	all := backedUp(t, s, tr.root)
	must(t, os.RemoveAll(tr.root))
	fenced := errors.New("someone else's")
	target := restoring(t, s, connectors.TargetOptions{Allowed: func() error { return fenced }}, tr.root)
	if err := putAll(deadline(t), target, all); !errors.Is(err, fenced) {
		t.Errorf("error %v", err)
	}
	if names, err := os.ReadDir(s.Root); err != nil || len(names) > 0 {
		t.Errorf("there is %v, %v", names, err)
	}
}

func testRestoreCanceled(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root + "/tree"}
	tr.file("a/large", 8<<20)
	all := backedUp(t, s, tr.root)
	must(t, os.RemoveAll(tr.root))
	ctx, cancel := context.WithCancelCause(deadline(t))
	defer cancel(nil)
	wanted := errors.New("enough")
	target := restoring(t, s, connectors.TargetOptions{}, tr.root)
	var err error
	for i := range all {
		item := all[i].item()
		if all[i].Kind == entry.File {
			item.Body = io.MultiReader(bytes.NewReader(all[i].data[:4<<20]), onRead(func() { cancel(wanted) }), bytes.NewReader(all[i].data[4<<20:]))
		}
		if err = target.Put(ctx, item); err != nil {
			break
		}
	}
	if !errors.Is(err, wanted) {
		t.Errorf("put: %v", err)
	}
	if err := target.Finish(ctx); !errors.Is(err, wanted) {
		t.Errorf("finish: %v", err)
	}
	noLeftovers(t, s.Root)
	if _, err := os.Lstat(tr.path("a/large")); !os.IsNotExist(err) {
		t.Errorf("half a file: %v", err)
	}
}

// onRead runs something when it is read, and has no bytes.
type onRead func()

func (f onRead) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}
