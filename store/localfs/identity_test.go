package localfs_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/store/blob"
	"xvault/store/localfs"
)

func TestIdentityIsKept(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "new")
	fs, err := localfs.Open(localfs.Config{Base: base})
	if err != nil {
		t.Fatal(err)
	}
	id := fs.ID()
	if err := errors.Join(fs.Check(), fs.Close(), fs.Close()); err != nil {
		t.Fatal(err)
	}
	if id == uuid.Nil {
		t.Fatal("no identity")
	}
	for _, expected := range []uuid.UUID{id, uuid.Nil} {
		again, err := localfs.Open(localfs.Config{Base: base, Expected: expected})
		if err != nil {
			t.Fatal(err)
		}
		if again.ID() != id {
			t.Errorf("id %s, then %s", id, again.ID())
		}
		if err := again.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	other := uuid.Must(uuid.NewV7())
	tests := []struct {
		name     string
		arrange  func(t *testing.T, base string)
		expected uuid.UUID
		want     error
	}{
		{"a folder that is gone", gone, other, blob.ErrMissing},
		{"an empty folder where there was a storage", func(*testing.T, string) {}, other, blob.ErrMissing},
		{"a full folder where there was a storage", fill, other, blob.ErrMissing},
		{"a folder that something else uses", fill, uuid.Nil, blob.ErrForeign},
		{"another storage", formerStorage, other, blob.ErrForeign},
		{"a marker that holds no id", emptyMarker, uuid.Nil, blob.ErrForeign},
		{"a file", fileInstead, other, blob.ErrMissing},
		{"a storage in use", usedStorage, uuid.Nil, blob.ErrInUse},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			base := filepath.Join(t.TempDir(), "base")
			must(t, os.Mkdir(base, 0o700))
			tt.arrange(t, base)
			fs, err := localfs.Open(localfs.Config{Base: base, Expected: tt.expected})
			if !errors.Is(err, tt.want) {
				t.Errorf("open: %v, want %v", err, tt.want)
			}
			if fs != nil {
				must(t, fs.Close())
			}
		})
	}
}

func TestOpenRefusesARelativePath(t *testing.T) {
	t.Parallel()
	if _, err := localfs.Open(localfs.Config{Base: "backups"}); err == nil || !strings.Contains(err.Error(), "absolute") {
		t.Errorf("open: %v", err)
	}
}

func TestLostAndFoundIsEmpty(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	must(t, os.Mkdir(filepath.Join(base, "lost+found"), 0o700))
	must(t, os.WriteFile(filepath.Join(base, ".xvault-storage-HALFWRITTEN1"), nil, 0o600))
	open(t, localfs.Config{Base: base})
}

func TestCheckSeesThatTheStorageIsGoneOrReplaced(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "base")
	fs := open(t, localfs.Config{Base: base})
	must(t, fs.Check())
	must(t, os.Rename(base, base+".unmounted"))
	if err := fs.Check(); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("gone: %v", err)
	}
	open(t, localfs.Config{Base: base})
	if err := fs.Check(); !errors.Is(err, blob.ErrForeign) {
		t.Errorf("replaced: %v", err)
	}
	must(t, os.RemoveAll(base))
	must(t, os.Rename(base+".unmounted", base))
	must(t, fs.Check())
}

func fill(t *testing.T, base string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(base, "photos.zip"), nil, 0o600))
}

func gone(t *testing.T, base string) {
	t.Helper()
	must(t, os.Remove(base))
}

func fileInstead(t *testing.T, base string) {
	t.Helper()
	gone(t, base)
	must(t, os.WriteFile(base, nil, 0o600))
}

func emptyMarker(t *testing.T, base string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(base, ".xvault-storage"), nil, 0o600))
}

func formerStorage(t *testing.T, base string) {
	t.Helper()
	fs, err := localfs.Open(localfs.Config{Base: base})
	must(t, err)
	must(t, fs.Close())
}

func usedStorage(t *testing.T, base string) {
	t.Helper()
	open(t, localfs.Config{Base: base})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
