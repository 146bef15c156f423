package treediff_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/internal/treediff"
)

// plant makes a small tree with one of everything.
func plant(t *testing.T) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), "tree")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "sub/empty"), 0o750))
	must(os.WriteFile(filepath.Join(root, "file"), []byte("content"), 0o640))
	must(os.WriteFile(filepath.Join(root, "sub/large"), make([]byte, 600<<10), 0o600))
	must(os.Link(filepath.Join(root, "file"), filepath.Join(root, "sub/hard")))
	must(os.Symlink("../file", filepath.Join(root, "sub/soft")))
	must(os.Symlink("nowhere", filepath.Join(root, "dangling")))
	return root
}

func clone(t *testing.T, root string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "clone")
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", root, to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v\n%s", err, out)
	}
	return to
}

func TestSame(t *testing.T) {
	t.Parallel()
	root := plant(t)
	r, err := treediff.Compare(root, clone(t, root), treediff.Options{Owners: true, HardLinks: true})
	if err != nil {
		t.Fatal(err)
	}
	if !r.Same() || r.Files != 2 || r.Dirs != 3 || r.Links != 2 || r.HardLinks != 1 || r.Bytes != 7+600<<10 {
		t.Errorf("a copy: %+v", r)
	}
}

func TestEveryDifferenceShows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(root string) error
		want   string
	}{
		"missing":  {func(r string) error { return os.Remove(filepath.Join(r, "sub/empty")) }, "is missing"},
		"extra":    {func(r string) error { return os.WriteFile(filepath.Join(r, "more"), nil, 0o600) }, "not in the original"},
		"mode":     {func(r string) error { return os.Chmod(filepath.Join(r, "sub/large"), 0o644) }, "mode is"},
		"time":     {func(r string) error { return os.Chtimes(filepath.Join(r, "file"), time.Time{}, time.Unix(1, 0)) }, "modification time"},
		"shorter":  {func(r string) error { return os.Truncate(filepath.Join(r, "sub/large"), 5) }, "has 5 bytes"},
		"target":   {func(r string) error { return relink(filepath.Join(r, "dangling"), "elsewhere") }, "link leads to"},
		"type":     {func(r string) error { return relink(filepath.Join(r, "file"), "x") }, "mode is"},
		"unlinked": {func(r string) error { return unlink(filepath.Join(r, "sub/hard")) }, "another name"},
		"one byte": {func(r string) error { return flip(filepath.Join(r, "sub/large"), 600<<10-1) }, "content differs after byte 524288"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := plant(t)
			other := clone(t, root)
			if err := c.change(other); err != nil {
				t.Fatal(err)
			}
			r, err := treediff.Compare(root, other, treediff.Options{HardLinks: true})
			if err != nil {
				t.Fatal(err)
			}
			if r.Same() || !strings.Contains(strings.Join(r.Differences, "\n"), c.want) {
				t.Errorf("differences %q lack %q", r.Differences, c.want)
			}
		})
	}
}

func relink(path, target string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.Symlink(target, path)
}

// unlink gives the file a content of its own.
func unlink(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o640)
}

func flip(path string, offset int64) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt([]byte{1}, offset); err != nil {
		return err
	}
	return f.Close()
}
