package dumptool

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// pipeSize is as much as the kernel gives everybody. What is read does not wait for
// the program to get its turn, and the program goes on while what came is hashed.
const pipeSize = 1 << 20

// newPipe makes a wide pipe. Where the kernel does not give that much, for a user may
// have only so many wide ones, it has the usual width.
func newPipe() (r, w *os.File, err error) {
	if r, w, err = os.Pipe(); err != nil {
		return nil, nil, err
	}
	raw, err := w.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
	}
	if err != nil {
		return nil, nil, errors.Join(err, r.Close(), w.Close())
	}
	return r, w, nil
}
