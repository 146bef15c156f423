package sshtunnel

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"xvault/internal/job"
)

// goodbye is how long whoever waits in a connection that was closed may go on to.
const goodbye = 3 * time.Second

// channel is one connection inside the tunnel. Deadlines of an SSH channel do not
// exist; whoever waits for too long closes it.
//
// The library tells the server of that, and a Read or Write in it goes on to wait for
// the answer: for as long as it takes to find out that the server is gone, or for ever
// where the server has bytes that whoever it leads to does not take. So a tunnel whose
// server has not answered after a while is given up.
type channel struct {
	net.Conn
	tunnel *Tunnel
	inUse  atomic.Int32 // by calls that may wait for the server
	closed atomic.Bool
	close  func() error // once
}

func newChannel(conn net.Conn, t *Tunnel) *channel {
	c := &channel{Conn: conn, tunnel: t}
	c.close = sync.OnceValue(c.end)
	return c
}

// begin notes a call that may wait. One that comes after Close does not begin.
func (c *channel) begin() error {
	c.inUse.Add(1)
	if c.closed.Load() {
		c.inUse.Add(-1)
		return net.ErrClosed
	}
	return nil
}

// Read implements net.Conn. What a broken tunnel cut off is no end in order.
func (c *channel) Read(p []byte) (int, error) {
	if err := c.begin(); err != nil {
		return 0, err
	}
	defer c.inUse.Add(-1)
	n, err := c.Conn.Read(p)
	if errors.Is(err, io.EOF) {
		if broken := c.tunnel.Broken(); broken != nil {
			err = broken
		}
	}
	return n, err
}

// Write implements net.Conn.
func (c *channel) Write(p []byte) (int, error) {
	if err := c.begin(); err != nil {
		return 0, err
	}
	defer c.inUse.Add(-1)
	return c.Conn.Write(p)
}

// CloseWrite tells the other side that nothing more comes.
func (c *channel) CloseWrite() error {
	w, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok {
		return errors.ErrUnsupported
	}
	if err := c.begin(); err != nil {
		return err
	}
	defer c.inUse.Add(-1)
	return w.CloseWrite()
}

// Close implements net.Conn. What waits in the connection ends soon.
func (c *channel) Close() error { return c.close() }

func (c *channel) end() error {
	c.inUse.Add(1) // closing waits too, behind a Write on a line that takes nothing
	defer c.inUse.Add(-1)
	c.closed.Store(true)
	c.endWithin(goodbye)
	return c.Conn.Close()
}

// endWithin gives the tunnel up where somebody waits in the connection after a time,
// in which a limit on bandwidth did not keep this side from listening.
func (c *channel) endWithin(d time.Duration) {
	held := c.Held()
	time.AfterFunc(d, func() {
		if c.inUse.Load() == 0 || c.tunnel.Broken() != nil {
			return
		}
		if more := c.Held() - held; more > 0 {
			c.endWithin(more)
			return
		}
		c.tunnel.Fail(job.Errorf(job.ConnectFailed, "the server did not let go of a connection within %v", goodbye))
	})
}

// SetDeadline implements net.Conn, without an effect.
func (*channel) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn, without an effect.
func (*channel) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn, without an effect.
func (*channel) SetWriteDeadline(time.Time) error { return nil }

// Held is for how long reading was held back so far by a limit on bandwidth.
func (c *channel) Held() time.Duration { return c.tunnel.Held() }
