package archive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"xvault/internal/entry"
)

// TestExtractManyDirectories restores more directories, deeper ones and more
// files than are ever held open or on their way, with times and modes that only
// last if they are set after the contents.
func TestExtractManyDirectories(t *testing.T) {
	t.Parallel()
	var items []item
	add := func(it item, n int) {
		it.ModTime = testTime.AddDate(0, 0, -n)
		items = append(items, it)
	}
	deep := "deep"
	for i := range 2 * maxEntered {
		d := dirItem(deep)
		d.Mode = 0o555
		add(d, i)
		add(fileItem(deep+"/a", strings.Repeat("a", i)), i+1)
		deep += "/b"
	}
	for i := range 3 * maxClosing {
		dir := fmt.Sprintf("flat/%03d", i)
		d := dirItem(dir)
		d.Mode = 0o700 + uint32(i%8)
		add(d, i)
		for j := range i % 7 {
			add(fileItem(fmt.Sprintf("%s/%d", dir, j), noiseString(uint64(i), j*40_000)), j)
		}
	}
	add(linkItem(entry.Hardlink, "x", "flat/006/0"), 1)
	s := newKeys(t).write(t, WriterConfig{}, items...)
	dir, report, err := s.extract(t, ExtractOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if report.Content != s.summary.Content {
		t.Errorf("restored %+v, want %+v", report.Content, s.summary.Content)
	}
	got, want := tree(t, dir), tree(t, s.stock(t))
	delete(got, "flat") // no entry of its own: made today
	delete(want, "flat")
	sameTree(t, "Extract", got, want)
}

// TestExtractEndsAtTheFirstFailure: what fails while other files are on their
// way is the error, and nothing of a wrong file remains.
func TestExtractEndsAtTheFirstFailure(t *testing.T) {
	t.Parallel()
	f := newForgery()
	for i := range 100 {
		path := fmt.Sprintf("d/%03d", i)
		content := strings.Repeat("x", i)
		stored := content
		if i == 50 {
			stored = content[1:] + "y"
		}
		f.member(forgedFile(path, content), fileItem(path, stored))
	}
	s := newKeys(t).reseal(t, f.bytes(t))
	dir, _, err := s.extract(t, ExtractOptions{})
	if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "d/050") {
		t.Errorf("error %v, want one of d/050", err)
	}
	if _, there := tree(t, dir)["d/050"]; there {
		t.Error("the wrong file is there")
	}
}

// TestExtractIntoSharedDirectory: what a directory gives its new files, such as
// its group, does not show in what is restored there.
func TestExtractIntoSharedDirectory(t *testing.T) {
	t.Parallel()
	var items []item
	for mode := range uint32(0o1000) {
		it := fileItem(fmt.Sprintf("%04o", mode), "x")
		it.Mode, it.UID, it.GID = mode, os.Geteuid(), os.Getegid()
		if mode%2 == 1 {
			it.UID, it.GID = 1234, 5678 // restored by root only
		}
		items = append(items, it)
	}
	s := newKeys(t).write(t, WriterConfig{}, items...)
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, 4321, 4321); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o777|fs.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	if _, err := s.open(t).Extract(t.Context(), root, nil, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	sameTree(t, "Extract", tree(t, dir), wanted(items))
}

// TestBirthInSharedDirectory: a directory that turns to another group after it
// was opened gives nobody, for as long as a new file is of that group, more than
// the file's own mode will.
func TestBirthInSharedDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	tgt, err := newTarget(root, ExtractOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tgt.close()
	tgt.owners = true // whoever runs this
	gid := os.Getegid()
	if os.Geteuid() == 0 {
		gid = 4321
	}
	if err := errors.Join(os.Chown(dir, -1, gid), os.Chmod(dir, 0o777|fs.ModeSetgid)); err != nil {
		t.Fatal(err)
	}
	for mode := range uint32(0o1000) {
		attr := attributes{mode: mode, uid: tgt.uid, gid: tgt.gid}
		born := birth(t, tgt, fmt.Sprintf("%04o", mode), attr)
		if int(born.Gid) != gid {
			t.Fatalf("%04o is made of group %d, want %d", mode, born.Gid, gid)
		}
		everybody := mode >> 3 & mode & 7 // what both the group and others will be allowed
		if allowed := (born.Mode>>3 | born.Mode) & 7; allowed&^everybody != 0 {
			t.Errorf("%04o is made with mode %04o", mode, born.Mode&0o777)
		}
	}
	for _, mode := range []uint32{0o400, 0o600, 0o644, 0o755} {
		if got := tgt.birthMode(attributes{mode: mode, uid: tgt.uid, gid: tgt.gid}); got != mode {
			t.Errorf("%04o is made with mode %04o first", mode, got)
		}
	}
}

// birth makes an empty file at the top and gives what it is before anything is
// done to it.
func birth(t *testing.T, tgt *target, name string, attr attributes) (st unix.Stat_t) {
	t.Helper()
	fd, err := tgt.top.create(name, tgt.birthMode(attr))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(unix.Fstat(fd, &st), unix.Close(fd)); err != nil {
		t.Fatal(err)
	}
	return st
}
