// Package delay is a TCP proxy that stands in for distance: every byte comes
// out as much later as it would over a long line, and nothing else is slower.
//
// What it promises: each direction is delayed by the same time, a connection
// takes as long to be set up as over such a line, and the only limit of
// throughput is the bandwidth times the delay of Queue bytes.
package delay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Config says what stands in front of what.
type Config struct {
	// Target is the host and port that connections lead to.
	Target string
	// RoundTrip is the time from a byte sent to its answer; each direction takes
	// half of it.
	RoundTrip time.Duration
	// Queue bounds, in bytes, what is under way in one direction of one
	// connection. Default 1 GiB, which at 80 ms is 25 GB/s.
	Queue int64
}

// Proxy listens on a loopback port of its own.
type Proxy struct {
	cfg      Config
	listener net.Listener
	loop     *loop
	looping  chan error      // how the loop ended
	ctx      context.Context //nolint:containedctx // the proxy's own lifetime
	cancel   context.CancelFunc
	running  sync.WaitGroup

	closing  sync.Once
	closeErr error
}

// Start starts a proxy.
func Start(cfg Config) (*Proxy, error) {
	if cfg.RoundTrip < 0 || cfg.Queue < 0 {
		return nil, fmt.Errorf("delaying proxy: negative value in %+v", cfg)
	}
	if cfg.Queue == 0 {
		cfg.Queue = 1 << 30
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start delaying proxy: %w", err)
	}
	l, err := newLoop()
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	p := &Proxy{cfg: cfg, listener: listener, loop: l, looping: make(chan error, 1)}
	go func() { p.looping <- l.run() }()
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.running.Go(p.accept)
	return p, nil
}

// Port is where it listens, on 127.0.0.1.
func (p *Proxy) Port() int {
	return p.listener.Addr().(*net.TCPAddr).Port //nolint:errcheck,forcetypeassert // of a TCP listener
}

// Close ends every connection and waits until all is gone.
func (p *Proxy) Close() error {
	p.closing.Do(func() {
		p.cancel()
		err := p.listener.Close()
		p.running.Wait()
		p.loop.do(func() { p.loop.closing = true })
		p.closeErr = errors.Join(err, <-p.looping)
	})
	return p.closeErr
}

func (p *Proxy) accept() {
	for {
		conn, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		p.running.Go(func() { p.serve(conn) })
	}
}

// serve carries one connection. Over a real line the client may send after a round
// trip, SYN and SYN-ACK, and the server learns of it half a round trip later. Here the
// client takes the connection for open at once: what it sends before it may is kept.
func (p *Proxy) serve(client net.Conn) {
	c := &connection{up: p.line(time.Now().Add(p.cfg.RoundTrip)), done: make(chan struct{})}
	fd, err := raw(client)
	if err != nil {
		return
	}
	var near *socket
	if !p.loop.do(func() {
		if near, err = p.loop.add(fd, c.up); err == nil {
			p.loop.connections[c] = true
		}
	}) {
		_ = unix.Close(fd) // nobody took it
		return
	}
	if err != nil {
		return
	}
	defer p.loop.do(func() { p.loop.remove(c) })
	if !p.sleep(p.cfg.RoundTrip + p.cfg.RoundTrip/2) {
		return
	}
	server, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.cfg.Target)
	if err != nil {
		return // the client sees the connection end
	}
	if fd, err = raw(server); err != nil {
		return
	}
	if !p.loop.do(func() {
		down := p.line(time.Now())
		far, addErr := p.loop.add(fd, down)
		if err = addErr; err != nil {
			return
		}
		c.down, c.up.to, far.outgoing = down, far, c.up
		down.to, near.outgoing = near, down
	}) {
		_ = unix.Close(fd) // as above
		return
	}
	if err != nil {
		return
	}
	select {
	case <-c.done:
	case <-p.ctx.Done():
	}
}

func (p *Proxy) line(open time.Time) *line {
	return &line{open: open, delay: p.cfg.RoundTrip / 2, limit: p.cfg.Queue}
}

// raw takes a connection away from the runtime, which would otherwise be woken by all
// that happens to it.
func raw(conn net.Conn) (fd int, err error) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return -1, errors.Join(fmt.Errorf("delaying proxy: %T is no TCP connection", conn), conn.Close())
	}
	c, err := tcp.SyscallConn()
	if err != nil {
		return -1, errors.Join(err, conn.Close())
	}
	var dupErr error
	err = c.Control(func(own uintptr) { fd, dupErr = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	return fd, errors.Join(err, dupErr, conn.Close())
}

func (p *Proxy) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}
