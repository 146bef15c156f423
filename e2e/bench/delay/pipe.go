package delay

import (
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is what a pipe holds, as far as whoever runs this may have them that large.
const pipeSize = 1 << 20

// pipe holds bytes in the kernel.
type pipe struct{ r, w int }

func newPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("delaying proxy: make a pipe: %w", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // a smaller one will do
	return &pipe{r: fds[0], w: fds[1]}, nil
}

func (p *pipe) close() {
	_ = unix.Close(p.r)
	_ = unix.Close(p.w)
}

// used is how many bytes it holds.
func (p *pipe) used() (int, error) { return unix.IoctlGetInt(p.r, unix.TIOCINQ) }

// socket is one side of a connection.
type socket struct{ raw syscall.RawConn }

func socketOf(conn net.Conn) (socket, error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return socket{}, fmt.Errorf("delaying proxy: %T is no TCP connection", conn)
	}
	raw, err := tcp.SyscallConn()
	return socket{raw}, err
}

// full is what into gives where there is no more room in a pipe.
const full = -1

// into waits for bytes and moves them into a pipe; 0 is the end of them.
func (s socket) into(p *pipe) (n int, err error) {
	waitErr := s.raw.Read(func(fd uintptr) bool {
		var moved int64
		moved, err = unix.Splice(int(fd), nil, p.w, nil, pipeSize, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		n = int(moved)
		if err != unix.EAGAIN && err != unix.EINTR { //nolint:errorlint // as it is, not wrapped
			return true
		}
		// There was nothing to move, or no room for it.
		used, usedErr := p.used()
		waiting, waitingErr := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
		if err = errors.Join(usedErr, waitingErr); err != nil {
			return true
		}
		if waiting == 0 {
			return false
		}
		n = full
		if used == 0 {
			n = again // it came just now
		}
		return true
	})
	switch {
	case waitErr != nil:
		return 0, waitErr
	case n == again:
		return s.into(p)
	}
	return n, err
}

// again is what came between two looks.
const again = -2

// outOf moves n bytes from a pipe on.
func (s socket) outOf(p *pipe, n int) error {
	for n > 0 {
		var moved int64
		var err error
		waitErr := s.raw.Write(func(fd uintptr) bool {
			moved, err = unix.Splice(p.r, nil, int(fd), nil, n, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			return err != unix.EAGAIN
		})
		switch {
		case waitErr != nil:
			return waitErr
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case moved == 0:
			return io.ErrUnexpectedEOF
		}
		n -= int(max(moved, 0))
	}
	return nil
}
