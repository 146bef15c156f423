package connectortest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
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
			return nil
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
	awkward(t, s.Root+"/tree")
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
	must(t, os.Chmod(tr.path("private"), 0o710), os.Chtimes(tr.path("private"), modTime, modTime))
	all := backedUp(t, s, tr.root)
	all[0].above, all[1].above = true, true
	must(t, os.RemoveAll(tr.path("private")), os.Chmod(tr.root, 0o700))
	clean(t, s.Root, mustRestore(t, s, connectors.TargetOptions{}, all, tr.root))
	for path, mode := range map[string]os.FileMode{tr.root: 0o700, tr.path("private"): 0o710} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != mode {
			t.Errorf("%s has mode %v, want %v", path, info.Mode(), mode)
		}
	}
}

func testRules(t *testing.T, start Factory) {
	t.Helper()
	const old, same, newer = -time.Hour, 0, time.Hour
	for rule, replaces := range map[job.Existing]map[time.Duration]bool{
		job.ExistingSkip:      {old: false, same: false, newer: false},
		job.ExistingNewer:     {old: true, same: false, newer: false},
		job.ExistingOverwrite: {old: true, same: true, newer: true},
	} {
		s := start(t, Options{})
		tr := tree{t, s.Root}
		for _, name := range []string{"gone", "old", "same", "newer", "as-it-was", "link", "folder"} {
			tr.file(name, 500)
			must(t, os.Chtimes(tr.path(name), modTime, modTime))
		}
		all := backedUp(t, s, s.Root)
		must(t, os.Remove(tr.path("gone")), os.Remove(tr.path("link")), os.Symlink("old", tr.path("link")), os.Remove(tr.path("folder")),
			os.Mkdir(tr.path("folder"), 0o755))
		for name, age := range map[string]time.Duration{"old": old, "same": same, "newer": newer} {
			must(t, os.WriteFile(tr.path(name), []byte("changed"), 0o600), os.Chtimes(tr.path(name), modTime.Add(age), modTime.Add(age)))
		}
		report := mustRestore(t, s, connectors.TargetOptions{Existing: rule}, all, s.Root)
		noLeftovers(t, s.Root)
		for name, age := range map[string]time.Duration{"old": old, "same": same, "newer": newer} {
			b, err := os.ReadFile(tr.path(name))
			must(t, err)
			if replaced := !bytes.Equal(b, []byte("changed")); replaced != replaces[age] {
				t.Errorf("%s: the file %q was replaced: %v", rule, name, replaced)
			}
		}
		if b, err := os.ReadFile(tr.path("gone")); err != nil || !bytes.Equal(b, pattern("gone", 500)) {
			t.Errorf("%s: what was missing: %d bytes, %v", rule, len(b), err)
		}
		info, err := os.Lstat(tr.path("link"))
		must(t, err)
		if isLink := info.Mode()&os.ModeSymlink != 0; isLink == (rule == job.ExistingOverwrite) {
			t.Errorf("%s: a link in a file's place stays: %v", rule, isLink)
		}
		if report.Failed != 1 || report.Problems[0].Path != tr.path("folder") || report.Problems[0].Err.Code != job.SourceChanged {
			t.Errorf("%s: a folder in a file's place: %+v", rule, report.Problems)
		}
		t.Logf("%s: %+v", rule, report)
	}
}

// What leads out of the tree is refused, and nothing is written behind it.
func testNoLinkFollowed(t *testing.T, start Factory) {
	t.Helper()
	for _, rule := range []job.Existing{job.ExistingSkip, job.ExistingOverwrite} {
		s := start(t, Options{})
		tr, outside := tree{t, s.Root + "/tree"}, tree{t, s.Root + "/outside"}
		for _, name := range []string{"a/x", "a/deep/y", "b", "c/z"} {
			tr.file(name, 100)
		}
		must(t, os.Link(tr.path("a/x"), tr.path("c/x")))
		all := backedUp(t, s, tr.root)
		must(t, os.Rename(tr.path("a"), s.Root+"/moved"))
		outside.file("deep/secret", 5)
		outside.file("x", 5)
		tr.link("a", "../outside")
		report := mustRestore(t, s, connectors.TargetOptions{Existing: rule}, all, tr.root)
		noLeftovers(t, s.Root)
		if report.Failed != 4 { // the folder, the one in it, and two files
			t.Errorf("%s: %d entries failed: %+v", rule, report.Failed, report.Problems)
		}
		for _, p := range report.Problems {
			if p.Err.Code != job.SourceChanged || !strings.Contains(p.Err.Message, "symbolic link") {
				t.Errorf("%q: %v", p.Path, p.Err)
			}
		}
		var names []string
		must(t, filepath.WalkDir(outside.root, func(path string, d os.DirEntry, err error) error {
			if !d.IsDir() {
				names = append(names, path)
			}
			return err
		}))
		if len(names) != 2 {
			t.Errorf("%s: outside there is %q", rule, names)
		}
		if info, err := os.Lstat(tr.path("a")); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s: the link itself: %v, %v", rule, info, err)
		}
	}
}

// A path of the configuration that is a link was followed by the backup, and so it
// is by the restore; as are links above it, and in the folder to restore to.
func testChosenLink(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.file("releases/2/index.php", 30)
	tr.link("current", "releases/2")
	tr.dir("disk")
	tr.link("mnt", "disk")
	all := backedUp(t, s, tr.path("current"))
	must(t, os.Remove(tr.path("releases/2/index.php")))
	clean(t, s.Root, mustRestore(t, s, connectors.TargetOptions{}, all, tr.path("current")))
	clean(t, s.Root, mustRestore(t, s, connectors.TargetOptions{Folder: tr.path("mnt/here")}, all, tr.path("current")))
	for _, path := range []string{tr.path("releases/2/index.php"), tr.path("disk/here") + tr.path("current/index.php")} {
		if b, err := os.ReadFile(path); err != nil || len(b) != 30 {
			t.Errorf("%s: %d bytes, %v", path, len(b), err)
		}
	}
}

// Archives are checked where they are read; a target does not rely on that.
func testHostileMembers(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	place := s.Root + "/place"
	must(t, os.Mkdir(place, 0o755))
	file := func(path string) member {
		return member{Header: entry.Header{Path: path, Kind: entry.File, Size: 1, Mode: 0o644, ModTime: modTime}, data: []byte("x")}
	}
	hostile := []member{file("../up"), file("a/../../up"), file("/abs"), file("a//b"), file("./dot"), file(""), file("nul\x00"), file("a/.."),
		file(strings.Repeat("long/", 900) + "x")}
	link := member{Header: entry.Header{Path: "link", Kind: entry.Symlink, LinkTarget: "../../outside", ModTime: modTime}}
	hard := file("hard")
	hard.Kind, hard.LinkTarget = entry.Hardlink, "../up"
	all := append(hostile, file("fine"), hard, link, file("link/through"))
	report := mustRestore(t, s, connectors.TargetOptions{Folder: place}, all, s.Root)
	names, err := os.ReadDir(place)
	must(t, err)
	var left []string
	for _, n := range names {
		left = append(left, n.Name())
	}
	// A hard link to nowhere is made a file, for its content is there.
	if strings.Join(left, " ") != "fine hard link" || int(report.Failed) != len(hostile)+1 {
		t.Errorf("there is %q; %d failed, %+v", left, report.Failed, report.Problems)
	}
	if names, err := os.ReadDir(s.Root); err != nil || len(names) != 1 {
		t.Errorf("beside the place there is %v, %v", names, err)
	}
}

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
	must(t, syscall.Chmod(tr.path("open/setuid"), 0o4755), os.Chmod(tr.path("open/read-only"), 0o555))
	all := backedUp(t, s, tr.root)
	must(t, os.RemoveAll(tr.path("open")), os.Mkdir(tr.path("open"), 0o777), os.Chmod(tr.path("open"), 0o777),
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
	if info, err := os.Stat(tr.path("open/read-only")); err != nil || info.Mode().Perm() != 0o555 {
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
	tr.link("a/link", "1")
	must(t, os.Chmod(tr.path("a/ro"), 0o550))
	for _, dir := range []string{"a/b/c", "a/b", "a/ro", "a", "d", ""} {
		must(t, os.Chtimes(tr.path(dir), modTime, modTime))
	}
	before, all := onDisk(t, s, tr.root), backedUp(t, s, tr.root)
	for steps := 0; ; steps += 1 + steps/6 {
		must(t, os.RemoveAll(tr.root))
		left := steps
		broken := errors.New("the process dies here")
		dead := false
		target := restoring(t, s, connectors.TargetOptions{Allowed: func() error {
			if left--; left < 0 || dead {
				dead = true
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
		sameTrees(t, onDisk(t, s, tr.root), before)
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

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
