package localfs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"xvault/internal/failpoint"
	"xvault/store/blob"
)

// Remove implements blob.Store. The snapshot leaves its place in one step, so
// that a half-removed one is never seen, and is taken apart in staging under a
// name of its own: whoever removes it again finds what is left there.
func (fs *FS) Remove(ctx context.Context, key blob.Key) error {
	if err := key.Validate(); err != nil {
		return fail("remove snapshot", err)
	}
	if err := fs.checkMarker(); err != nil {
		return err
	}
	if err := fs.checkWay(key); err != nil {
		return fail("remove snapshot", err)
	}
	if ctx.Err() != nil {
		return fail("remove snapshot", context.Cause(ctx))
	}
	return fail("remove snapshot", fs.remove(key))
}

func (fs *FS) remove(key blob.Key) error {
	trash := path.Join(stagingDir, key.SnapshotID.String()+".removed")
	left, err := fs.isThere(trash)
	if err != nil {
		return err
	}
	if left { // of a removal that was cut short
		if err := fs.root.RemoveAll(trash); err != nil {
			return err
		}
	}
	err = fs.moveOut(key, path.Base(trash))
	if errors.Is(err, os.ErrNotExist) && !left {
		if err := fs.removeEmptyParents(key); err != nil {
			return err
		}
		return blob.ErrNotFound
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := failpoint.Hit("delete.remove"); err != nil {
		return err
	}
	if err := fs.root.RemoveAll(trash); err != nil {
		return err
	}
	if err := failpoint.Hit("delete.remove.after"); err != nil {
		return err
	}
	return fs.removeEmptyParents(key)
}

// moveOut takes the snapshot out of its place, durably. Its parent, which may be
// empty then, stays until it is synced.
func (fs *FS) moveOut(key blob.Key, name string) error {
	fs.parents.RLock()
	defer fs.parents.RUnlock()
	if err := failpoint.Hit("delete.rename"); err != nil {
		return err
	}
	if err := renameNoReplace(fs.root, key.Parent(), key.SnapshotID.String(), stagingDir, name); err != nil {
		return err
	}
	if err := failpoint.Hit("delete.rename.after"); err != nil {
		return err
	}
	return errors.Join(syncDir(fs.root, key.Parent()), syncDir(fs.root, stagingDir))
}

// checkWay refuses to go through anything but folders: a link in the place of
// one would lead to what belongs to somebody else.
func (fs *FS) checkWay(key blob.Key) error {
	for dir := key.Prefix(); dir != "."; dir = path.Dir(dir) {
		info, err := fs.root.Lstat(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s is no folder but %s; it is left alone", dir, info.Mode().Type())
		}
	}
	return nil
}

func (fs *FS) isThere(name string) (bool, error) {
	_, err := fs.root.Lstat(name)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// removeEmptyParents removes the folders above a snapshot that hold nothing any
// more, from below.
func (fs *FS) removeEmptyParents(key blob.Key) error {
	fs.parents.Lock()
	defer fs.parents.Unlock()
	for dir := key.Parent(); dir != blob.Root; dir = path.Dir(dir) {
		err := fs.root.Remove(dir)
		switch {
		case err == nil:
			if err := syncDir(fs.root, path.Dir(dir)); err != nil {
				return err
			}
		case errors.Is(err, os.ErrNotExist):
		case errors.Is(err, unix.ENOTEMPTY), errors.Is(err, os.ErrExist):
			return nil
		default:
			return err
		}
	}
	return nil
}
