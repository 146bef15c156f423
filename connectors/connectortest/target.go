package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// RunTarget runs the suite for connectors that write files back.
func RunTarget(t *testing.T, start Factory) {
	t.Helper()
	RunSomeTarget(t, start, slices.Sorted(maps.Keys(targetTests()))...)
}

// RunSomeTarget runs the named tests of that suite.
func RunSomeTarget(t *testing.T, start Factory, names ...string) {
	t.Helper()
	runSome(t, start, targetTests(), names)
}

func targetTests() map[string]func(*testing.T, Factory) {
	return withRestores(map[string]func(*testing.T, Factory){
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
	})
}

// TargetJob is the job that restores.
const TargetJob = "0198c0de-0000-7000-8000-000000000001"

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

// own gives all that the server serves to its user, where that has to be.
func (s *Server) own(t *testing.T) {
	t.Helper()
	if s.Own == nil {
		return
	}
	must(t, filepath.WalkDir(s.Root, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		var before syscall.Stat_t
		err = errors.Join(syscall.Lstat(path, &before), s.Own(path))
		if err == nil && before.Mode&syscall.S_IFMT != syscall.S_IFLNK {
			err = syscall.Chmod(path, before.Mode&0o7777) // which a new owner may have changed
		}
		return err
	}))
}

// backedUp reads a source as a backup does, and gives what an archive of it gives.
func backedUp(t *testing.T, s *Server, paths ...string) []member {
	t.Helper()
	s.own(t)
	var all []member
	source := openedAsIs(t, s, direct(t, s, paths...))
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
	s.own(t)
	return restoringAt(t, s, o, direct(t, s, paths...))
}

func restoringAt(t *testing.T, s *Server, o connectors.TargetOptions, raw map[string]any) connectors.Target {
	t.Helper()
	if o.JobID == "" {
		o.JobID = TargetJob
	}
	if o.Existing == "" {
		o.Existing = job.ExistingSkip
	}
	target, err := s.Type.OpenTarget(canonical(t, s, raw), lent(t, s), o)
	if err != nil {
		t.Fatal(err)
	}
	closedTwice(t, target)
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
func clean(t *testing.T, s *Server, r connectors.TargetReport) {
	t.Helper()
	for _, p := range r.Problems {
		t.Errorf("%q: %v", p.Path, p.Err)
	}
	kept(t, s, r)
	if r.Failed > 0 {
		t.Errorf("%d failed", r.Failed)
	}
	noLeftovers(t, s.Root)
}

// kept checks that nothing was lost but what the server cannot keep.
func kept(t *testing.T, s *Server, r connectors.TargetReport) {
	t.Helper()
	no := s.CannotWrite
	if r.OwnersLost > 0 && !no.Owners || r.AttributesLost > 0 && !no.Modes && !no.FolderTimes {
		t.Errorf("%d lost their owner, %d an attribute", r.OwnersLost, r.AttributesLost)
	}
	if (no.Modes || no.FolderTimes) && r.Dirs > 0 && r.AttributesLost == 0 {
		t.Error("nothing tells of modes and times that were not set")
	}
}

// writable keeps what can be written to the server.
func (s *Server) writable(all []got) []got {
	return slices.DeleteFunc(slices.Clone(all), func(g got) bool { return s.refuses(&g.Header) })
}

func (s *Server) refuses(h *entry.Header) bool {
	return s.CannotWrite.Links && h.Kind == entry.Symlink || s.CannotWrite.Path != nil && s.CannotWrite.Path("/"+h.Path)
}

// withoutLost drops what the server does not keep of an entry.
func (s *Server) withoutLost(all []got) []got {
	all = slices.Clone(all)
	for i := range all {
		g := &all[i]
		if s.CannotWrite.Owners {
			g.UID, g.GID = 0, 0
		}
		if s.CannotWrite.Modes {
			g.Mode = 0
		}
		if s.CannotWrite.FolderTimes && g.Kind == entry.Dir {
			g.ModTime = time.Time{}
		}
	}
	return all
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

func sameTrees(t *testing.T, s *Server, now, before []got) {
	t.Helper()
	for i := range now {
		now[i].read, now[i].ended = now[i].Size, nil
	}
	compare(t, coarse(s, s.withoutLost(now)), coarse(s, s.withoutLost(before)))
}

func testRestoresTree(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	awkward(t, s, s.Root+"/tree")
	all := backedUp(t, s, s.Root+"/tree")
	stored := map[string]bool{}
	refused := 0
	for i := range all {
		stored[all[i].Path] = true
		if s.refuses(&all[i].Header) {
			refused++
		}
	}
	before := slices.DeleteFunc(s.writable(onDisk(t, s, s.Root+"/tree")), func(g got) bool { return !stored[g.Path] })
	must(t, os.RemoveAll(s.Root+"/tree"))
	report := mustRestore(t, s, connectors.TargetOptions{}, all, s.Root+"/tree")
	told(t, s, report, refused)
	sameTrees(t, s, onDisk(t, s, s.Root+"/tree"), before)
	if report.Files+report.Dirs+report.Links != int64(len(before)) || report.Overwritten+report.Skipped+report.Unchanged > 0 {
		t.Errorf("report %+v of %d entries", report, len(before))
	}
	again := mustRestore(t, s, connectors.TargetOptions{}, all, s.Root+"/tree")
	told(t, s, again, refused)
	if again.Files+again.Dirs+again.Links+again.Skipped > 0 || again.Unchanged != report.Files+report.Links {
		t.Errorf("a second time: %+v", again)
	}
	if refused > 0 {
		s.CannotWrite.FolderTimes = true // of those in which it was tried again
	}
	sameTrees(t, s, onDisk(t, s, s.Root+"/tree"), before)
}

// told checks that what cannot be written was named, and nothing else failed.
func told(t *testing.T, s *Server, r connectors.TargetReport, refused int) {
	t.Helper()
	for _, p := range r.Problems {
		if !strings.Contains(p.Err.Message, fmt.Sprintf("%q", p.Path)) {
			t.Errorf("the problem with %q does not name it: %v", p.Path, p.Err)
		}
	}
	if r.Failed != int64(refused) {
		t.Errorf("%d failed, %d cannot be written: %v", r.Failed, refused, r.Problems)
	}
	kept(t, s, r)
	noLeftovers(t, s.Root)
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
	clean(t, s, mustRestore(t, s, connectors.TargetOptions{Folder: other}, all, tr.root))
	for i := range all {
		all[i].Path = strings.TrimPrefix(other+"/"+all[i].Path, "/")
	}
	was, now := onDisk(t, s, tr.root), onDisk(t, s, other+tr.root)
	for i := range was {
		was[i].Path = strings.TrimPrefix(other+"/"+was[i].Path, "/")
	}
	sameTrees(t, s, now, was)
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
	clean(t, s, mustRestore(t, s, connectors.TargetOptions{}, all, tr.root))
	for path, mode := range map[string]os.FileMode{tr.root: 0o700, tr.path("private"): 0o710} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != mode && (path == tr.root || !s.CannotWrite.Modes) {
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
