package delay

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop carries all connections of a proxy in one goroutine, which does nothing but wait
// for the kernel, twice for each batch of bytes. With a goroutine for each direction and
// the runtime to wake them, a line took twice the processor time.
type loop struct {
	epoll, wake int

	mu    sync.Mutex
	calls []call // of others, made by the loop
	ended bool

	connections map[*connection]bool
	sockets     map[int32]*socket
	closing     bool
	busy        bool // something happened a moment ago
}

// call is one of another goroutine.
type call struct {
	f    func()
	made chan bool // false: the loop had ended
}

// connection is a client's, with the server's side once that is there.
type connection struct {
	up, down *line
	done     chan struct{} // closed when nothing more comes either way
	ended    bool
}

func (c *connection) lines() []*line {
	if c.down == nil {
		return []*line{c.up}
	}
	return []*line{c.up, c.down}
}

// add takes a socket, which is the loop's from then on, and what comes out of it.
func (l *loop) add(fd int, incoming *line) (*socket, error) {
	s := &socket{fd: fd, incoming: incoming}
	incoming.from = s
	s.watched = unix.EPOLLIN
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: s.watched, Fd: int32(fd)}); err != nil {
		return nil, errors.Join(os.NewSyscallError("epoll_ctl", err), unix.Close(fd))
	}
	l.sockets[int32(fd)] = s
	return s, nil
}

// remove closes a connection, unless that was done.
func (l *loop) remove(c *connection) {
	if !l.connections[c] {
		return
	}
	delete(l.connections, c)
	for _, line := range c.lines() {
		if line.from != nil {
			delete(l.sockets, int32(line.from.fd))
			_ = unix.Close(line.from.fd)
		}
	}
	for _, line := range c.lines() {
		line.close()
	}
}

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("delaying proxy: %w", os.NewSyscallError("epoll_create1", err))
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("delaying proxy: %w", errors.Join(os.NewSyscallError("eventfd", err), unix.Close(epoll)))
	}
	l := &loop{epoll: epoll, wake: wake, connections: map[*connection]bool{}, sockets: map[int32]*socket{}}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &event); err != nil {
		return nil, fmt.Errorf("delaying proxy: %w", errors.Join(os.NewSyscallError("epoll_ctl", err), unix.Close(wake), unix.Close(epoll)))
	}
	return l, nil
}

// do has the loop call f, and waits for that; false when the loop has ended.
func (l *loop) do(f func()) bool {
	c := call{f, make(chan bool, 1)}
	l.mu.Lock()
	if l.ended {
		l.mu.Unlock()
		return false
	}
	l.calls = append(l.calls, c)
	l.mu.Unlock()
	_, _ = unix.Write(l.wake, []byte{1, 0, 0, 0, 0, 0, 0, 0}) // it is awake already where this fails
	return <-c.made
}

// run ends after a call of do has set closing.
func (l *loop) run() error {
	var err error
	for !l.closing && err == nil {
		var events [64]unix.EpollEvent
		var n int
		if n, err = l.wait(events[:]); err != nil {
			break
		}
		now := time.Now()
		for _, e := range events[:n] {
			if err == nil {
				err = l.happened(e, now)
			}
		}
		for c := range l.connections {
			c.bring(now)
		}
		for _, s := range l.sockets {
			err = errors.Join(err, l.watch(s))
		}
	}
	for c := range l.connections {
		l.remove(c)
	}
	l.mu.Lock()
	l.ended = true
	calls := l.calls
	l.mu.Unlock()
	for _, c := range calls {
		c.made <- false
	}
	return errors.Join(err, unix.Close(l.wake), unix.Close(l.epoll))
}

// bring passes on what is due in both directions.
func (c *connection) bring(now time.Time) {
	over := c.down != nil
	for _, line := range c.lines() {
		line.bring(now)
		over = over && line.over
	}
	if over && !c.ended {
		c.ended = true
		close(c.done)
	}
}

// briefly is the longest wait that the runtime does not know of: as long, the goroutine
// keeps what another may run on.
const briefly = time.Millisecond

// wait for something to happen, or to be due. Where it is likely to do so in a moment the
// runtime is not told, as it looks after threads that wait.
func (l *loop) wait(events []unix.EpollEvent) (int, error) {
	left := time.Duration(-1)
	for c := range l.connections {
		for _, line := range c.lines() {
			if due, ok := line.next(); ok {
				if until := max(0, time.Until(due)); left < 0 || until < left {
					left = until
				}
			}
		}
	}
	if l.busy && (left < 0 || left > briefly) {
		left = briefly
	}
	var timeout *unix.Timespec // for ever
	if left >= 0 {
		ts := unix.NsecToTimespec(int64(left))
		timeout = &ts
	}
	var n uintptr
	var errno unix.Errno
	if l.busy {
		n, _, errno = unix.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
			uintptr(unsafe.Pointer(timeout)), 0, 0)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)),
			uintptr(unsafe.Pointer(timeout)), 0, 0)
	}
	switch errno {
	case 0:
		l.busy = n > 0 || left < briefly && timeout != nil // or something was due
		return int(n), nil
	case unix.EINTR:
		return 0, nil
	default:
		return 0, os.NewSyscallError("epoll_pwait2", errno)
	}
}

func (l *loop) happened(e unix.EpollEvent, now time.Time) error {
	if int(e.Fd) == l.wake {
		var count [8]byte
		_, _ = unix.Read(l.wake, count[:])
		l.mu.Lock()
		calls := l.calls
		l.calls = nil
		l.mu.Unlock()
		for _, c := range calls {
			c.f()
			c.made <- true
		}
		return nil
	}
	s := l.sockets[e.Fd]
	switch {
	case s == nil: // one of these calls has taken it out
		return nil
	case s.incoming.wants():
		return s.incoming.take(now)
	case e.Events&(unix.EPOLLERR|unix.EPOLLHUP) != 0:
		// It is told again and again otherwise.
		if s.outgoing != nil {
			s.outgoing.over = true
		}
		s.gone = true
		return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, s.fd, nil))
	}
	return nil
}

// watch tells the kernel what is waited for.
func (l *loop) watch(s *socket) error {
	var events uint32
	if s.incoming.wants() {
		events |= unix.EPOLLIN
	}
	if s.outgoing != nil && s.outgoing.blocked {
		events |= unix.EPOLLOUT
	}
	if events == s.watched || s.gone {
		return nil
	}
	s.watched = events
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, s.fd, &unix.EpollEvent{Events: events, Fd: int32(s.fd)}))
}
