package localfs_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/testenv"
	"xvault/store/blob"
	"xvault/store/localfs"
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(faultEnv) != "":
		os.Exit(faultMain())
	case os.Getenv(childEnv) != "":
		childMain()
	default:
		testenv.Main(m)
	}
}

func newID() uuid.UUID { return uuid.Must(uuid.NewV7()) }

func newKey() blob.Key {
	return blob.Key{TenantID: newID(), SourceID: newID(), SnapshotID: newID()}
}

func open(t *testing.T, cfg localfs.Config) *localfs.FS {
	t.Helper()
	fs, err := localfs.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := fs.Close(); err != nil {
			t.Error(err)
		}
	})
	return fs
}

func files(artifact []byte) blob.Files {
	sum := sha256.Sum256(artifact)
	return blob.Files{
		Size: int64(len(artifact)), SHA256: hex.EncodeToString(sum[:]),
		Manifest: []byte(`{"format":"xvault/1"}`), Meta: []byte(`{}`),
	}
}

func stage(t *testing.T, fs *localfs.FS, key blob.Key, artifact []byte) blob.Staged {
	t.Helper()
	s, err := fs.Stage(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(artifact); err != nil {
		t.Fatal(err)
	}
	return s
}

func store(t *testing.T, fs *localfs.FS, key blob.Key, artifact []byte) {
	t.Helper()
	s := stage(t, fs, key, artifact)
	if err := s.Commit(t.Context(), files(artifact)); err != nil {
		t.Fatal(err)
	}
	if err := s.Discard(); err != nil {
		t.Fatal(err)
	}
}

// tree lists every path below dir with its permission bits.
func tree(t *testing.T, dir string) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		paths = append(paths, info.Mode().String()+" "+rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func list(t *testing.T, fs *localfs.FS) []blob.Key {
	t.Helper()
	var keys []blob.Key
	err := fs.List(t.Context(), func(f blob.Found) error {
		keys = append(keys, f.Key)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestCommitLeavesExactlyThreeFiles(t *testing.T) {
	t.Parallel()
	base := filepath.Join(t.TempDir(), "a", "b")
	fs := open(t, localfs.Config{Base: base, ReadBack: true})
	key := newKey()
	artifact := bytes.Repeat([]byte("sealed"), 100_000)
	store(t, fs, key, artifact)

	if want := filepath.Join(base, "tenants", key.TenantID.String(), "sources", key.SourceID.String(), "snapshots", key.SnapshotID.String()); fs.Location(key) != want {
		t.Errorf("location %s, want %s", fs.Location(key), want)
	}
	want := []string{"drwx------ .", "-rw------- backup.tar.zst.enc", "-rw------- manifest.json", "-rw------- meta.json"}
	if got := tree(t, fs.Location(key)); !slices.Equal(got, want) {
		t.Errorf("snapshot folder: %q, want %q", got, want)
	}
	got, err := os.ReadFile(filepath.Join(fs.Location(key), blob.Artifact))
	if err != nil || !bytes.Equal(got, artifact) {
		t.Errorf("artifact: %d bytes, %v", len(got), err)
	}
	for _, p := range tree(t, base) {
		if !strings.HasPrefix(p, "drwx------") && !strings.HasPrefix(p, "-rw-------") {
			t.Errorf("others may reach %s", p)
		}
	}
	if got := tree(t, filepath.Join(base, "staging")); len(got) != 1 {
		t.Errorf("staging holds %q", got)
	}
}

func TestNothingIsReplaced(t *testing.T) {
	t.Parallel()
	fs := open(t, localfs.Config{Base: t.TempDir()})
	key := newKey()
	late := stage(t, fs, key, []byte("late"))
	store(t, fs, key, []byte("first"))

	err := late.Commit(t.Context(), files([]byte("late")))
	if !errors.Is(err, os.ErrExist) {
		t.Errorf("commit over a snapshot: %v", err)
	}
	if err := late.Discard(); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stage(key); !errors.Is(err, blob.ErrExists) {
		t.Errorf("stage over a snapshot: %v", err)
	}
	got, err := os.ReadFile(filepath.Join(fs.Location(key), blob.Artifact))
	if err != nil || string(got) != "first" {
		t.Errorf("artifact is %q, %v", got, err)
	}
	if got := tree(t, filepath.Join(filepath.Dir(filepath.Dir(fs.Location(key))), "snapshots")); len(got) != 5 {
		t.Errorf("snapshots hold %q", got)
	}
}

func TestCommitRefusesWhatIsNotWhatWasWritten(t *testing.T) {
	t.Parallel()
	for name, claimed := range map[string][]byte{"other bytes": []byte("sealeD"), "fewer": []byte("seale"), "more": []byte("sealed!")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fs := open(t, localfs.Config{Base: t.TempDir()})
			s := stage(t, fs, newKey(), []byte("sealed"))
			if err := s.Commit(t.Context(), files(claimed)); !errors.Is(err, blob.ErrMismatch) {
				t.Errorf("commit: %v", err)
			}
			if err := s.Commit(t.Context(), files([]byte("sealed"))); !errors.Is(err, blob.ErrMismatch) {
				t.Errorf("an error must be final, but then: %v", err)
			}
			if err := s.Discard(); err != nil {
				t.Error(err)
			}
			if got := list(t, fs); len(got) != 0 {
				t.Errorf("listed %v", got)
			}
		})
	}
}

func TestReadBackSeesWhatTheDiskHolds(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	fs := open(t, localfs.Config{Base: base, ReadBack: true})
	artifact := bytes.Repeat([]byte("sealed"), 100_000) // so much that it is on the disk by now
	s := stage(t, fs, newKey(), artifact)
	dirs, err := os.ReadDir(filepath.Join(base, "staging"))
	if err != nil || len(dirs) != 1 {
		t.Fatal(dirs, err)
	}
	f, err := os.OpenFile(filepath.Join(base, "staging", dirs[0].Name(), blob.Artifact), os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("E"), 1); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Commit(t.Context(), files(artifact)); !errors.Is(err, blob.ErrMismatch) {
		t.Errorf("commit: %v", err)
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
}

func TestDiscardAndCancelLeaveNothing(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	fs := open(t, localfs.Config{Base: base})
	if err := stage(t, fs, newKey(), []byte("x")).Discard(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the hub said so")
	cancel(cause)
	s := stage(t, fs, newKey(), []byte("x"))
	if err := s.Commit(ctx, files([]byte("x"))); !errors.Is(err, cause) {
		t.Errorf("commit after cancel: %v", err)
	}
	for range 2 {
		if err := s.Discard(); err != nil {
			t.Error(err)
		}
	}
	if got := tree(t, filepath.Join(base, "staging")); len(got) != 1 {
		t.Errorf("staging holds %q", got)
	}
	if got := list(t, fs); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
}

func TestListAndRemove(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	fs := open(t, localfs.Config{Base: base})
	if got := list(t, fs); len(got) != 0 {
		t.Errorf("a new storage lists %v", got)
	}
	a, b := newKey(), newKey()
	c := blob.Key{TenantID: a.TenantID, SourceID: a.SourceID, SnapshotID: newID()}
	for _, key := range []blob.Key{a, b, c} {
		store(t, fs, key, []byte("x"))
	}
	// What is not ours is left alone.
	stray := filepath.Join(filepath.Dir(fs.Location(a)), "notes.txt")
	if err := os.WriteFile(stray, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := list(t, fs); len(got) != 3 || !slices.Contains(got, a) || !slices.Contains(got, b) || !slices.Contains(got, c) {
		t.Errorf("listed %v", got)
	}
	if err := fs.Remove(t.Context(), a); err != nil {
		t.Error(err)
	}
	if err := fs.Remove(t.Context(), a); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("remove again: %v", err)
	}
	if err := fs.Remove(t.Context(), newKey()); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("remove what never was: %v", err)
	}
	if err := fs.Remove(t.Context(), blob.Key{}); err == nil {
		t.Error("an empty key was accepted")
	}
	if got := list(t, fs); len(got) != 2 || slices.Contains(got, a) {
		t.Errorf("listed %v", got)
	}
	if _, err := os.Stat(stray); err != nil {
		t.Error(err)
	}
	if got := tree(t, filepath.Join(base, "staging")); len(got) != 1 {
		t.Errorf("staging holds %q", got)
	}
}

func TestSweepRemovesLeftovers(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	fs := open(t, localfs.Config{Base: base})
	key := newKey()
	store(t, fs, key, []byte("kept"))
	stage(t, fs, newKey(), make([]byte, 5<<20)) // as after a crash
	stage(t, fs, newKey(), make([]byte, 3<<20))
	swept, err := fs.SweepStaging(t.Context())
	if err != nil || swept != (blob.Swept{Items: 2, Bytes: 8 << 20}) {
		t.Errorf("swept %+v, %v", swept, err)
	}
	if got := list(t, fs); len(got) != 1 || got[0] != key {
		t.Errorf("listed %v", got)
	}
}

func TestALinkLeadsNowhere(t *testing.T) {
	t.Parallel()
	base, outside := t.TempDir(), t.TempDir()
	fs := open(t, localfs.Config{Base: base})
	key := newKey()
	if err := os.Symlink(outside, filepath.Join(base, "tenants", key.TenantID.String())); err != nil {
		t.Fatal(err)
	}
	s := stage(t, fs, key, []byte("x"))
	if err := s.Commit(t.Context(), files([]byte("x"))); err == nil {
		t.Error("a snapshot was stored through a link out of the storage")
	}
	if err := s.Discard(); err != nil {
		t.Error(err)
	}
	if got := tree(t, outside); len(got) != 1 {
		t.Errorf("outside the storage: %q", got)
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	free, total, err := open(t, localfs.Config{Base: t.TempDir()}).Usage()
	if err != nil || free <= 0 || total < free {
		t.Errorf("free %d, total %d, %v", free, total, err)
	}
}
