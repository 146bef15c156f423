package connectortest

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

func testRules(t *testing.T, start Factory) {
	t.Helper()
	const old, same, newer = -time.Hour, 0, time.Hour
	for rule, replaces := range map[job.Existing]map[time.Duration]bool{
		job.ExistingSkip:      {old: false, same: false, newer: false},
		job.ExistingNewer:     {old: true, same: false, newer: false},
		job.ExistingOverwrite: {old: true, same: true, newer: true},
	} {
		testRule(t, start, rule, replaces)
	}
}

// testRule tries one rule; replaces says for files of which age it gives them up.
func testRule(t *testing.T, start Factory, rule job.Existing, replaces map[time.Duration]bool) {
	t.Helper()
	const old, same, newer = -time.Hour, 0, time.Hour
	s := start(t, Options{})
	tr := tree{t, s.Root}
	for _, name := range []string{"gone", "old", "same", "newer", "as-it-was", "link", "folder"} {
		tr.file(name, 500)
		must(t, os.Chtimes(tr.path(name), modTime, modTime))
	}
	all := backedUp(t, s, s.Root)
	must(t, os.Remove(tr.path("gone")), os.Remove(tr.path("link")), os.Symlink("old", tr.path("link")), os.Remove(tr.path("folder")),
		os.Mkdir(tr.path("folder"), 0o750))
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
	clean(t, s, mustRestore(t, s, connectors.TargetOptions{}, all, tr.path("current")))
	clean(t, s, mustRestore(t, s, connectors.TargetOptions{Folder: tr.path("mnt/here")}, all, tr.path("current")))
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
	must(t, os.Mkdir(place, 0o750))
	file := func(path string) member {
		return member{Header: entry.Header{Path: path, Kind: entry.File, Size: 1, Mode: 0o644, ModTime: modTime}, data: []byte("x")}
	}
	hostile := []member{file("../up"), file("a/../../up"), file("/abs"), file("a//b"), file("./dot"), file(""), file("nul\x00"), file("a/.."),
		file(strings.Repeat("long/", 900) + "x")}
	link := member{Header: entry.Header{Path: "link", Kind: entry.Symlink, LinkTarget: "../../outside", ModTime: modTime}}
	hard := file("hard")
	hard.Kind, hard.LinkTarget = entry.Hardlink, "../up"
	all := slices.Concat(hostile, []member{file("fine"), hard, link, file("link/through")})
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
