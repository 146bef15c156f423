package delay

import (
	"time"

	"golang.org/x/sys/unix"
)

// socket is one side of a connection, and what the loop is to be told of it.
type socket struct {
	fd       int
	watched  uint32 // events that the loop waits for
	incoming *line  // what comes out of it
	outgoing *line  // what goes into it; nil until the other side is there
	gone     bool   // it is closed on both sides, and not waited for any more
}

// line is one direction of a connection. The bytes stay in the kernel: they are never
// copied, so that a line costs those who are measured as little of their processors as
// it can. All of it is the loop's.
type line struct {
	from, to *socket // to is nil until that side is there
	open     time.Time
	delay    time.Duration
	limit    int64

	pieces  []piece
	held    int64
	current *pipe // that is being filled
	spare   []*pipe
	blocked bool // to takes no more for now
	ended   bool // from has closed
	over    bool // and to has been told, or is gone
}

// piece is what came at once.
type piece struct {
	n    int // bytes; 0 is the end of them
	due  time.Time
	from *pipe
}

// take moves what came into a pipe.
func (l *line) take(now time.Time) error {
	if now.Before(l.open) {
		now = l.open
	}
	for range 2 {
		if l.current == nil {
			p, err := l.pipe()
			if err != nil {
				return err
			}
			l.current = p
		}
		n, err := l.current.fill(l.from.fd)
		switch {
		case err == unix.EAGAIN && l.current.held > 0: //nolint:errorlint // as it is, not wrapped
			l.current = nil // it is full; the last of its pieces gives it back
			continue
		case err == unix.EAGAIN: //nolint:errorlint // as it is, not wrapped
			return nil // it was gone by then
		case n == 0: // it was closed, or broke: no more comes
			l.ended = true
			l.pieces = append(l.pieces, piece{due: now.Add(l.delay)})
			return nil
		}
		l.pieces = append(l.pieces, piece{n: n, due: now.Add(l.delay), from: l.current})
		l.held += int64(n)
		return nil
	}
	return nil
}

// pipe gives an empty one.
func (l *line) pipe() (*pipe, error) {
	if n := len(l.spare); n > 0 {
		p := l.spare[n-1]
		l.spare = l.spare[:n-1]
		return p, nil
	}
	return newPipe()
}

// bring passes on what is due, as far as that is taken.
func (l *line) bring(now time.Time) {
	if l.to == nil || l.over {
		return
	}
	l.blocked = false
	for len(l.pieces) > 0 && !l.pieces[0].due.After(now) {
		first := l.pieces[0]
		if first.n == 0 {
			_ = unix.Shutdown(l.to.fd, unix.SHUT_WR) // if it cannot be, it is closed already
			l.over = true
			return
		}
		count, n := l.due(now)
		moved, err := first.from.drain(l.to.fd, n)
		if err == unix.EAGAIN { //nolint:errorlint // as it is, not wrapped
			l.blocked = true
			return
		}
		if err != nil || moved == 0 {
			l.over = true // the other side is gone: nothing more can be brought there
			return
		}
		l.held -= int64(moved)
		l.forget(count, moved)
		if first.from.held == 0 && first.from != l.current {
			l.spare = append(l.spare, first.from)
		}
	}
}

// due tells how many of the first pieces are due and in the same pipe, and their bytes.
func (l *line) due(now time.Time) (count, n int) {
	for _, p := range l.pieces {
		if p.n == 0 || p.from != l.pieces[0].from || p.due.After(now) {
			break
		}
		count++
		n += p.n
	}
	return count, n
}

// forget takes so many bytes off the first pieces.
func (l *line) forget(count, bytes int) {
	for ; count > 0 && bytes >= l.pieces[0].n; count-- {
		bytes -= l.pieces[0].n
		l.pieces = l.pieces[1:]
	}
	if bytes > 0 {
		l.pieces[0].n -= bytes
	}
}

// next is when there is something to bring; false where that is not known.
func (l *line) next() (time.Time, bool) {
	if l.to == nil || l.over || l.blocked || len(l.pieces) == 0 {
		return time.Time{}, false
	}
	return l.pieces[0].due, true
}

// wants reports whether more may come.
func (l *line) wants() bool { return !l.ended && !l.over && l.held < l.limit }

func (l *line) close() {
	pipes := map[*pipe]bool{}
	for _, p := range l.pieces {
		pipes[p.from] = true
	}
	for _, p := range append(l.spare, l.current) {
		pipes[p] = true
	}
	delete(pipes, nil)
	for p := range pipes {
		p.close()
	}
}
