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

// serve carries one connection. Over a real line the server learns of it one
// and a half round trips after the client began: SYN, SYN-ACK, ACK.
func (p *Proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
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
	var both sync.WaitGroup
	both.Go(func() { p.carry(server, client) })
	both.Go(func() { p.carry(client, server) })
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

// carry brings everything that comes out of one connection to the other, late.
func (p *Proxy) carry(to, from net.Conn) {
	source, err := socketOf(from)
	if err != nil {
		return
	}
	target, err := socketOf(to)
	if err != nil {
		return
	}
	q := newQueue(p.cfg.Queue, p.cfg.RoundTrip/2)
	defer q.close()
	var reading sync.WaitGroup
	reading.Go(func() { q.fill(source) })
	ended := q.drain(target)
	if !ended {
		_ = from.Close() // the other side is gone: nothing more can be brought there
	} else if half, ok := to.(*net.TCPConn); ok {
		_ = half.CloseWrite() // as the sender did; if it cannot be, it is closed already
	}
	q.abandon()
	reading.Wait()
}
