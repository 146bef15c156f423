// Package localfs keeps snapshots in a folder of the worker's machine:
//
//	{base}/.xvault-storage                                       the storage's identity
//	{base}/tenants/{t}/sources/{s}/snapshots/{id}/               three files, complete
//	{base}/staging/                                              on their way in or out
//
// A snapshot is written under staging, made durable there, and renamed into
// place in one step that never replaces anything, so that below tenants there
// is nothing else at rest. An error of write, fsync, close or rename fails the
// snapshot; fsync is never tried twice, for the kernel reports a lost write
// once. Folders are 0700 and files 0600. Every path is resolved inside the base
// (os.Root): no link under it leads out.
package localfs

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sys/unix"

	"xvault/store/blob"
)

const (
	stagingDir = "staging"
	dirMode    = 0o700
	fileMode   = 0o600
)

// Config says which folder is the storage.
type Config struct {
	// Base is the absolute path of the folder. It is made if it does not exist
	// and Expected is not set.
	Base string
	// Expected is the identity of the storage that was here before. Where it is
	// not set, an empty folder becomes a new storage.
	Expected uuid.UUID
	// ReadBack reads every artifact once more after its fsync and compares the
	// hash. It costs as much reading as there was writing.
	ReadBack bool
	// Log is told of what should not be there. Default: nothing is logged.
	Log *slog.Logger
}

// FS is an open storage. It implements blob.Store.
type FS struct {
	base     string
	root     *os.Root
	id       uuid.UUID
	lock     *os.File // the marker, held locked
	readBack bool
	log      *slog.Logger
	// parents is held for reading while something goes into the folders above a
	// snapshot or out of them, and alone while empty ones are removed.
	parents sync.RWMutex
}

var _ blob.Store = (*FS)(nil)

// Open opens the storage and takes it for this process alone. It fails with
// blob.ErrMissing, blob.ErrForeign or blob.ErrInUse where it is not there, not
// the one expected, or another process's.
func Open(cfg Config) (*FS, error) {
	if !filepath.IsAbs(cfg.Base) {
		return nil, fmt.Errorf("the storage base %q is not an absolute path", cfg.Base)
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	base := filepath.Clean(cfg.Base)
	if cfg.Expected == uuid.Nil {
		if err := makeBase(base); err != nil {
			return nil, fail("make storage folder", err)
		}
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return nil, fail("open storage", fmt.Errorf("%w: %w", blob.ErrMissing, err))
	}
	fs := &FS{base: base, root: root, readBack: cfg.ReadBack, log: cfg.Log}
	if err := fs.open(cfg.Expected); err != nil {
		return nil, errors.Join(err, fs.Close())
	}
	return fs, nil
}

func (fs *FS) open(expected uuid.UUID) error {
	if err := fs.identify(expected); err != nil {
		return err
	}
	for _, dir := range []string{blob.Root, stagingDir} {
		if err := makeDir(fs.root, dir); err != nil {
			return fail("make storage folder", err)
		}
	}
	return fail("sync storage folder", syncDir(fs.root, "."))
}

// ID implements blob.Store.
func (fs *FS) ID() uuid.UUID { return fs.id }

// Location implements blob.Store: the absolute path of the snapshot's folder.
func (fs *FS) Location(key blob.Key) string {
	return filepath.Join(fs.base, filepath.FromSlash(key.Prefix()))
}

// Usage implements blob.Store.
func (fs *FS) Usage() (free, total int64, err error) {
	dir, err := fs.root.Open(".")
	if err != nil {
		return 0, 0, fail("measure storage", err)
	}
	defer closeQuietly(dir)
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &st); err != nil {
		return 0, 0, fail("measure storage", err)
	}
	return int64(st.Bavail) * st.Bsize, int64(st.Blocks) * st.Bsize, nil
}

// Close implements blob.Store. It may be repeated.
func (fs *FS) Close() error {
	var errs []error
	if fs.lock != nil {
		errs = append(errs, ignoreClosed(fs.lock.Close()))
	}
	errs = append(errs, ignoreClosed(fs.root.Close()))
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

// closeQuietly closes what was only read: nothing can be lost by it.
func closeQuietly(c io.Closer) { _ = c.Close() }

// unique makes a name that no other attempt uses.
func unique(prefix string) string { return prefix + "-" + rand.Text()[:12] }
