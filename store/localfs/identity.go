package localfs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"xvault/store/blob"
)

// marker is the file at the storage's root that holds its identity. Its lock
// says which process works on the storage.
const marker = ".xvault-storage"

// identify reads the marker, or makes it where the storage is new, and locks it.
func (fs *FS) identify(expected uuid.UUID) error {
	f, err := fs.openMarker(expected)
	if err != nil {
		return err
	}
	fs.lock = f
	id, err := readMarker(f)
	if err != nil {
		return fail("read storage identity", err)
	}
	if expected != uuid.Nil && id != expected {
		return fail("identify storage", fmt.Errorf("%w: its id is %s, not %s", blob.ErrForeign, id, expected))
	}
	if err := lock(f); err != nil {
		return fail("lock storage", err)
	}
	fs.id = id
	return nil
}

const (
	lockTries = 15
	lockPause = 20 * time.Millisecond
)

// lock takes the storage for this process. It tries for a moment: a lock lives
// on in children that were forked and have not yet begun to run their program.
func lock(f *os.File) error {
	for try := 1; ; try++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR):
			return err
		case try == lockTries:
			return blob.ErrInUse
		}
		time.Sleep(lockPause)
	}
}

func (fs *FS) openMarker(expected uuid.UUID) (*os.File, error) {
	f, err := fs.root.OpenFile(marker, os.O_RDWR, 0)
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fail("read storage identity", missing(err))
	}
	if expected != uuid.Nil {
		return nil, fail("identify storage", fmt.Errorf("%w: %s holds no %s; is its disk mounted?", blob.ErrMissing, fs.base, marker))
	}
	if err := fs.checkEmpty(); err != nil {
		return nil, err
	}
	if err := fs.makeMarker(); err != nil {
		return nil, fail("make storage identity", missing(err))
	}
	f, err = fs.root.OpenFile(marker, os.O_RDWR, 0)
	return f, fail("read storage identity", err)
}

// checkEmpty refuses to make a storage of a folder that something else uses.
func (fs *FS) checkEmpty() error {
	dir, err := fs.root.Open(".")
	if err != nil {
		return fail("look into storage", err)
	}
	defer closeQuietly(dir)
	for {
		names, err := dir.Readdirnames(100)
		for _, name := range names {
			if name != "lost+found" && !strings.HasPrefix(name, marker) {
				return fail("identify storage", fmt.Errorf("%w: %s is not empty and holds no %s", blob.ErrForeign, fs.base, marker))
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fail("look into storage", err)
		}
	}
}

// makeMarker writes the marker in one step: a half-written one would lock the
// storage out.
func (fs *FS) makeMarker() error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	temp := unique(marker)
	if err := writeFile(fs.root, temp, []byte(id.String()+"\n")); err != nil {
		return err
	}
	err = renameNoReplace(fs.root, ".", temp, ".", marker)
	if errors.Is(err, os.ErrExist) { // another process was faster: its marker counts
		return fs.root.Remove(temp)
	}
	if err != nil {
		return errors.Join(err, fs.root.Remove(temp))
	}
	return syncDir(fs.root, ".")
}

func readMarker(r io.Reader) (uuid.UUID, error) {
	content, err := io.ReadAll(io.LimitReader(r, 100))
	if err != nil {
		return uuid.Nil, missing(err)
	}
	id, err := uuid.Parse(strings.TrimSpace(string(content)))
	if err != nil {
		return uuid.Nil, fmt.Errorf("%w: %s does not hold an id", blob.ErrForeign, marker)
	}
	return id, nil
}

// Check implements blob.Store. It goes by the path, not by what is open: a disk
// that was unmounted stays reachable through open files.
func (fs *FS) Check() error {
	if err := fs.checkMarker(); err != nil {
		return err
	}
	if err := unix.Access(fs.base, unix.W_OK|unix.X_OK); err != nil {
		return fail("check storage", fmt.Errorf("%w: it cannot be written: %w", blob.ErrMissing, err))
	}
	return nil
}

func (fs *FS) checkMarker() error {
	now, err := os.Stat(filepath.Join(fs.base, marker))
	if err != nil {
		return fail("check storage", missing(err))
	}
	opened, err := fs.lock.Stat()
	if err != nil {
		return fail("check storage", missing(err))
	}
	if !os.SameFile(now, opened) {
		return fail("check storage", fmt.Errorf("%w: %s was mounted or replaced since it was opened", blob.ErrForeign, fs.base))
	}
	return nil
}

// makeBase makes the storage's folder and the ones above it, durably.
func makeBase(base string) error {
	err := os.Mkdir(base, dirMode)
	switch {
	case err == nil:
		return syncPath(filepath.Dir(base))
	case errors.Is(err, os.ErrExist):
		return nil
	case errors.Is(err, os.ErrNotExist):
		if err := makeBase(filepath.Dir(base)); err != nil {
			return err
		}
		return makeBase(base)
	default:
		return missing(err)
	}
}
