package delay

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// pipeSize is what a pipe holds, as far as whoever runs this may have them that large.
const pipeSize = 1 << 20

// pipe holds bytes in the kernel.
type pipe struct {
	r, w int
	held int // bytes
}

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

// fill moves what there is from a socket, and drain up to n bytes to one. Neither waits:
// EAGAIN says that there was nothing to move, or no room for it. 0 bytes are the end.
func (p *pipe) fill(socket int) (int, error) {
	n, err := splice(socket, p.w, pipeSize)
	p.held += n
	return n, err
}

func (p *pipe) drain(socket, n int) (int, error) {
	n, err := splice(p.r, socket, n)
	p.held -= n
	return n, err
}

// splice is made without the runtime's knowledge, for it waits for nothing: a thread
// that is known to be in the kernel costs looks at whether it still is.
func splice(from, to, n int) (int, error) {
	for {
		moved, _, errno := unix.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0, uintptr(n), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch errno {
		case 0:
			return int(moved), nil
		case unix.EINTR:
		default:
			return 0, errno
		}
	}
}
