package sftp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"xvault/connectors/sftp/wire"
	"xvault/connectors/sshconn"
)

// A channel of an SSH connection has at most laneWindow bytes on their way: that
// much a round trip is all it brings, however wide the line is. The remedy is
// more channels, each with an SFTP server of its own behind it, and more
// connections, for a TCP connection has a limit of the same kind.
const (
	laneWindow = 2 << 20
	// sessions is how many channels OpenSSH allows on a connection.
	sessions = 10
)

// lane is one SFTP server. A handle means something only to the server that gave
// it.
type lane struct {
	*wire.Client
	conn *sshconn.Conn
	load atomic.Int64 // bytes that are being read through it
	gone atomic.Bool  // it is done without: its server ended while it was idle, or never spoke
	// first was opened with the lane's first words, a round trip earlier than it could
	// be after them. Of the goroutine that visits.
	first earlyOpen
}

// earlyOpen is a file and the call that opens it; the zero value is of none.
type earlyOpen struct {
	path  string
	call  *wire.Call
	guess string // what its handle will be, most likely; empty where nobody knows
}

// firstHandle is what OpenSSH's SFTP server calls the first thing that it opens: it
// counts them (sftp-server.c, handle_to_string).
const firstHandle = "\x00\x00\x00\x00"

// guess is what the handle that a call asks a lane's server for will be, most likely; empty
// where nobody knows.
func (s *session) guess(conn *sshconn.Conn, opening *wire.Call) string {
	if opening.First() && isOpenSSH(conn) && s.Abilities().Lsetstat && !s.misguessed.Load() {
		return firstHandle
	}
	return ""
}

// openOnce opens a file, unless that was done with the first words.
func (l *lane) openOnce(s *session, path string) earlyOpen {
	first := l.first
	if first.call == nil || first.path != path {
		l.closeFirst(s)
		return earlyOpen{path: path, call: l.Open(path)}
	}
	l.first = earlyOpen{}
	return first
}

// closeFirst closes what the first words opened in vain.
func (l *lane) closeFirst(s *session) {
	first := l.first
	l.first = earlyOpen{}
	if first.call == nil {
		return
	}
	s.running.Go(func() {
		if handle, err := first.call.Handle(); err == nil {
			l.CloseHandle(handle)
		}
	})
}

// all gives the lanes, the first of them first.
func (s *session) all() []*lane {
	if l := s.lanes.Load(); l != nil {
		return *l
	}
	return nil
}

// add takes a lane into use; when its server ends, so does the session. One beside the
// first that nothing was read through is done without: some servers end what is idle.
func (s *session) add(l *lane) {
	s.adding.Lock()
	all := append(slices.Clone(s.all()), l)
	s.lanes.Store(&all)
	s.adding.Unlock()
	s.running.Go(func() {
		select {
		case <-s.conn.Done():
		case <-l.Done():
			err := l.Err()
			// What breaks the protocol is no such end, but for one that never spoke it.
			idle := l.load.Load() == 0 && errors.Is(err, io.ErrUnexpectedEOF)
			if l != s.all()[0] && (l.gone.Load() || idle || !l.Speaks()) {
				l.gone.Store(true)
				return
			}
			s.fail(err)
		}
	})
}

// lightest gives the lane that has the least to do.
func (s *session) lightest() *lane {
	all := s.all()
	best := all[0]
	for _, l := range all[1:] {
		if l.Speaks() && !l.gone.Load() && l.load.Load() <= best.load.Load() { // the first has what there is to list as well
			best = l
		}
	}
	return best
}

// giveUp does without a lane whose server says nothing.
func (s *session) giveUp(l *lane) {
	l.gone.Store(true)
	s.running.Go(func() { _ = l.Client.Close() }) // ends with the connection at the latest
}

// received is how many bytes came through all lanes.
func (s *session) received() (n int64) {
	for _, l := range s.all() {
		n += l.Received()
	}
	return n
}

// moreLanes opens n more on a connection, each of which is used as soon as it is
// there. What the server refuses is done without; it tells how many were opened.
func (s *session) moreLanes(conn *sshconn.Conn, n int) int {
	var opening sync.WaitGroup
	var opened atomic.Int32
	for range n {
		opening.Go(func() {
			if s.openLane(conn) {
				opened.Add(1)
			}
		})
	}
	opening.Wait()
	return int(opened.Load())
}

// openLane opens one more and takes it into use, before its server's hello where the
// handle of the file that it is for can be guessed. It tells whether that came.
func (s *session) openLane(conn *sshconn.Conn) bool {
	var first earlyOpen
	l, _, err := s.start(conn, s.openWanted(conn, &first))
	if err != nil {
		return false
	}
	if first.guess == "" && !s.greets(l) {
		return false
	}
	if l.first = first; s.wanted.Load() == nil {
		l.closeFirst(s) // it came too late
	}
	s.add(l)
	return s.greets(l)
}

// greets waits for a lane's hello. One that does not come is done without: what was asked
// for through the lane, the streams ask for elsewhere.
func (s *session) greets(l *lane) bool {
	ticker := time.NewTicker(max(s.greeting/8, time.Millisecond))
	defer ticker.Stop()
	var patience sshconn.Patience
	for began := s.waits.now(); ; {
		select {
		case <-l.Hello():
			return l.Greeted() == nil
		case <-ticker.C:
		}
		if patience.Lasted(time.Duration(s.waits.now()-began), l.conn.Held()) > s.greeting {
			s.giveUp(l)
			return false
		}
	}
}

// openAhead opens the channels that are needed at once and those that a distance may ask
// for, when it is not known yet whether it does: these are there a round trip earlier then.
func openAhead(conn *sshconn.Conn, atOnce int) {
	if more := lanesAt(conn.LoginTrip()); more > 1 && isOpenSSH(conn) {
		conn.OpenAhead(min(atOnce+more, sessions))
	}
}

// openWanted opens, with the first words of a lane, the file that the lane is for; nil
// where there is none, or the server does not read on.
func (s *session) openWanted(conn *sshconn.Conn, first *earlyOpen) func(*wire.Client) {
	path := s.wanted.Load()
	if path == nil || s.near() || !isOpenSSH(conn) {
		return nil
	}
	return func(c *wire.Client) {
		opening := c.Open(*path)
		*first = earlyOpen{*path, opening, s.guess(conn, opening)}
	}
}

// further gives the nth connection beside the first, which whoever asks for it first
// makes; nil where it cannot be had. The server must show the same host key again:
// where it does not, nothing is sent to it, and what there is goes on.
func (s *session) further(ctx context.Context, n int, log *slog.Logger) *sshconn.Conn {
	s.connecting.Lock()
	defer s.connecting.Unlock()
	if n < len(s.conns) {
		return s.conns[n]
	}
	conn, err := s.conn.Another(ctx)
	if err != nil {
		select {
		case <-s.conn.Done():
		case <-ctx.Done(): // the reading is over
		default:
			log.Info("reading goes on over the connections that there are", slog.Any("error", err))
		}
		return nil
	}
	s.conns = append(s.conns, conn)
	log.Debug("one more connection to the server", slog.Duration("round_trip", s.conn.RoundTrip()))
	return conn
}
