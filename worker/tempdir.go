package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
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

// jobFolder is the private folder of one attempt, which is made when it is first
// asked for. It may be used from many goroutines.
type jobFolder struct {
	temp    *tempDir
	job     string // the folder of a job's attempts, which is what a sweep looks for
	attempt string // below it: an attempt that was superseded may still be at its end
	mu      sync.Mutex
	made    bool
}

// folder gives an attempt its folder.
func (t *tempDir) folder(id uuid.UUID, attempt int) *jobFolder {
	return &jobFolder{temp: t, job: id.String(), attempt: filepath.Join(id.String(), strconv.Itoa(attempt))}
}

// path makes the folder, unless it is there, and gives its absolute path.
func (f *jobFolder) path() (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	root := f.temp.root
	if !f.made {
		// What an attempt of this number left when its process died is swept at the
		// start; one that stands here now belongs to somebody.
		if err := root.Mkdir(f.job, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("make a folder in WORKER_TEMP_DIR: %w", err)
		}
		if err := root.Mkdir(f.attempt, 0o700); err != nil {
			return "", fmt.Errorf("make a folder in WORKER_TEMP_DIR: %w", err)
		}
		f.made = true
	}
	return filepath.Abs(filepath.Join(root.Name(), f.attempt))
}

// remove removes the folder with all that is in it.
func (f *jobFolder) remove() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.made {
		return nil
	}
	f.made = false
	if err := f.temp.root.RemoveAll(f.attempt); err != nil {
		return fmt.Errorf("remove a folder in WORKER_TEMP_DIR: %w", err)
	}
	err := f.temp.root.Remove(f.job)
	if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) || errors.Is(err, fs.ErrNotExist) {
		return nil // another attempt has its own there, or was the last to go
	}
	return err
}
