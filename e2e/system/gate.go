package system

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Gate is a TCP proxy that can be shut: it stands for the network between two
// parts. With several targets it is a load balancer too: in turn, and the next
// one where a connection cannot be made.
type Gate struct {
	Addr    string
	targets []string
	turn    atomic.Uint64
	listen  net.Listener

	mu    sync.Mutex
	rate  int64 // bytes a second towards the client; 0 is no limit
	shut  bool
	conns map[net.Conn]struct{}
	wg    sync.WaitGroup
}

// NewGate opens a gate to targets, each a "host:port" or an http URL.
func NewGate(t testing.TB, targets ...string) *Gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{Addr: l.Addr().String(), listen: l, conns: map[net.Conn]struct{}{}}
	for _, target := range targets {
		g.targets = append(g.targets, strings.TrimPrefix(target, "http://"))
	}
	g.wg.Go(g.serve)
	t.Cleanup(func() {
		g.Shut()
		if err := l.Close(); err != nil {
			t.Errorf("close gate: %v", err)
		}
		g.wg.Wait()
	})
	return g
}

// URL is the gate as a hub's address.
func (g *Gate) URL() string { return "http://" + g.Addr }

// HostPort is the gate as a source's address.
func (g *Gate) HostPort() (string, int) {
	addr, ok := g.listen.Addr().(*net.TCPAddr)
	if !ok {
		return "", 0
	}
	return addr.IP.String(), addr.Port
}

// Limit makes the line towards the client thin, in bytes a second, for
// connections to come.
func (g *Gate) Limit(rate int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rate = rate
}

// Shut cuts every connection and refuses new ones.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = true
	for c := range g.conns {
		_ = c.Close() // that is the point
	}
}

// Open lets connections through again.
func (g *Gate) Open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = false
}

func (g *Gate) serve() {
	for {
		c, err := g.listen.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		g.wg.Go(func() { g.forward(c) })
	}
}

func (g *Gate) forward(c net.Conn) {
	up, err := g.dial()
	if err != nil {
		_ = c.Close()
		return
	}
	if !g.enter(c, up) {
		return
	}
	defer g.leave(c, up)
	g.mu.Lock()
	var back io.Reader = up
	if g.rate > 0 {
		back = &thin{up, g.rate}
	}
	g.mu.Unlock()
	var both sync.WaitGroup
	pipe := func(dst io.Writer, src io.Reader) {
		_, _ = io.Copy(dst, src)
		_ = up.Close()
		_ = c.Close()
	}
	both.Go(func() { pipe(up, c) })
	both.Go(func() { pipe(c, back) })
	both.Wait()
}

func (g *Gate) dial() (conn net.Conn, err error) {
	first := g.turn.Add(1)
	for i := range g.targets {
		target := g.targets[(first+uint64(i))%uint64(len(g.targets))]
		if conn, err = net.Dial("tcp", target); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

func (g *Gate) enter(conns ...net.Conn) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		if g.shut {
			_ = c.Close()
			continue
		}
		g.conns[c] = struct{}{}
	}
	return !g.shut
}

func (g *Gate) leave(conns ...net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
		delete(g.conns, c)
	}
}

// thin is a reader that takes its time.
type thin struct {
	io.Reader
	rate int64
}

func (t *thin) Read(p []byte) (int, error) {
	n, err := t.Reader.Read(p[:min(len(p), 32<<10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(t.rate)) // the line, not a wait for a state
	return n, err
}

// LossyHub stands before a hub and loses the replies to chosen calls: the hub
// has done the work, the caller never hears of it.
type LossyHub struct {
	URL  string
	Lost atomic.Int64
	left atomic.Int64
}

// NewLossyHub loses the next n replies to paths that end in suffix.
func NewLossyHub(t testing.TB, hub, suffix string, n int64) *LossyHub {
	t.Helper()
	target, err := url.Parse(hub)
	if err != nil {
		t.Fatal(err)
	}
	l := &LossyHub{}
	l.left.Store(n)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.ModifyResponse = func(r *http.Response) error {
		if strings.HasSuffix(r.Request.URL.Path, suffix) && l.left.Add(-1) >= 0 {
			l.Lost.Add(1)
			_, _ = io.Copy(io.Discard, r.Body) // the hub is done with it
			panic(http.ErrAbortHandler)        // cuts the caller's connection
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	l.URL = server.URL
	t.Cleanup(server.Close)
	return l
}
