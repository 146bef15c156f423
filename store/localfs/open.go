package localfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"golang.org/x/sys/unix"

	"xvault/store/blob"
)

// Open implements blob.Store.
func (fs *FS) Open(_ context.Context, key blob.Key) (blob.Object, error) {
	f, size, err := fs.openFile("open artifact", key, blob.Artifact)
	if err != nil {
		return nil, err
	}
	return &object{f, size}, nil
}

// ReadBeside implements blob.Store.
func (fs *FS) ReadBeside(_ context.Context, key blob.Key, name string, limit int) ([]byte, error) {
	op := "read " + name
	f, _, err := fs.openFile(op, key, name)
	if err != nil {
		return nil, err
	}
	defer closeQuietly(f)
	content, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	return content, fail(op, err)
}

// openFile opens one of a snapshot's files, and tells its size. It does not wait
// for who would write into a pipe.
func (fs *FS) openFile(op string, key blob.Key, name string) (*os.File, int64, error) {
	if err := key.Validate(); err != nil {
		return nil, 0, fail(op, err)
	}
	f, err := fs.root.OpenFile(path.Join(key.Prefix(), name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		// Nothing is there, or the disk is not: only the marker tells which.
		if err := fs.Check(); err != nil {
			return nil, 0, err
		}
		return nil, 0, fail(op, blob.ErrNotFound)
	}
	if err != nil {
		return nil, 0, fail(op, err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is no regular file but %s", info.Mode().Type())
	}
	if err != nil {
		closeQuietly(f)
		return nil, 0, fail(op, err)
	}
	return f, info.Size(), nil
}

// object is an open artifact.
type object struct {
	f    *os.File
	size int64
}

// Size implements blob.Object.
func (o *object) Size() int64 { return o.size }

// ReadAt implements blob.Object.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.f.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, fail("read artifact", err)
	}
	return n, err //nolint:wrapcheck // io.EOF as it is
}

// Close implements blob.Object.
func (o *object) Close() error { return fail("close artifact", o.f.Close()) }
