package sshconn

import (
	"bufio"
	"net"
	"sync/atomic"
	"time"
)

// readBuffer is how much is taken from the network at once. The SSH library
// reads in small pieces, each of which would be a system call.
const readBuffer = 256 << 10

// shortRead is up to how many bytes something is an answer that the next may wait
// behind. What is longer is acknowledged as it comes.
const shortRead = 4 << 10

// heardConn buffers what comes from the server and notes when bytes last did, by
// a clock that nobody sets: a step of the machine's time is no silence.
type heardConn struct {
	net.Conn
	in    *bufio.Reader
	since time.Time    // when the connection was made
	heard atomic.Int64 // after how long of listening bytes last came
	login distance
}

func newHeardConn(conn net.Conn) *heardConn {
	c := &heardConn{Conn: conn, since: time.Now()} //nolint:forbidigo // measures silence, decides nothing else
	c.in = bufio.NewReaderSize(listener{c}, readBuffer)
	return c
}

// Read is called by one goroutine at a time.
func (c *heardConn) Read(p []byte) (int, error) { return c.in.Read(p) }

// Write implements net.Conn.
func (c *heardConn) Write(p []byte) (int, error) {
	c.login.saying(c.age())
	return c.Conn.Write(p)
}

func (c *heardConn) age() time.Duration    { return time.Since(c.since) }
func (c *heardConn) silent() time.Duration { return c.listened() - time.Duration(c.heard.Load()) }

// listened is the age without the time in which a limit on bandwidth kept this
// side from listening.
func (c *heardConn) listened() time.Duration { return c.age() - c.held() }

func (c *heardConn) held() time.Duration {
	if limited, ok := c.Conn.(interface{ Held() time.Duration }); ok {
		return limited.Held()
	}
	return 0
}

// listener reads from the network itself.
type listener struct{ c *heardConn }

func (l listener) Read(p []byte) (int, error) {
	n, err := l.c.Conn.Read(p)
	if n > 0 {
		l.c.heard.Store(int64(l.c.listened()))
		l.c.login.heard(l.c.age())
		if n < shortRead {
			acknowledge(l.c.Conn)
		}
	}
	return n, err
}
