package sftp

import (
	"context"
	"log/slog"
	"time"

	"xvault/connectors/sftp/shell"
	"xvault/connectors/sshconn"
)

// A tar is bound by the window of its channel, as an SFTP server is. A far server is
// asked for more of them, where one has been too few for a while: what has lasted
// will go on, and to start a tar runs the user's start files on the server.
const (
	maxTars = 6
	// tarPace is the round trip at which one tar brings what a worker can pack, some
	// 125 MB/s.
	tarPace = 16 * time.Millisecond
)

// tarsAt is how many tars a round trip is worth; one where it is not known.
func tarsAt(trip time.Duration) int {
	if trip < nearby {
		return 1
	}
	return int(max(2, min((trip+tarPace-1)/tarPace, maxTars)))
}

// grow starts more tars where that pays.
func (f *tarFetch) grow(ctx context.Context, h *helper) {
	if !f.tooFew(ctx) {
		return
	}
	trip := f.r.s.conn.RoundTrip()
	n := tarsAt(trip)
	f.r.env.Log.Debug("more tars on the server", slog.Int("tars", n), slog.Duration("round_trip", trip))
	for range n - 1 {
		f.r.s.running.Go(func() { f.another(h) })
	}
}

// tooFew waits until it is known that one tar is too few; false where that never
// comes.
func (f *tarFetch) tooFew(ctx context.Context) bool {
	o, conn := f.r.options, f.r.s.conn
	g := gauge{waits: &f.waits, received: f.received, done: ctx.Done()}
	var last []sample
	for {
		m, ok := g.measure(20 * time.Millisecond)
		if !ok || f.r.s.near() {
			return false
		}
		last = append(last, m)
		trip, sum := conn.RoundTrip(), sumOf(last)
		if sum.took < max(o.TarsAfter, trip) {
			continue
		}
		if trip > 0 && sum.starving(0.3) && sum.inTrip(trip) >= o.WidenAt {
			return true
		}
		last = last[1:]
	}
}

// received is how many bytes all tars sent.
func (f *tarFetch) received() (n int64) {
	for _, t := range f.all() {
		n += t.Received()
	}
	return n
}

// another starts one more tar and waits for its end, which comes with that of the
// connection at the latest. What the server refuses is done without.
func (f *tarFetch) another(h *helper) {
	ctx, cancel := context.WithTimeoutCause(h.ctx, h.o.ShellPatience, errSlowShell)
	defer cancel()
	t, err := shell.StartTar(ctx, h.conn, &h.watch)
	if err != nil {
		f.r.env.Log.Debug("one tar less than wanted", slog.Any("error", sshconn.Quoted(err)))
		return
	}
	defer context.AfterFunc(h.ctx, t.Stop)()
	if !f.take(t) {
		t.Stop()
	}
	f.r.env.Log.Debug("one more tar")
	t.Wait()
}
