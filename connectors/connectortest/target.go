package connectortest

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// RunTarget runs the suite for connectors that write files back.
func RunTarget(t *testing.T, start Factory) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Factory){
		"RestoresAnAwkwardTree":   testRestoresTree,
		"RestoresUnderAnotherOne": testRestoresElsewhere,
		"RestoresASinglePath":     testRestoresSingle,
		"KeepsToTheRule":          testRules,
		"FollowsNoLink":           testNoLinkFollowed,
		"FollowsAChosenLink":      testChosenLink,
		"RefusesHostileNames":     testHostileMembers,
		"KeepsNothingOfABadFile":  testBadContent,
		"WithoutPrivileges":       testUnprivilegedTarget,
		"GoesOnAfterABreak":       testResume,
		"StopsWhenNotAllowed":     testNotAllowed,
		"ContextEndsRestore":      testRestoreCanceled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, start)
		})
	}
}

const targetJob = "0198c0de-0000-7000-8000-000000000001"

// member is an entry with its content in memory.
type member struct {
	entry.Header
	data  []byte
	above bool
	bad   error // of the body, in place of its end
}

func (m *member) item() connectors.TargetItem {
	item := connectors.TargetItem{Header: m.Header, Above: m.above}
	switch m.Kind {
	case entry.File:
		item.Body = m.body()
	case entry.Hardlink:
		item.Content = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(m.body()), nil }
	}
	return item
}

func (m *member) body() io.Reader {
	if m.bad != nil {
		return io.MultiReader(bytes.NewReader(m.data), failing{m.bad})
	}
	return bytes.NewReader(m.data)
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// backedUp reads a source as a backup does, and gives what an archive of it gives.
func backedUp(t *testing.T, s *Server, paths ...string) []member {
	t.Helper()
	var all []member
	source := opened(t, s, direct(t, s, paths...))
	err := source.Read(deadline(t), func(item connectors.Item) error {
		if item.Err != nil || item.Kind > entry.Hardlink {
			return nil //nolint:nilerr // an archive has it by name only
		}
		m := member{Header: item.Header}
		if item.Body != nil {
			var err error
			if m.data, err = io.ReadAll(item.Body); err != nil {
				return err
			}
			m.Size = int64(len(m.data))
		}
		if m.Kind == entry.Hardlink {
			for _, first := range all {
				if first.Path == m.LinkTarget {
					m.Size, m.ModTime, m.data = first.Size, first.ModTime, first.data
				}
			}
		}
		all = append(all, m)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// restoring opens a target; it is closed after the test.
func restoring(t *testing.T, s *Server, o connectors.TargetOptions, paths ...string) connectors.Target {
	t.Helper()
	if o.JobID == "" {
		o.JobID = targetJob
	}
	if o.Existing == "" {
		o.Existing = job.ExistingSkip
	}
	env := connectors.Env{Credential: s.Credential, Dial: connectors.NewDialer(connectors.DialerConfig{})}
	target, err := s.Type.OpenTarget(canonical(t, s, direct(t, s, paths...)), env, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 {
			if err := target.Close(); err != nil {
				t.Errorf("close the target: %v", err)
			}
		}
	})
	return target
}

// putAll puts everything and finishes, also after an error.
func putAll(ctx context.Context, target connectors.Target, all []member) error {
	var err error
	for i := range all {
		if err = target.Put(ctx, all[i].item()); err != nil {
			break
		}
	}
	if finishErr := target.Finish(ctx); err == nil {
		err = finishErr
	}
	return err
}

func mustRestore(t *testing.T, s *Server, o connectors.TargetOptions, all []member, paths ...string) connectors.TargetReport {
	t.Helper()
	target := restoring(t, s, o, paths...)
	if err := putAll(deadline(t), target, all); err != nil {
		t.Fatal(err)
	}
	return target.Report()
}

// clean checks that nothing failed and nothing with a name of its own is left.
func clean(t *testing.T, root string, r connectors.TargetReport) {
	t.Helper()
	for _, p := range r.Problems {
		t.Errorf("%q: %v", p.Path, p.Err)
	}
	if r.Failed > 0 || r.OwnersLost > 0 || r.AttributesLost > 0 {
		t.Errorf("%d failed, %d lost their owner, %d an attribute", r.Failed, r.OwnersLost, r.AttributesLost)
	}
	noLeftovers(t, root)
}

func noLeftovers(t *testing.T, root string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, _ os.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), connectors.TempPrefix) {
			t.Errorf("%q is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// withoutSpecial drops what no archive stores.
func withoutSpecial(all []got) []got {
	var kept []got
	for _, g := range all {
		if g.Kind <= entry.Hardlink {
			kept = append(kept, g)
		}
	}
	return kept
}

// onDisk is what a look at the disk shows, links with one inode told apart where
// the connector does.
func onDisk(t *testing.T, s *Server, path string) []got {
	t.Helper()
	all := withoutSpecial(expected(t, path))
	if s.HardLinks {
		all = linkNames(all)
	}
	return all
}

func sameTrees(t *testing.T, now, before []got) {
	t.Helper()
	for i := range now {
		now[i].read, now[i].ended = now[i].Size, nil
	}
	compare(t, now, before)
}

func testRestoresTree(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	awkward(t, s, s.Root+"/tree")
	before := onDisk(t, s, s.Root+"/tree")
	all := backedUp(t, s, s.Root+"/tree")
	must(t, os.RemoveAll(s.Root+"/tree"))
	report := mustRestore(t, s, connectors.TargetOptions{}, all, s.Root+"/tree")
	clean(t, s.Root, report)
	sameTrees(t, onDisk(t, s, s.Root+"/tree"), before)
	if report.Files+report.Dirs+report.Links != int64(len(before)) || report.Overwritten+report.Skipped+report.Unchanged > 0 {
		t.Errorf("report %+v of %d entries", report, len(before))
	}
	again := mustRestore(t, s, connectors.TargetOptions{}, all, s.Root+"/tree")
	clean(t, s.Root, again)
	if again.Files+again.Dirs+again.Links+again.Skipped > 0 || again.Unchanged != report.Files+report.Links {
		t.Errorf("a second time: %+v", again)
	}
	sameTrees(t, onDisk(t, s, s.Root+"/tree"), before)
}

func testRestoresElsewhere(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root + "/tree"}
	for _, name := range []string{"a/x", "a/y/z", "b"} {
		tr.file(name, 300_000)
	}
	all := backedUp(t, s, tr.root)
	other := s.Root + "/new/place"
	clean(t, s.Root, mustRestore(t, s, connectors.TargetOptions{Folder: other}, all, tr.root))
	for i := range all {
		all[i].Path = strings.TrimPrefix(other+"/"+all[i].Path, "/")
	}
	was, now := onDisk(t, s, tr.root), onDisk(t, s, other+tr.root)
	for i := range was {
		was[i].Path = strings.TrimPrefix(other+"/"+was[i].Path, "/")
	}
	sameTrees(t, now, was)
}

// A folder on the way is made as it was where it is missing, and left alone where
// it is there.
func testRestoresSingle(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root + "/tree"}
	tr.file("private/x", 10)
	must(t, os.Chmod(tr.path("private"), 0o710), os.Chtimes(tr.path("private"), modTime, modTime)) //nolint:gosec // the tree of a test
	all := backedUp(t, s, tr.root)
	all[0].above, all[1].above = true, true
	must(t, os.RemoveAll(tr.path("private")), os.Chmod(tr.root, 0o700)) //nolint:gosec // the tree of a test
	clean(t, s.Root, mustRestore(t, s, connectors.TargetOptions{}, all, tr.root))
	for path, mode := range map[string]os.FileMode{tr.root: 0o700, tr.path("private"): 0o710} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
