package localfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"

	"xvault/store/blob"
)

// Open implements blob.Store.
func (fs *FS) Open(_ context.Context, key blob.Key) (blob.Object, error) {
	if err := key.Validate(); err != nil {
		return nil, fail("open artifact", err)
	}
	f, err := fs.root.Open(path.Join(key.Prefix(), blob.Artifact))
	if errors.Is(err, os.ErrNotExist) {
		// Nothing is there, or the disk is not: only the marker tells which.
		if err := fs.Check(); err != nil {
			return nil, err
		}
		return nil, fail("open artifact", blob.ErrNotFound)
	}
	if err != nil {
		return nil, fail("open artifact", err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("it is no regular file but %s", info.Mode().Type())
	}
	if err != nil {
		closeQuietly(f)
		return nil, fail("open artifact", err)
	}
	return &object{f, info.Size()}, nil
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
