package localfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// makeDir makes one folder; one that is there already is fine.
func makeDir(root *os.Root, name string) error {
	if err := root.Mkdir(name, dirMode); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// syncDir makes the names in a folder durable.
func syncDir(root *os.Root, name string) error {
	dir, err := root.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

func syncPath(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// writeFile makes a new file with this content and makes the content durable;
// the name is the caller's to sync.
func writeFile(root *os.Root, name string, content []byte) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// renameNoReplace moves a name between two folders in one step, or fails with
// os.ErrExist where the new one is taken.
func renameNoReplace(root *os.Root, oldDir, oldName, newDir, newName string) error {
	from, err := root.Open(oldDir)
	if err != nil {
		return err
	}
	defer closeQuietly(from)
	to, err := root.Open(newDir)
	if err != nil {
		return err
	}
	defer closeQuietly(to)
	err = unix.Renameat2(int(from.Fd()), oldName, int(to.Fd()), newName, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		// A file system that cannot promise it (NFS, some FUSE). Every name that
		// is renamed here is unique, and a folder replaces an empty one at most.
		err = renamePlain(root, from, oldName, to, newDir, newName)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: oldDir + "/" + oldName, New: newDir + "/" + newName, Err: err}
	}
	return nil
}

func renamePlain(root *os.Root, from *os.File, oldName string, to *os.File, newDir, newName string) error {
	if _, err := root.Lstat(newDir + "/" + newName); err == nil {
		return unix.EEXIST
	} else if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return unix.Renameat(int(from.Fd()), oldName, int(to.Fd()), newName)
}
