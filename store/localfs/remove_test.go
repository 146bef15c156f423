package localfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"xvault/store/blob"
	"xvault/store/localfs"
)

func TestRemoveLeavesNoEmptyFolders(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	fs := open(t, localfs.Config{Base: base})
	a := newKey()
	b := blob.Key{TenantID: a.TenantID, SourceID: a.SourceID, SnapshotID: newID()}
	c := blob.Key{TenantID: a.TenantID, SourceID: newID(), SnapshotID: newID()}
	for _, key := range []blob.Key{a, b, c} {
		store(t, fs, key, []byte("x"))
	}
	there := func(want bool, names ...string) {
		t.Helper()
		for _, name := range names {
			if _, err := os.Stat(filepath.Join(base, name)); (err == nil) != want {
				t.Errorf("%s: %v, want it there: %v", name, err, want)
			}
		}
	}
	must(t, fs.Remove(t.Context(), a))
	there(true, b.Prefix(), c.Prefix())
	must(t, fs.Remove(t.Context(), b))
	there(false, a.Parent(), filepath.Dir(a.Parent()))
	there(true, c.Prefix())
	must(t, fs.Remove(t.Context(), c))
	there(false, filepath.Join(blob.Root, a.TenantID.String()))
	there(true, blob.Root)
	store(t, fs, a, []byte("again"))
	there(true, a.Prefix())
}

// TestRemoveAfterACrash: what an earlier removal had already taken out of its
// place goes with the next one, and so do folders that it left empty.
func TestRemoveAfterACrash(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	fs := open(t, localfs.Config{Base: base})
	key := newKey()
	store(t, fs, key, []byte("x"))
	trash := filepath.Join(base, "staging", key.SnapshotID.String()+".removed")
	if err := os.Rename(fs.Location(key), trash); err != nil {
		t.Fatal(err)
	}
	if got := list(t, fs); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
	must(t, fs.Remove(t.Context(), key))
	if got := tree(t, filepath.Join(base, "staging")); len(got) != 1 {
		t.Errorf("staging holds %q", got)
	}
	if err := os.MkdirAll(filepath.Join(base, key.Parent()), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove(t.Context(), key); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("removed again: %v", err)
	}
	if got := tree(t, filepath.Join(base, blob.Root)); len(got) != 1 {
		t.Errorf("left: %q", got)
	}
}

// TestRemoveGoesThroughNoLink: what stands in the place of a folder is neither
// followed nor removed.
func TestRemoveGoesThroughNoLink(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"snapshot", "snapshots", "source", "tenant"} {
		t.Run(level, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			fs := open(t, localfs.Config{Base: base})
			key, other := newKey(), newKey()
			other.SnapshotID = key.SnapshotID
			store(t, fs, other, []byte("someone else's"))
			place, target := fs.Location(key), fs.Location(other)
			for range map[string]int{"snapshot": 0, "snapshots": 1, "source": 2, "tenant": 4}[level] {
				place, target = filepath.Dir(place), filepath.Dir(target)
			}
			if err := os.MkdirAll(filepath.Dir(place), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(target, place); err != nil {
				t.Fatal(err)
			}
			if err := fs.Remove(t.Context(), key); err == nil || errors.Is(err, blob.ErrNotFound) {
				t.Errorf("removed: %v", err)
			}
			if content, err := os.ReadFile(filepath.Join(fs.Location(other), blob.Artifact)); err != nil || string(content) != "someone else's" {
				t.Errorf("the other one: %q, %v", content, err)
			}
		})
	}
}

// TestRemoveWhereNothingIsMounted: nothing is called gone.
func TestRemoveWhereNothingIsMounted(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	fs := open(t, localfs.Config{Base: base})
	key := newKey()
	store(t, fs, key, []byte("x"))
	if err := os.Rename(base, base+".away"); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove(t.Context(), key); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("not mounted: %v", err)
	}
	if err := os.Mkdir(base, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := fs.Remove(t.Context(), key); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("an empty folder: %v", err)
	}
	if _, err := os.Stat(filepath.Join(base+".away", key.Prefix(), blob.Artifact)); err != nil {
		t.Error(err)
	}
}

// TestRemoveBesideStage: folders that one removes as empty are not missing to
// the other, who is about to put something there.
func TestRemoveBesideStage(t *testing.T) {
	t.Parallel()
	fs := open(t, localfs.Config{Base: t.TempDir()})
	first := newKey()
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			for range 50 {
				key := blob.Key{TenantID: first.TenantID, SourceID: first.SourceID, SnapshotID: newID()}
				store(t, fs, key, []byte("x"))
				if err := fs.Remove(t.Context(), key); err != nil {
					t.Error(err)
				}
			}
		})
	}
	both.Wait()
	if got := list(t, fs); len(got) != 0 {
		t.Errorf("left: %v", got)
	}
}
