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
	ctx      context.Context //nolint:containedctx // the proxy's own lifetime
	cancel   context.CancelFunc
	running  sync.WaitGroup
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
	p := &Proxy{cfg: cfg, listener: listener}
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
	p.cancel()
	err := p.listener.Close()
	p.running.Wait()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
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
	defer func() { _ = client.Close() }()
	up, err := p.take(client, time.Now().Add(p.cfg.RoundTrip))
	if err != nil {
		return
	}
	defer up.end()
	if !p.sleep(p.cfg.RoundTrip + p.cfg.RoundTrip/2) {
		return
	}
	server, err := (&net.Dialer{}).DialContext(p.ctx, "tcp", p.cfg.Target)
	if err != nil {
		return // the client sees the connection end
	}
	defer func() { _ = server.Close() }()
	stop := context.AfterFunc(p.ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()
	down, err := p.take(server, time.Now())
	if err != nil {
		return
	}
	defer down.end()
	var both sync.WaitGroup
	both.Go(func() { up.bring(server) })
	both.Go(func() { down.bring(client) })
	both.Wait()
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

// direction is what one side of a connection sends, on its way.
type direction struct {
	from    net.Conn
	q       *queue
	reading sync.WaitGroup
}

// take begins to take what comes out of a connection, which is as if it came when that
// is open, if it comes earlier.
func (p *Proxy) take(from net.Conn, open time.Time) (*direction, error) {
	source, err := socketOf(from)
	if err != nil {
		return nil, err
	}
	d := &direction{from: from, q: newQueue(p.cfg.Queue, open, p.cfg.RoundTrip/2)}
	d.reading.Go(func() { d.q.fill(source) })
	return d, nil
}

// bring passes everything on, late.
func (d *direction) bring(to net.Conn) {
	target, err := socketOf(to)
	if err != nil {
		return
	}
	ended := d.q.drain(target)
	if !ended {
		_ = d.from.Close() // the other side is gone: nothing more can be brought there
	} else if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // as the sender did; if it cannot be, it is closed already
	}
}

// end waits until nothing more is taken.
func (d *direction) end() {
	_ = d.from.Close() // ended or not, nobody wants more of it
	d.q.abandon()
	d.reading.Wait()
	d.q.close()
}
