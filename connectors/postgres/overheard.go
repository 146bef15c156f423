package postgres

import (
	"encoding/binary"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// overheard is a connection with the server that passes everything on as it is, and
// tells of the errors that the server sends: their codes mean the same in every
// language, unlike what programs print.
type overheard struct {
	net.Conn
	raw  *rawConn
	hear func(*pgconn.PgError)

	head   [5]byte // of a message: its type, and its length without the type
	have   int     // bytes of head
	rest   int     // bytes of the message that are still to come
	keep   bool    // it is an error
	kept   []byte
	broken bool // it is not the protocol
}

// maxKept bounds what is kept of an error.
const maxKept = 16 << 10

// Read is called by one goroutine.
func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.Conn.Read(p)
	o.listen(p[:n])
	return n, err
}

// Held is for how long reading was held back so far by a limit on bandwidth.
func (o *overheard) Held() time.Duration { return o.raw.Held() }

// Close closes at once: a farewell of TLS could wait for a server that is gone.
func (o *overheard) Close() error { return o.raw.Close() }

func (o *overheard) listen(p []byte) {
	for len(p) > 0 && !o.broken {
		if o.rest > 0 {
			n := min(o.rest, len(p))
			if o.keep && len(o.kept) < maxKept {
				o.kept = append(o.kept, p[:n]...)
			}
			o.rest -= n
			p = p[n:]
			if o.rest == 0 {
				o.ended()
			}
			continue
		}
		n := copy(o.head[o.have:], p)
		o.have += n
		p = p[n:]
		if o.have == len(o.head) {
			o.begun()
		}
	}
}

func (o *overheard) begun() {
	length := binary.BigEndian.Uint32(o.head[1:])
	if length < 4 || length > 1<<31 {
		o.broken = true
		return
	}
	o.have, o.rest = 0, int(length)-4
	o.keep = o.head[0] == 'E'
	if o.rest == 0 {
		o.ended()
	}
}

func (o *overheard) ended() {
	if !o.keep {
		return
	}
	var e pgproto3.ErrorResponse
	if e.Decode(o.kept) == nil {
		o.hear(pgconn.ErrorResponseToPgError(&e))
	}
	o.keep, o.kept = false, nil
}
