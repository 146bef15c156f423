package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"

	"xvault/archive/seal"
	"xvault/internal/entry"
)

// manyFiles has enough entries for several index blocks and frames.
func manyFiles(dirs, files int) []item {
	var items []item
	for d := range dirs {
		dir := fmt.Sprintf("dir%04d", d)
		items = append(items, dirItem(dir))
		for f := range files {
			items = append(items, fileItem(fmt.Sprintf("%s/file%04d", dir, f), noiseString(uint64(d*files+f), 100+f)))
		}
	}
	return items
}

func TestWalkAndLookup(t *testing.T) {
	t.Parallel()
	items := manyFiles(60, 300)
	s := newKeys(t).write(t, WriterConfig{}, items...)
	r := s.open(t)
	if r.Entries() != int64(len(items)) || len(r.dir.blocks) < 3 {
		t.Fatalf("%d entries in %d blocks, want %d in three or more", r.Entries(), len(r.dir.blocks), len(items))
	}
	i := 0
	err := r.Walk(context.Background(), "", func(e *Entry) error {
		want := items[i]
		if e.Path != want.Path || e.Kind != want.Kind || e.Mode != want.Mode || !e.ModTime.Equal(want.ModTime) ||
			e.Size != want.Size || (e.Kind == entry.File && e.SHA256 != sha256.Sum256([]byte(want.content))) {
			return fmt.Errorf("entry %d is %+v, want %+v", i, e, want.Header)
		}
		i++
		return nil
	})
	if err != nil || i != len(items) {
		t.Fatalf("walk: %d of %d entries, %v", i, len(items), err)
	}
	for i := 0; i < len(items); i += 97 {
		if e, err := r.Lookup(items[i].Path); err != nil || e.Path != items[i].Path {
			t.Errorf("lookup %s: %v", items[i].Path, err)
		}
	}
	for _, path := range []string{"dir0003/", "dir", "dir0003/file", "dir0060", "a", "zzz", "", "dir0000/file0000/x"} {
		if _, err := r.Lookup(path); !errors.Is(err, ErrNotFound) {
			t.Errorf("lookup %q: %v, want ErrNotFound", path, err)
		}
	}
	if n, err := count(r, "dir0017"); n != 301 || err != nil {
		t.Errorf("walk of one directory: %d entries, %v; want 301", n, err)
	}
	if _, err := count(r, "dir001"); !errors.Is(err, ErrNotFound) {
		t.Errorf("walk of the beginning of a name: %v, want ErrNotFound", err)
	}
	stop := errors.New("stop")
	if err := r.Walk(context.Background(), "", func(*Entry) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("a walk stopped by its visitor: %v", err)
	}
}

func count(r *Reader, path string) (n int, err error) {
	err = r.Walk(context.Background(), path, func(*Entry) error { n++; return nil })
	return n, err
}

// A directory that is no entry of its own still has what is below it.
func TestWalkWithoutParent(t *testing.T) {
	t.Parallel()
	r := newKeys(t).write(t, WriterConfig{}, fileItem("home/web/index.html", "x"), fileItem("home/web2", "y")).open(t)
	for path, want := range map[string]int{"home": 2, "home/web": 1, "home/web/index.html": 1} {
		if n, err := count(r, path); n != want || err != nil {
			t.Errorf("walk %s: %d entries, %v; want %d", path, n, err, want)
		}
	}
}

func TestEmptyArchive(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{})
	r := s.open(t)
	if n, err := count(r, ""); n != 0 || err != nil || r.TarSize() != 1024 {
		t.Errorf("%d entries, %v, %d bytes of tar", n, err, r.TarSize())
	}
	if _, err := r.Lookup("a"); !errors.Is(err, ErrNotFound) {
		t.Errorf("lookup: %v", err)
	}
	if _, err := s.check(t); err != nil {
		t.Error(err)
	}
	if got := tree(t, s.stock(t)); len(got) != 0 {
		t.Errorf("stock tools found %v", got)
	}
}

// countingReaderAt counts what a reader asks for.
type countingReaderAt struct {
	r     io.ReaderAt
	bytes atomic.Int64
}

func (c *countingReaderAt) ReadAt(p []byte, off int64) (int, error) {
	c.bytes.Add(int64(len(p)))
	return c.r.ReadAt(p, off)
}

// TestRandomAccessIsCheap: opening an artifact and reading one small file out of
// its middle reads a small part of it.
func TestRandomAccessIsCheap(t *testing.T) {
	t.Parallel()
	items := []item{dirItem("d")}
	for i := range 24 {
		items = append(items,
			fileItem(fmt.Sprintf("d/%03d-large", i), noiseString(uint64(i), 4<<20)),
			fileItem(fmt.Sprintf("d/%03d-small", i), noiseString(uint64(i), 1000)))
	}
	s := newKeys(t).write(t, WriterConfig{}, items...)
	source := &countingReaderAt{r: bytes.NewReader(s.bytes)}
	r, err := Open(source, int64(len(s.bytes)), s.identity)
	if err != nil {
		t.Fatal(err)
	}
	if n := source.bytes.Swap(0); n > 300<<10 {
		t.Errorf("opening read %d bytes", n)
	}
	got, err := r.ReadFile(context.Background(), "d/011-small", 1<<20)
	if err != nil || string(got) != noiseString(11, 1000) {
		t.Fatalf("ReadFile: %d bytes, %v", len(got), err)
	}
	if n := source.bytes.Load(); n > 8<<20 {
		t.Errorf("one file of 1000 bytes took %d bytes of an artifact of %d", n, len(s.bytes))
	}
	if _, err := r.ReadFile(context.Background(), "d/011-large", 1<<20); err == nil {
		t.Error("a file over the limit was read")
	}
	if _, err := r.OpenFile(context.Background(), "d"); err == nil {
		t.Error("a directory was opened as a file")
	}
}

func TestOpenFileFollowsHardLinks(t *testing.T) {
	t.Parallel()
	r := newKeys(t).write(t, WriterConfig{}, fileItem("a", "content"),
		linkItem(entry.Hardlink, "b", "a"), linkItem(entry.Symlink, "c", "a")).open(t)
	got, err := r.ReadFile(context.Background(), "b", 100)
	if err != nil || string(got) != "content" {
		t.Errorf("hard link: %q, %v", got, err)
	}
	if _, err := r.ReadFile(context.Background(), "c", 100); err == nil {
		t.Error("a symbolic link was followed")
	}
}

// TestFileClosedEarly leaves a large file half read; nothing may be left behind
// (the package's leak check sees it).
func TestFileClosedEarly(t *testing.T) {
	t.Parallel()
	r := newKeys(t).write(t, WriterConfig{}, fileItem("a", noiseString(1, 40<<20))).open(t)
	f, err := r.OpenFile(context.Background(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, f, 5<<20); err != nil {
		t.Error(err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func TestTarRanges(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, append(manyFiles(30, 300), fileItem("x", noiseString(9, 9<<20)))...)
	r := s.open(t)
	ctx := context.Background()
	var whole bytes.Buffer
	if err := r.WriteTarRange(ctx, &whole, 0, r.TarSize()); err != nil {
		t.Fatal(err)
	}
	if int64(whole.Len()) != r.TarSize() {
		t.Fatalf("%d bytes of tar, want %d", whole.Len(), r.TarSize())
	}
	at := r.TarReaderAt()
	for _, c := range [][2]int64{
		{0, 1}, {0, 5 << 20}, {MaxFrame - 1, 2}, {MaxFrame, 1}, {MaxFrame + 100, 3 * MaxFrame},
		{r.TarSize() - 1, 1}, {r.TarSize() - 1024, 1024}, {r.TarSize() - 2000, 2000}, {r.TarSize(), 0}, {77, 0},
	} {
		want := whole.Bytes()[c[0] : c[0]+c[1]]
		var got bytes.Buffer
		if err := r.WriteTarRange(ctx, &got, c[0], c[1]); err != nil || !bytes.Equal(got.Bytes(), want) {
			t.Errorf("range %v: %d bytes, %v", c, got.Len(), err)
		}
		b := make([]byte, c[1])
		if n, err := at.ReadAt(b, c[0]); (err != nil && err != io.EOF) || n != len(b) || !bytes.Equal(b, want) {
			t.Errorf("ReadAt %v: %d bytes, %v", c, n, err)
		}
	}
	for _, c := range [][2]int64{{-1, 5}, {0, r.TarSize() + 1}, {r.TarSize(), 1}, {5, -1}, {1 << 62, 1 << 62}} {
		if err := r.WriteTarRange(ctx, io.Discard, c[0], c[1]); err == nil {
			t.Errorf("range %v: accepted", c)
		}
	}
	if n, err := at.ReadAt(make([]byte, 10), r.TarSize()-4); n != 4 || err != io.EOF {
		t.Errorf("read over the end: %d, %v", n, err)
	}
}

// TestGoReadsTheTar has the standard library read the same stream.
func TestGoReadsTheTar(t *testing.T) {
	t.Parallel()
	items := awkward()
	r := newKeys(t).write(t, WriterConfig{}, items...).open(t)
	tr := tar.NewReader(io.NewSectionReader(r.TarReaderAt(), 0, r.TarSize()))
	for _, want := range items {
		hdr, err := tr.Next()
		if err != nil {
			t.Fatal(err)
		}
		name := want.Path
		if want.Kind == entry.Dir {
			name += "/"
		}
		if hdr.Name != name || hdr.Mode != int64(want.Mode) || !hdr.ModTime.Equal(want.ModTime) || hdr.Size != want.Size ||
			hdr.Uid != want.UID || hdr.Gid != want.GID || hdr.Uname != want.User || hdr.Gname != want.Group || hdr.Linkname != want.LinkTarget {
			t.Errorf("%q: header %+v, want %+v", clip(want.Path), hdr, want.Header)
		}
		if got, err := io.ReadAll(tr); err != nil || string(got) != want.content {
			t.Errorf("%q: %d bytes, %v", clip(want.Path), len(got), err)
		}
	}
	if _, err := tr.Next(); err != io.EOF {
		t.Errorf("behind the last entry: %v", err)
	}
}

// TestWrongIdentity: two tenants' artifacts swapped do not open.
func TestWrongIdentity(t *testing.T) {
	t.Parallel()
	a := newKeys(t).write(t, WriterConfig{}, fileItem("a", "tenant a"))
	b := newKeys(t)
	_, err := Open(bytes.NewReader(a.bytes), int64(len(a.bytes)), b.identity)
	if !errors.Is(err, seal.ErrWrongIdentity) {
		t.Errorf("another tenant's identity: %v", err)
	}
	if _, err := Open(bytes.NewReader(a.bytes), int64(len(a.bytes)), b.identity, a.identity); err != nil {
		t.Errorf("both identities: %v", err)
	}
}
