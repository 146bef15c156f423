package archive

import (
	"archive/tar"
	"io"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
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
