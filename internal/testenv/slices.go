package testenv

import (
	"bufio"
	"context"
	"net"
	"sync"
)

// Slices dials connections of which each read gives a few bytes and each write sends
// a few, whatever the network would carry at once: so whoever takes one read for one
// message, or expects a header to come whole, is found out.
type Slices struct {
	// Dial makes the connections.
	Dial interface {
		DialContext(ctx context.Context, network, address string) (net.Conn, error)
	}
}

// pieces are their lengths, in turn. The sum is odd, so that they fall differently
// into each message.
const pieces = "\x01\x02\x01\x03\x07\x01\x0d\x05\x01\xfd\x04\x02\x40\x10\x09\x01\xc8\x1f"

func piece(turn int) int { return int(pieces[turn%len(pieces)]) }

// DialContext implements connectors.Dialer.
func (s Slices) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := s.Dial.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &slicedConn{Conn: conn, from: bufio.NewReaderSize(conn, 64<<10)}, nil
}

// slicedConn holds back what came too early, so that small pieces cost no system
// calls.
type slicedConn struct {
	net.Conn

	reading sync.Mutex
	from    *bufio.Reader
	turn    int

	writing sync.Mutex
	sent    int
}

func (c *slicedConn) Read(p []byte) (int, error) {
	c.reading.Lock()
	defer c.reading.Unlock()
	n := piece(c.turn)
	c.turn++
	return c.from.Read(p[:min(n, len(p))])
}

func (c *slicedConn) Write(p []byte) (written int, err error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for len(p) > 0 && err == nil {
		var n int
		n, err = c.Conn.Write(p[:min(piece(c.sent), len(p))])
		c.sent++
		written, p = written+n, p[n:]
	}
	return written, err
}
