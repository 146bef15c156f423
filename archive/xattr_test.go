package archive

import (
	"archive/tar"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"xvault/internal/entry"
)

// TestXattrs: names and values of any bytes come through, and stock tar
// restores what the file system takes.
func TestXattrs(t *testing.T) {
	t.Parallel()
	it := fileItem("f", "content")
	it.Xattrs = map[string]string{"user.plain": "value", "user.a=b%": "x=y\n", "user.bytes": "\x00\xff\n="}
	s := newKeys(t).write(t, WriterConfig{}, it, fileItem("g", "none"))
	if _, err := s.check(t); err != nil {
		t.Fatal(err)
	}
	r := s.open(t)
	hdr, err := tar.NewReader(io.NewSectionReader(r.TarReaderAt(), 0, r.TarSize())).Next()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range it.Xattrs {
		if got := hdr.PAXRecords["SCHILY.xattr."+xattrKeyword.Replace(name)]; got != value {
			t.Errorf("record of %s is %q, want %q", name, got, value)
		}
	}

	probe := filepath.Join(t.TempDir(), "probe")
	writeFile(t, probe, nil)
	if err := unix.Setxattr(probe, "user.probe", []byte("x"), 0); err != nil {
		t.Logf("not compared with stock tar: the file system of %s takes no attributes: %v", probe, err)
		return
	}
	out := s.stock(t)
	for name, value := range it.Xattrs {
		b := make([]byte, 100)
		n, err := unix.Getxattr(filepath.Join(out, "f"), name, b)
		if err != nil || string(b[:n]) != value {
			t.Errorf("stock tar restored %s as %q, %v; want %q", name, b[:max(n, 0)], err, value)
		}
	}
}

// TestExtractXattrs: the users' own attributes are restored, and what is not is
// told.
func TestExtractXattrs(t *testing.T) {
	t.Parallel()
	d, f, g := dirItem("d"), fileItem("d/f", "content"), fileItem("d/g", noiseString(1, 2*maxSmallFile))
	d.Xattrs = map[string]string{"user.dir": "1"}
	f.Xattrs = map[string]string{"user.plain": "value", "user.a=b%": "x=y\n"}
	g.Xattrs = map[string]string{"user.large": "\x00\xff", "security.xvault-test": "no"}
	link := linkItem(entry.Symlink, "l", "d")
	link.Xattrs = map[string]string{"trusted.x": "no"}
	s := newKeys(t).write(t, WriterConfig{}, d, f, g, link)
	dir, report, err := s.extract(t, ExtractOptions{})
	if err != nil {
		t.Fatal(err)
	}
	probe := filepath.Join(t.TempDir(), "probe")
	writeFile(t, probe, nil)
	if err := unix.Setxattr(probe, "user.probe", []byte("x"), 0); err != nil {
		if report.LostXattrs != 4 || report.LostXattrsReason == nil {
			t.Errorf("a file system without attributes: %d lost, %v", report.LostXattrs, report.LostXattrsReason)
		}
		return
	}
	if report.LostXattrs != 2 || report.LostXattrsReason == nil {
		t.Errorf("%d entries lost attributes (%v), want 2", report.LostXattrs, report.LostXattrsReason)
	}
	for _, it := range []item{d, f, g} {
		for name, want := range it.Xattrs {
			b := make([]byte, 100)
			n, err := unix.Getxattr(filepath.Join(dir, it.Path), name, b)
			if !strings.HasPrefix(name, "user.") {
				if err == nil {
					t.Errorf("%s: %s was restored", it.Path, name)
				}
				continue
			}
			if err != nil || string(b[:n]) != want {
				t.Errorf("%s: %s is %q, %v; want %q", it.Path, name, b[:max(n, 0)], err, want)
			}
		}
	}
}
