package bandwidth

import (
	"context"
	"net"
	"sync"
	"time"
)

// Dialer makes connections that keep to limiters.
type Dialer struct {
	// Dial makes the connections themselves.
	Dial interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}
	// Limiters hold each connection back; the slowest counts.
	Limiters []*Limiter
}

// DialContext makes a connection; a *Conn.
func (d Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := d.Dial.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return NewConn(conn, d.Limiters...), nil
}

// Conn is a connection that is held back. What was read is given out at once, and
// what is to be written is written at once; it is the next read or write that
// waits. So whoever listens hears of the other side as soon as it says something.
type Conn struct {
	net.Conn
	limiters []*Limiter
	reading  turnstile
	writing  turnstile
	now      func() time.Time
	closed   chan struct{}
	once     sync.Once
}

// Under gives the connection that is held back, for its settings alone.
func (c *Conn) Under() net.Conn { return c.Conn }

// turnstile makes one direction wait.
type turnstile struct {
	pass sync.Mutex // held by who passes
	next time.Time  // not before

	mu    sync.Mutex
	held  time.Duration // waited so far
	since time.Time     // when the wait at hand began; zero: nobody waits
}

// NewConn holds a connection back.
func NewConn(conn net.Conn, limiters ...*Limiter) *Conn {
	return &Conn{
		Conn: conn, limiters: limiters, closed: make(chan struct{}),
		now: time.Now,
	}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	c.reading.pass.Lock()
	defer c.reading.pass.Unlock()
	if err := c.wait(&c.reading); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p[:c.atOnce(len(p))])
	c.passed(&c.reading, n)
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	c.writing.pass.Lock()
	defer c.writing.pass.Unlock()
	var written int
	for {
		if err := c.wait(&c.writing); err != nil {
			return written, err
		}
		n, err := c.Conn.Write(p[written : written+c.atOnce(len(p)-written)])
		written += n
		c.passed(&c.writing, n)
		if err != nil || written == len(p) {
			return written, err
		}
	}
}

// Close implements net.Conn; whoever waits comes back.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// Held is for how long reading was held back so far, by the limits and not by the
// other side.
func (c *Conn) Held() time.Duration {
	t := &c.reading
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.since.IsZero() {
		return t.held
	}
	return t.held + c.now().Sub(t.since)
}

// atOnce is how many of n bytes may pass in one go.
func (c *Conn) atOnce(n int) int {
	for _, l := range c.limiters {
		if most := l.most(); most > 0 {
			n = min(n, most)
		}
	}
	return n
}

func (c *Conn) passed(t *turnstile, n int) {
	if n == 0 {
		return
	}
	var wait time.Duration
	for _, l := range c.limiters {
		wait = max(wait, l.take(n))
	}
	t.next = c.now().Add(wait)
}

func (c *Conn) wait(t *turnstile) error {
	left := t.next.Sub(c.now())
	if left <= 0 {
		return nil
	}
	t.begin(c.now())
	defer func() { t.end(c.now()) }()
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-c.closed:
		return net.ErrClosed
	}
}

func (t *turnstile) begin(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since = now
}

func (t *turnstile) end(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held += now.Sub(t.since)
	t.since = time.Time{}
}
