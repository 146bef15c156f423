package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"
)

// patient bounds every wait on a connection. Time in which a limit on bandwidth
// kept this side from reading does not count as the server's silence.
type patient struct {
	net.Conn
	patience time.Duration
	ended    atomic.Bool // the other side closed
}

func newPatient(conn net.Conn, patience time.Duration) *patient {
	return &patient{Conn: conn, patience: patience}
}

func (p *patient) Read(b []byte) (int, error) {
	for {
		before := p.held()
		if err := p.SetReadDeadline(p.until()); err != nil {
			return 0, err
		}
		n, err := p.Conn.Read(b)
		if errors.Is(err, io.EOF) {
			p.ended.Store(true)
		}
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) || p.held() == before {
			return n, err
		}
	}
}

// writePiece is so little that a line which moves at all passes it in time.
const writePiece = 64 << 10

func (p *patient) Write(b []byte) (int, error) {
	written := 0
	for {
		if err := p.SetWriteDeadline(p.until()); err != nil {
			return written, err
		}
		n, err := p.Conn.Write(b[written:min(len(b), written+writePiece)])
		written += n
		if err != nil || written == len(b) {
			return written, err
		}
	}
}

func (p *patient) until() time.Time { return time.Now().Add(p.patience) } //nolint:forbidigo // a deadline of the network's

func (p *patient) held() time.Duration {
	if limited, ok := p.Conn.(interface{ Held() time.Duration }); ok {
		return limited.Held()
	}
	return 0
}
