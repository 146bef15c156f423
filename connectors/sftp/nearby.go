package sftp

import (
	"context"
	"log/slog"
	"time"
)

// One lane to a server nearby is enough for bytes, and not for requests: OpenSSH's SFTP
// server answers one in each turn of its loop, each of which costs it several system
// calls, and most of what a tree of small files takes is requests. More lanes have more
// of the server's processors answer.
const (
	// moreNearby is how many there are beside the first.
	moreNearby = 2
	// nearbyLook is how long is measured before they are opened.
	nearbyLook = 50 * time.Millisecond
	// fewBytes is the most that comes in a second from a server that is busy with
	// requests: half of what SSH encrypts.
	fewBytes = fastest / 2
)

// growNearby opens more lanes to a server nearby once visits wait for its small files and
// it is not bytes that it is busy with, two looks in a row: the first may be of a moment
// at which nothing is on its way yet.
func (s *session) growNearby(ctx context.Context, log *slog.Logger) {
	for busy := 0; busy < 2; {
		m, ok := s.measure(ctx, nearbyLook)
		if !ok {
			return
		}
		if m.starving(0.1) && m.inTrip(time.Second) < fewBytes {
			busy++
		} else {
			busy = 0
		}
	}
	n := s.channels.forLanes(moreNearby)
	opened := s.moreLanes(s.conn, n)
	s.channels.giveBack(n - opened)
	if opened == 0 {
		return
	}
	log.Debug("more channels to the server", slog.Int("lanes", 1+opened), slog.Duration("round_trip", s.conn.RoundTrip()))
}
