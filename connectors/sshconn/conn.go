package sshconn

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/internal/job"
)

// Conn is an authenticated SSH connection, in which any number of channels may
// be opened, as many as the server allows. Its methods may be called from many
// goroutines.
type Conn struct {
	// Channels of Client that nobody closes end with the Conn.
	*ssh.Client

	raw     *heardConn
	hostKey ssh.PublicKey
	from    *connector
	fate    *fate
	trip    atomic.Int64 // shortest round trip so far
	ahead   atomic.Pointer[chan *session]

	running sync.WaitGroup
	ended   chan struct{} // closed when this connection is no longer wanted
	once    sync.Once
}

// fate is what connections with one server share: when one of them breaks, all
// end, for the same reason.
type fate struct {
	mu    sync.Mutex
	why   error // the first reason to end; nil while all is well
	done  chan struct{}
	conns map[*Conn]bool
}

// join takes a connection in; false when all has ended already.
func (f *fate) join(c *Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why != nil {
		return false
	}
	if f.conns == nil {
		f.conns = map[*Conn]bool{}
	}
	f.conns[c] = true
	return true
}

func (f *fate) leave(c *Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, c)
}

func (f *fate) reason() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.why
}

var errClosed = errors.New("connection closed")

// start begins to watch a new connection, and closes one that comes too late.
func (c *Conn) start() error {
	if !c.fate.join(c) {
		_ = c.Client.Close() // the reason counts
		return c.Cause(errClosed)
	}
	c.running.Go(func() { c.broken(c.Wait()) })
	c.running.Go(c.keepAlive)
	c.running.Go(c.listen)
	return nil
}

// Another makes one more connection with the same server at the same address,
// which must show the same host key. The new one is closed by its own Close or by
// the end of any of the others.
func (c *Conn) Another(ctx context.Context) (*Conn, error) {
	from := *c.from
	from.Pins, from.firstUse, from.address = []Pin{pinOf(c.hostKey)}, nil, c.raw.RemoteAddr().String()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer close(ended)
	waiting.Go(func() {
		select {
		case <-c.fate.done:
			cancel(c.Cause(errClosed))
		case <-ended:
		}
	})
	other, _, err := from.connect(ctx)
	if err != nil {
		return nil, err
	}
	other.fate = c.fate
	return other, other.start()
}

// HostKey is the key that the server showed.
func (c *Conn) HostKey() ssh.PublicKey { return c.hostKey }

// Version is the server's first line, escaped and short.
func (c *Conn) Version() string { return Escape(string(c.ServerVersion()), 255) }

// RoundTrip is the shortest time in which the server answered something that
// costs it nothing; 0 before the first answer.
func (c *Conn) RoundTrip() time.Duration { return time.Duration(c.trip.Load()) }

// LoginTrip is the shortest time in which the server answered while it let the user in:
// a first guess of the round trip.
func (c *Conn) LoginTrip() time.Duration { return time.Duration(c.raw.login.least.Load()) }

// Held is for how long reading was held back so far by a limit on bandwidth, which
// is no silence of the server.
func (c *Conn) Held() time.Duration { return c.raw.held() }

// ownError is a reason that is passed on as it is: the caller's own.
type ownError struct{ error }

// EndWith ends the connections when the context ends, for its cause, until stop
// is called.
func (c *Conn) EndWith(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { c.End(context.Cause(ctx)) })
}

// End breaks the connections for a reason that Cause passes on as it is.
func (c *Conn) End(why error) { c.Fail(ownError{why}) }

// Fail breaks this connection and all that share its fate for a reason; only the
// first one counts.
func (c *Conn) Fail(why error) {
	f := c.fate
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.why == nil {
		f.why = why
		close(f.done)
	}
	for conn := range f.conns {
		_ = conn.raw.Close() // the reason counts; and a second Close is harmless
	}
}

// Done is closed when the connections have ended, for whatever reason.
func (c *Conn) Done() <-chan struct{} { return c.fate.done }

// Cause turns the error of a call into the reason for which the connections
// ended: a *job.Error, or what End was given.
func (c *Conn) Cause(err error) error {
	why := c.fate.reason()
	if why == nil {
		why = err
	}
	if own, ok := errors.AsType[ownError](why); ok {
		return own.error
	}
	if known, ok := errors.AsType[*job.Error](why); ok {
		return known
	}
	return job.Errorf(job.ConnectFailed, "the connection to the server broke; it is tried again: %w", Quoted(why))
}

// Close ends this connection alone and waits for it. It may be called twice.
func (c *Conn) Close() error {
	c.once.Do(func() { close(c.ended) })
	// A broken connection cannot say good-bye any more, and its error says no
	// more than that.
	_ = c.Client.Close()
	_ = c.raw.Close()
	c.running.Wait()
	c.fate.leave(c)
	return nil
}

// broken notes that the connection ended, unless that was wanted.
func (c *Conn) broken(err error) {
	select {
	case <-c.ended:
	default:
		c.Fail(err)
	}
}

// tripProbes is how many questions measure the round trip at first, while there
// is nothing else on the line.
const tripProbes = 3

// keepAlive makes the server say something now and then.
func (c *Conn) keepAlive() {
	ticker := time.NewTicker(c.from.KeepAlive)
	defer ticker.Stop()
	for n := 0; ; n++ {
		begin := c.raw.age()
		// Any answer will do, and what is listened to is bytes, not answers.
		if _, _, err := c.SendRequest("keepalive@openssh.com", true, nil); err != nil {
			c.broken(err)
			return
		}
		if took := int64(c.raw.age() - begin); c.trip.Load() == 0 || took < c.trip.Load() {
			c.trip.Store(took)
		}
		if n < tripProbes-1 {
			continue
		}
		select {
		case <-c.fate.done:
			return
		case <-c.ended:
			return
		case <-ticker.C:
		}
	}
}

// listen ends a connection whose server is gone.
func (c *Conn) listen() {
	dead := 3 * c.from.KeepAlive
	ticker := time.NewTicker(c.from.KeepAlive / 4)
	defer ticker.Stop()
	for {
		select {
		case <-c.fate.done:
			return
		case <-c.ended:
			return
		case <-ticker.C:
		}
		if c.raw.silent() > dead {
			c.Fail(job.Errorf(job.ConnectFailed, "the server has been silent for %v; the connection is taken for broken and tried again", dead.Round(time.Millisecond)))
			return
		}
	}
}
