// Package wire speaks FTP (RFC 959, 2228, 2389, 2428, 3659, 4217) as a client that
// trusts a server with nothing: replies and lines are bounded, silence ends, and a
// transfer is over only when the server said so.
//
// It promises: no command is sent that holds a line break; a password is sent over
// TLS only, unless the configuration has none; a data connection is made to the
// address of the control connection, whatever the server names; what a transfer
// brought is whole only if Finish returns no error. A Conn is used by one goroutine
// at a time, but for Close, which may be called by any.
package wire

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Config says how a server is reached.
type Config struct {
	// Address is host and port.
	Address string
	// TLS is what certificates are checked with; nil means a connection in clear.
	TLS *tls.Config
	// Implicit says that TLS begins with the first byte, not with AUTH TLS.
	Implicit bool
	// Dial makes connections.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Patience is how long a server may be silent while it owes something.
	Patience time.Duration
}

// Conn is a control connection that is logged in.
type Conn struct {
	// Greeting is the server's first line.
	Greeting string

	cfg    Config
	remote string // the address that data connections are made to
	tls    *tls.Config
	in     *bufio.Reader
	feats  map[string]string
	noEPSV bool
	telnet telnetState
	broken error // why it can be used no more

	mu     sync.Mutex
	raw    net.Conn
	ctrl   net.Conn // raw, or TLS over it
	data   net.Conn // of the transfer at hand
	closed bool
}

// Dial connects, and begins TLS where the configuration wants it. Nothing about the
// user was sent then.
func Dial(ctx context.Context, cfg Config) (*Conn, error) {
	raw, err := cfg.Dial(ctx, "tcp", cfg.Address)
	if err != nil {
		return nil, err
	}
	c := &Conn{cfg: cfg, raw: newPatient(raw, cfg.Patience)}
	c.ctrl = c.raw
	stop := context.AfterFunc(ctx, func() { _ = c.Close() }) // who waits learns of it
	defer stop()
	if err := c.begin(ctx); err != nil {
		_ = c.Close() // err says what is wrong
		return nil, err
	}
	return c, nil
}

func (c *Conn) begin(ctx context.Context) error {
	var err error
	if c.remote, _, err = net.SplitHostPort(c.raw.RemoteAddr().String()); err != nil {
		return fmt.Errorf("the address of the server: %w", err)
	}
	if c.cfg.TLS != nil {
		c.tls = c.cfg.TLS.Clone()
		// Servers ask that a data connection goes on with the session of its control
		// connection, and with no other one's: each has a cache of its own.
		c.tls.ClientSessionCache = &sessions{}
	}
	if c.cfg.Implicit {
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	}
	c.in = bufio.NewReaderSize(c.ctrl, maxLine)
	if err := c.greet(); err != nil || c.tls == nil || c.cfg.Implicit {
		return err
	}
	if _, err := c.expect(2, "AUTH", "TLS"); err != nil {
		return &NoTLSError{err}
	}
	if c.in.Buffered() > 0 {
		// Somebody in between put words into the server's mouth.
		return errors.New("the server spoke before TLS was up")
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	c.in.Reset(c.ctrl)
	return nil
}

// NoTLSError says that the server refused AUTH TLS.
type NoTLSError struct{ err error }

func (e *NoTLSError) Error() string { return "no TLS: " + e.err.Error() }

// Unwrap gives the server's reply.
func (e *NoTLSError) Unwrap() error { return e.err }

func (c *Conn) startTLS(ctx context.Context) error {
	secure := tls.Client(c.raw, c.tls)
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Patience)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return &TLSError{err}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ctrl = secure
	return nil
}

// TLSError says that TLS could not begin on a connection.
type TLSError struct{ err error }

func (e *TLSError) Error() string { return "TLS: " + e.err.Error() }

// Unwrap gives the cause.
func (e *TLSError) Unwrap() error { return e.err }

func (c *Conn) greet() error {
	r, err := c.read("")
	for waits := 0; err == nil && r.Code == 120 && waits < maxWaits; waits++ {
		r, err = c.read("") // ready in some minutes
	}
	if err != nil {
		return err
	}
	if r.Code/100 != 2 {
		return &ReplyError{Reply: r}
	}
	if c.Greeting = r.Lines[0]; len(r.Lines) > 1 && strings.TrimLeft(c.Greeting, "-") == "" {
		c.Greeting = r.Lines[1]
	}
	return nil
}

// TLSVersion names the version of TLS, empty without.
func (c *Conn) TLSVersion() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if secure, ok := c.ctrl.(*tls.Conn); ok {
		return tls.VersionName(secure.ConnectionState().Version)
	}
	return ""
}

// Broken is why the connection can be used no more, nil while it can.
func (c *Conn) Broken() error { return c.broken }

// Close ends the connection at once; whoever waits for it comes back.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	if c.data != nil {
		_ = c.data.Close() // nothing more of it is wanted
	}
	// Not through TLS, which would wait for a stalled line to say goodbye.
	if err := c.raw.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Quit says goodbye, without waiting for the answer, and closes.
func (c *Conn) Quit() error {
	if c.broken == nil {
		_ = c.send("QUIT", "") // the server learns it from the end of the connection as well
	}
	return c.Close()
}

// keep notes a data connection, so that Close ends it.
func (c *Conn) keep(data net.Conn) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		if data != nil {
			_ = data.Close() // never used
		}
		return net.ErrClosed
	}
	c.data = data
	return nil
}
