package connectortest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// modTime is an odd time long ago, in whole seconds.
var modTime = time.Unix(1_234_567_891, 0)

// tree makes files for a test.
type tree struct {
	t    *testing.T
	root string
}

// file makes a file with repeatable content of a length.
func (tr tree) file(name string, size int) {
	tr.t.Helper()
	path := filepath.Join(tr.root, name)
	tr.dir(filepath.Dir(name))
	tr.check(os.WriteFile(path, pattern(name, size), 0o644)) //nolint:gosec // an unprivileged server reads it
	tr.check(os.Chtimes(path, modTime, modTime))
}

// dir makes a folder and those above it.
func (tr tree) dir(name string) {
	tr.t.Helper()
	tr.check(os.MkdirAll(filepath.Join(tr.root, name), 0o755)) //nolint:gosec // an unprivileged server reads it
}

func (tr tree) link(name, target string) {
	tr.t.Helper()
	tr.check(os.Symlink(target, filepath.Join(tr.root, name)))
}

func (tr tree) path(name string) string { return filepath.Join(tr.root, name) }

func (tr tree) check(err error) {
	tr.t.Helper()
	if err != nil {
		tr.t.Fatal(err)
	}
}

// pattern is content that differs from file to file and nowhere repeats early.
func pattern(name string, size int) []byte {
	var seed [32]byte
	copy(seed[:], name)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// awkward makes a tree of everything that a file system can hold, and a server can
// go to.
func awkward(t *testing.T, s *Server, root string) {
	t.Helper()
	tr := tree{t, root}
	for _, name := range []string{
		"new\nline", "cr\rreturn", "quote'single", `quote"double`, "$(reboot)", "`id`", "-rf", "--help", " space ", " before", "behind ", "tab\t", `back\slash`,
		"semi;colon", "star*", "percent%00", "\x01\x1b[31m", "bad-utf8-\xff\xfe", "\xc3\x28", "ümläut", "日本語", "...", ".hidden", "~", "#hash",
		strings.Repeat("n", 255), strings.Repeat("\xf0\x9f\x92\xbe", 63) + "abc",
	} {
		tr.file("names/"+name, 10)
		tr.file("dirs/"+name+"/inside", 11)
	}
	// Names whose order as whole paths differs from that by components.
	for _, name := range []string{"o/a/x", "o/a-b", "o/a.b", "o/a b/x", "o/a\x01", "o/A", "o/aa/x", "o/b/a", "o/b!"} {
		tr.file("order/"+name, 3)
	}
	for _, size := range []int{0, 1, 511, 512, 4096, 32<<10 - 1, 32 << 10, 32<<10 + 1, 255 << 10, 255<<10 + 1, 256 << 10, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 17} {
		tr.file(fmt.Sprintf("sizes/%08d", size), size)
	}
	tr.dir("empty/dir/below")
	tr.file("one/two/three/four/five/six", 6)
	deep := tr.root
	for len(deep) < 3600 {
		deep = filepath.Join(deep, strings.Repeat("d", 200))
	}
	relative, err := filepath.Rel(tr.root, deep)
	tr.check(err)
	tr.dir("deep")
	tr.file(filepath.Join("deep", relative, "leaf"), 7)
	special(tr)
	modes(tr, s.Unprivileged)
}

// special makes links, and what is no file.
func special(tr tree) {
	tr.t.Helper()
	tr.dir("special/real")
	for name, target := range map[string]string{
		"relative": "real", "absolute": "/etc/passwd", "dangling": "nowhere/at all", "self": "self", "loop-a": "loop-b", "loop-b": "loop-a",
		"up": "..", "odd": "bad-\xff\n$(x)", "long": strings.Repeat("t", 2000),
	} {
		tr.link("special/"+name, target)
	}
	tr.check(syscall.Mkfifo(tr.path("special/fifo"), 0o600))
	tr.check(mksock(tr.path("special/socket")))
	tr.check(os.Link(tr.path("sizes/00004096"), tr.path("special/hardlink")))
	sparse, err := os.Create(tr.path("special/sparse"))
	tr.check(err)
	tr.check(sparse.Truncate(12 << 20))
	_, err = sparse.WriteAt([]byte("end"), 12<<20-3)
	tr.check(err)
	tr.check(sparse.Close())
}

// modes makes files of many modes, which anybody can read where the server cannot
// read everything.
func modes(tr tree, readable bool) {
	tr.t.Helper()
	for _, mode := range []uint32{0o600, 0o644, 0o755, 0o4755, 0o2755, 0o1644, 0o7777, 0o444} {
		if readable {
			mode |= 0o444
		}
		name := fmt.Sprintf("modes/%04o", mode)
		tr.file(name, 4)
		tr.check(syscall.Chmod(tr.path(name), mode))
		tr.dir(name + "-dir")
		dirMode := mode | 0o500
		if readable {
			dirMode |= 0o555
		}
		tr.check(syscall.Chmod(tr.path(name+"-dir"), dirMode))
	}
	if os.Getuid() == 0 {
		tr.file("modes/owned", 4)
		tr.check(os.Lchown(tr.path("modes/owned"), 12345, 54321))
		tr.file("modes/nobody", 4)
		tr.check(os.Lchown(tr.path("modes/nobody"), 65534, 65534))
	}
	tr.dir("times")
	for i, at := range []int64{0, 1, 1_000_000_000, 2_000_000_000, 4_000_000_000} {
		name := fmt.Sprintf("times/%d", i)
		tr.file(name, 1)
		tr.check(os.Chtimes(tr.path(name), time.Unix(at, 0), time.Unix(at, 0)))
	}
	tr.check(os.Chtimes(tr.path("times"), modTime, modTime))
}

// mksock makes a socket without anybody behind it.
func mksock(path string) error {
	// The address of a socket is short; the folder's is not.
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(fd)
	return syscall.Bind(fd, &syscall.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path))})
}

// isOneOf reports whether content is one of several.
func isOneOf(got []byte, want ...[]byte) bool {
	for _, w := range want {
		if bytes.Equal(got, w) {
			return true
		}
	}
	return false
}
