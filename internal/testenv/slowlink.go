package testenv

import (
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Link is a TCP proxy in front of a server, for tests of bad lines: it delays,
// breaks and stalls, but does not limit how much passes.
type Link struct {
	Addr string // host and port to connect to
	Host string
	Port int

	t        testing.TB
	target   string
	listener net.Listener
	ctx      context.Context //nolint:containedctx // the link's own lifetime
	cancel   context.CancelFunc
	running  sync.WaitGroup

	delay  atomic.Int64 // of each direction, in nanoseconds
	cutAt  atomic.Int64 // bytes from the server after which connections break; -1: never
	passed atomic.Int64 // bytes from the server so far
	upAt   atomic.Int64 // the same of bytes to the server
	sent   atomic.Int64

	mu    sync.Mutex
	stall chan struct{} // while not nil nothing passes; closed to go on
	conns map[net.Conn]bool
}

// linkQueue bounds what is on its way in one direction: enough for 10 ms at any
// speed that the loopback reaches.
const linkQueue = 2048

// SlowLink starts a proxy to a server that delays each direction by the same
// time. It is gone after the test.
func SlowLink(t testing.TB, target string, delay time.Duration) *Link {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("start slow link: %v", err)
	}
	address := listener.Addr().(*net.TCPAddr) //nolint:errcheck // of a TCP listener
	l := &Link{
		Addr: address.String(), Host: address.IP.String(), Port: address.Port,
		t: t, target: target, listener: listener, conns: map[net.Conn]bool{},
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.delay.Store(int64(delay))
	l.cutAt.Store(-1)
	l.upAt.Store(-1)
	l.running.Go(l.accept)
	t.Cleanup(l.close)
	return l
}

// SetDelay changes the delay for what comes from now on.
func (l *Link) SetDelay(d time.Duration) { l.delay.Store(int64(d)) }

// CutAfter breaks every connection when so many bytes came from the server,
// counted over all connections since the link's start. -1 means never.
func (l *Link) CutAfter(bytes int64) { l.cutAt.Store(bytes) }

// Passed is how many bytes came from the server.
func (l *Link) Passed() int64 { return l.passed.Load() }

// CutAfterSent is CutAfter for bytes that go to the server.
func (l *Link) CutAfterSent(bytes int64) { l.upAt.Store(bytes) }

// Sent is how many bytes went to the server.
func (l *Link) Sent() int64 { return l.sent.Load() }

// Used reports whether a connection goes through it now.
func (l *Link) Used() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns) > 0
}

// Cut breaks every open connection now; new ones are accepted.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		breakConn(c)
	}
}

// Stall lets nothing pass any more while connections stay open, until Resume.
func (l *Link) Stall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stall == nil {
		l.stall = make(chan struct{})
	}
}

// Resume ends Stall.
func (l *Link) Resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stall != nil {
		close(l.stall)
		l.stall = nil
	}
}

func (l *Link) close() {
	l.cancel()
	if err := l.listener.Close(); err != nil {
		l.t.Errorf("stop slow link: %v", err)
	}
	l.Cut()
	l.running.Wait()
}

// breakConn resets a connection, as a firewall does.
func breakConn(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the end would look orderly
	}
	_ = c.Close()
}

func (l *Link) accept() {
	for {
		in, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.serve(in) })
	}
}

func (l *Link) serve(in net.Conn) {
	out, err := (&net.Dialer{}).DialContext(l.ctx, "tcp", l.target)
	if err != nil {
		breakConn(in)
		return
	}
	l.keep(in, out)
	defer l.forget(in, out)
	var both sync.WaitGroup
	both.Go(func() { l.pipe(out, in, false) })
	both.Go(func() { l.pipe(in, out, true) })
	both.Wait()
}

func (l *Link) keep(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		l.conns[c] = true
		if l.ctx.Err() != nil {
			breakConn(c)
		}
	}
}

func (l *Link) forget(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		_ = c.Close() // over either way
		delete(l.conns, c)
	}
}

// parcel is what was read at one time.
type parcel struct {
	data []byte
	due  time.Time
	err  error
}

// pipe passes one direction on, each byte after the delay.
func (l *Link) pipe(to, from net.Conn, fromServer bool) {
	queue := make(chan parcel, linkQueue)
	done := make(chan struct{})
	l.running.Go(func() {
		defer close(queue)
		for {
			buf := make([]byte, 32<<10)
			n, err := from.Read(buf)
			p := parcel{buf[:n], time.Now().Add(time.Duration(l.delay.Load())), err}
			select {
			case queue <- p:
			case <-done:
				return
			}
			if err != nil {
				return
			}
		}
	})
	defer close(done)
	for p := range queue {
		if !l.await(p.due) || !l.deliver(to, from, p, fromServer) {
			return
		}
	}
}

func (l *Link) await(due time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.ctx.Done():
		return false
	}
	l.mu.Lock()
	stall := l.stall
	l.mu.Unlock()
	if stall == nil {
		return true
	}
	select {
	case <-stall:
		return true
	case <-l.ctx.Done():
		return false
	}
}

// deliver writes one parcel; false when the connection is over.
func (l *Link) deliver(to, from net.Conn, p parcel, fromServer bool) bool {
	passed, cutAt := &l.sent, &l.upAt
	if fromServer {
		passed, cutAt = &l.passed, &l.cutAt
	}
	before := passed.Add(int64(len(p.data))) - int64(len(p.data))
	if cut := cutAt.Load(); cut >= 0 && before+int64(len(p.data)) > cut {
		_, _ = to.Write(p.data[:max(0, min(cut-before, int64(len(p.data))))]) // broken next
		breakConn(to)
		breakConn(from)
		return false
	}
	if _, err := to.Write(p.data); err != nil {
		_ = from.Close() // the other side learns of it
		return false
	}
	switch {
	case p.err == nil:
		return true
	case errors.Is(p.err, io.EOF):
		if tcp, ok := to.(*net.TCPConn); ok {
			_ = tcp.CloseWrite() // passes the end on
		}
	default:
		breakConn(to)
	}
	return false
}

// Config is the configuration of an sftp source that reads a server's paths
// through the link.
func (l *Link) Config(s *SSHServer, paths ...string) map[string]any {
	c := s.Config(paths...)
	c["host"], c["port"] = l.Host, l.Port
	return c
}

// String is the address, for messages.
func (l *Link) String() string { return net.JoinHostPort(l.Host, strconv.Itoa(l.Port)) }
