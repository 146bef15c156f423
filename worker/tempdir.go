package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"
)

// tempDir is the folder for what a connector cannot avoid putting down. Every
// worker that uses it holds its lock shared; the one that comes first has it
// alone and sweeps.
type tempDir struct {
	root *os.Root
	lock *os.File
}

// openTempDir makes the folder, refuses one that others can reach into, and
// removes what jobs of processes that died left there.
func openTempDir(ctx context.Context, dir string) (*tempDir, int, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, 0, fmt.Errorf("make WORKER_TEMP_DIR: %w", err)
	}
	if err := checkPrivate(dir); err != nil {
		return nil, 0, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, 0, fmt.Errorf("open WORKER_TEMP_DIR: %w", err)
	}
	lock, err := root.Open(".")
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open WORKER_TEMP_DIR: %w", err), root.Close())
	}
	t := &tempDir{root, lock}
	swept, err := t.sweep(ctx)
	if err != nil {
		return nil, 0, errors.Join(err, t.close())
	}
	return t, swept, nil
}

// checkPrivate: below /tmp anyone may have made the folder first.
func checkPrivate(dir string) error {
	var st unix.Stat_t
	if err := unix.Lstat(dir, &st); err != nil {
		return fmt.Errorf("look at WORKER_TEMP_DIR: %w", err)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR || int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("WORKER_TEMP_DIR %s is not a folder of this worker's user; remove it or name another", dir)
	}
	if st.Mode&0o077 != 0 {
		return fmt.Errorf("WORKER_TEMP_DIR %s can be reached by others; give it mode 0700", dir)
	}
	return nil
}

// sweep removes the folders of jobs, unless another worker is at work there.
func (t *tempDir) sweep(ctx context.Context) (int, error) {
	swept := 0
	if t.alone(ctx) {
		var err error
		if swept, err = t.removeJobs(ctx); err != nil {
			return swept, err
		}
	}
	// Another's sweep is short; it is waited for.
	for {
		err := unix.Flock(int(t.lock.Fd()), unix.LOCK_SH)
		if err == nil {
			return swept, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return swept, fmt.Errorf("lock WORKER_TEMP_DIR: %w", err)
		}
	}
}

// alone takes the lock for itself, if no other worker is there. It tries for a
// moment: a lock lives on in children that were forked and have not yet begun
// to run their program.
func (t *tempDir) alone(ctx context.Context) bool {
	for range 15 {
		if unix.Flock(int(t.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return true
		}
		if !sleep(ctx, 20*time.Millisecond) {
			break
		}
	}
	return false
}

func (t *tempDir) removeJobs(ctx context.Context) (int, error) {
	swept := 0
	for {
		if ctx.Err() != nil {
			return swept, context.Cause(ctx)
		}
		names, err := t.lock.Readdirnames(1000)
		for _, name := range names {
			if id, err := uuid.Parse(name); err != nil || id.String() != name {
				continue // not ours
			}
			if err := t.root.RemoveAll(name); err != nil {
				return swept, fmt.Errorf("sweep WORKER_TEMP_DIR: %w", err)
			}
			swept++
		}
		if errors.Is(err, io.EOF) {
			return swept, nil
		}
		if err != nil {
			return swept, fmt.Errorf("sweep WORKER_TEMP_DIR: %w", err)
		}
	}
}

func (t *tempDir) close() error { return errors.Join(t.lock.Close(), t.root.Close()) }
