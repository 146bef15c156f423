package localfs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"xvault/store/blob"
)

// fail makes the *blob.Error of a failed operation; nil stays nil.
func fail(op string, err error) error {
	if err == nil {
		return nil
	}
	if isFull(err) && !errors.Is(err, blob.ErrFull) {
		err = fmt.Errorf("%w: %w", blob.ErrFull, err)
	}
	return &blob.Error{Op: op, Err: err}
}

// isFull: no space, no quota left, or a file beyond the size limit.
func isFull(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EFBIG)
}

// missing marks what hinders the use of the storage as a whole.
func missing(err error) error {
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, os.ErrPermission) ||
		errors.Is(err, unix.EROFS) || errors.Is(err, unix.ESTALE) || errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EIO) {
		return fmt.Errorf("%w: %w", blob.ErrMissing, err)
	}
	return err
}
