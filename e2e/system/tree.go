package system

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Node is all that a restore has to bring back of one entry. Times are in
// seconds: SFTP tells no more.
type Node struct {
	Type   string // "file", "dir", "link"
	Mode   uint32 // with set-uid, set-gid and sticky
	UID    uint32
	GID    uint32
	MTime  int64
	Size   int64
	SHA256 string
	Link   string
}

// Tree maps slash-separated paths, relative to what was scanned ("." itself
// included), to nodes. It is half of the ledger: the source as it was.
type Tree map[string]Node

// Scan reads a tree. What a backup does not store (devices, FIFOs, sockets) is
// left out.
func Scan(t testing.TB, dir string) Tree {
	t.Helper()
	tree, err := scan(dir)
	if err != nil {
		t.Fatalf("scan %s: %v", dir, err)
	}
	return tree
}

func scan(dir string) (tree Tree, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	info, err := root.Lstat(".")
	if err != nil {
		return nil, err
	}
	tree = Tree{".": node("dir", info)}
	return tree, scanInto(tree, root, "")
}

// scanInto walks with one open folder a level, so that paths may be longer than
// the kernel takes in one piece.
func scanInto(tree Tree, root *os.Root, prefix string) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	entries, err := dir.ReadDir(-1)
	if err = errors.Join(err, dir.Close()); err != nil {
		return err
	}
	for _, e := range entries {
		if err := scanEntry(tree, root, prefix, e.Name()); err != nil {
			return fmt.Errorf("%q: %w", prefix+e.Name(), err)
		}
	}
	return nil
}

func scanEntry(tree Tree, root *os.Root, prefix, name string) (err error) {
	info, err := root.Lstat(name)
	if err != nil {
		return err
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		tree[prefix+name] = node("dir", info)
		sub, err := root.OpenRoot(name)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Close() }()
		return scanInto(tree, sub, prefix+name+"/")
	case fs.ModeSymlink:
		n := node("link", info)
		n.Mode = 0 // a link has none of its own
		n.Link, err = root.Readlink(name)
		tree[prefix+name] = n
	case 0:
		n := node("file", info)
		n.Size = info.Size()
		n.SHA256, err = hashIn(root, name)
		tree[prefix+name] = n
	}
	return err
}

func node(kind string, info fs.FileInfo) Node {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		panic("these tests need Linux")
	}
	return Node{Type: kind, Mode: st.Mode & 0o7777, UID: st.Uid, GID: st.Gid, MTime: st.Mtim.Sec}
}

func hashIn(root *os.Root, name string) (sum string, err error) {
	f, err := root.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// HashFile is the SHA-256 of a file, in lower-case hex.
func HashFile(t testing.TB, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Diff lists where got is not want, at most a few dozen lines.
func (want Tree) Diff(got Tree) []string {
	var diffs []string
	for _, path := range slices.Sorted(maps.Keys(want)) {
		g, ok := got[path]
		switch w := want[path]; {
		case !ok:
			diffs = append(diffs, fmt.Sprintf("%q: missing", path))
		case g != w:
			diffs = append(diffs, fmt.Sprintf("%q: got %+v, want %+v", path, g, w))
		}
	}
	for _, path := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[path]; !ok {
			diffs = append(diffs, fmt.Sprintf("%q: not in the source", path))
		}
	}
	if len(diffs) > 30 {
		diffs = append(diffs[:30], fmt.Sprintf("and %d more", len(diffs)-30))
	}
	return diffs
}

// MustEqual fails the test where got is not want.
func (want Tree) MustEqual(t testing.TB, got Tree) {
	t.Helper()
	if len(want) < 2 {
		t.Fatal("the expected tree is empty: this comparison would prove nothing")
	}
	if diffs := want.Diff(got); len(diffs) > 0 {
		t.Errorf("restored tree differs from the source:\n%s", strings.Join(diffs, "\n"))
	}
}
