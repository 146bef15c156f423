package localfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"xvault/store/blob"
	"xvault/store/localfs"
)

// childEnv makes this test binary a child with a file size limit.
const childEnv = "XVAULT_LOCALFS_TEST_CHILD"

// TestFull fills a small file system at every point of the artifact: while it
// is written, and while the manifest is.
func TestFull(t *testing.T) {
	t.Parallel()
	base := smallDisk(t, "256k")
	fs := open(t, localfs.Config{Base: base})
	kept := newKey()
	store(t, fs, kept, []byte("kept"))
	for size := 4 << 10; size <= 300<<10; size += 12 << 10 {
		storeUntilFull(t, fs, bytes.Repeat([]byte{'x'}, size))
	}
	if got := list(t, fs); len(got) != 1 || got[0] != kept {
		t.Errorf("listed %v", got)
	}
	if got := tree(t, filepath.Join(base, "staging")); len(got) != 1 {
		t.Errorf("staging holds %q", got)
	}
}

// storeUntilFull stores until the disk is full and takes the stored away again.
func storeUntilFull(t *testing.T, fs *localfs.FS, artifact []byte) {
	t.Helper()
	var stored []blob.Key
	for {
		key := newKey()
		s, err := fs.Stage(key)
		if err == nil {
			_, err = s.Write(artifact)
			if err == nil {
				err = s.Commit(t.Context(), files(artifact))
			}
			must(t, s.Discard())
		}
		if err == nil {
			stored = append(stored, key)
			continue
		}
		var storage *blob.Error
		if !errors.Is(err, blob.ErrFull) || !errors.As(err, &storage) {
			t.Errorf("size %d: %v", len(artifact), err)
		}
		break
	}
	if got := list(t, fs); len(got) != len(stored)+1 {
		t.Errorf("size %d: stored %d, listed %d", len(artifact), len(stored), len(got))
	}
	for _, key := range stored {
		must(t, fs.Remove(t.Context(), key))
	}
}

// smallDisk mounts a tmpfs, which takes root.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatalf("mount a small tmpfs (run the tests as root, or under unshare -rm): %v", err)
	}
	t.Cleanup(func() { must(t, unix.Unmount(dir, 0)) })
	return dir
}

func TestReadOnlyDiskIsMissing(t *testing.T) {
	t.Parallel()
	base := smallDisk(t, "256k")
	fs := open(t, localfs.Config{Base: base})
	must(t, fs.Check())
	must(t, fs.Close())
	must(t, unix.Mount("", base, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	if _, err := localfs.Open(localfs.Config{Base: base, Expected: fs.ID()}); !errors.Is(err, blob.ErrMissing) {
		t.Errorf("open: %v", err)
	}
}

func TestFileSizeLimit(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+base)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	fs := open(t, localfs.Config{Base: base})
	if got := list(t, fs); len(got) != 0 {
		t.Errorf("listed %v", got)
	}
}

// childMain stores artifacts that are larger than this process may write.
func childMain() {
	if err := storeLimited(os.Getenv(childEnv)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// storeLimited fails unless each of them is too large.
func storeLimited(base string) error {
	fs, err := localfs.Open(localfs.Config{Base: base})
	if err != nil {
		return err
	}
	limit := unix.Rlimit{Cur: 10_000, Max: 10_000}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for _, size := range []int{20_000, 1 << 20} { // seen at the end, and while it is written
		s, err := fs.Stage(newKey())
		if err != nil {
			return err
		}
		artifact := make([]byte, size)
		if _, err = s.Write(artifact); err == nil {
			err = s.Commit(context.Background(), files(artifact))
		}
		if !errors.Is(err, blob.ErrFull) {
			return fmt.Errorf("%d bytes: not that the disk is full: %w", size, err)
		}
		if err := s.Discard(); err != nil {
			return err
		}
	}
	return fs.Close()
}
