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
	// maxTars is how many there are on the first connection, tarsPerMore on each
	// further one.
	maxTars     = 6
	tarsPerMore = 2
	allTars     = maxTars + (maxConns-1)*tarsPerMore
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

// grow starts more tars for as long as that pays: on the connection that there is, and
// then on further ones.
func (f *tarFetch) grow(ctx context.Context, h *helper) {
	g := gauge{waits: &f.waits, received: f.received, done: ctx.Done()}
	if !f.tooFew(g) {
		return
	}
	more := f.start(h, h.conn, f.r.s.channels.forTars(tarsAt(h.conn.RoundTrip())-1))
	before := int64(0)
	for n := range maxConns - 1 {
		if more > 0 {
			now, ok := f.stillTooFew(g)
			if !ok || now < before+before/8 {
				return // or the last ones did not help
			}
			before = now
		}
		conn := f.r.s.further(ctx, n, f.r.env.Log)
		if conn == nil {
			return
		}
		if more = f.start(h, conn, tarsPerMore); more == 0 {
			return
		}
	}
}

// tooFew waits until it is known that one tar is too few; false where that never
// comes.
func (f *tarFetch) tooFew(g gauge) bool {
	o, conn := f.r.options, f.r.s.conn
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

// stillTooFew waits until what there is turns out to be too few as well, and tells
// what that brings in a round trip.
func (f *tarFetch) stillTooFew(g gauge) (inTrip int64, ok bool) {
	trip := f.r.s.conn.RoundTrip()
	if _, ok := g.measure(2 * trip); !ok { // until it is in use
		return 0, false
	}
	for {
		m, ok := g.measure(max(2*trip, f.r.options.TarsAfter))
		if !ok {
			return 0, false
		}
		if inTrip = m.inTrip(trip); m.starving(0.5) && inTrip >= f.r.options.WidenAt {
			return inTrip, true
		}
	}
}

// received is how many bytes all tars sent.
func (f *tarFetch) received() (n int64) {
	for _, t := range f.all() {
		n += t.Received()
	}
	return n
}

// start starts n more tars, and tells how many there are once that is known. What the
// server refuses is done without.
func (f *tarFetch) start(h *helper, conn *sshconn.Conn, n int) int {
	if n == 0 {
		return 0
	}
	f.r.env.Log.Debug("more tars on the server", slog.Int("tars", n), slog.Duration("round_trip", h.conn.RoundTrip()))
	started := make(chan bool, n)
	for range n {
		f.r.s.running.Go(func() { f.another(h, conn, started) })
	}
	there := 0
	for range n {
		if <-started {
			there++
		}
	}
	return there
}

// another starts one more tar and waits for its end, which comes with that of the
// connection at the latest.
func (f *tarFetch) another(h *helper, conn *sshconn.Conn, started chan<- bool) {
	if conn == h.conn {
		defer f.r.s.channels.giveBack(1)
	}
	ctx, cancel := context.WithTimeoutCause(h.ctx, h.o.ShellPatience, errSlowShell)
	defer cancel()
	t, err := shell.StartTar(ctx, conn)
	if err != nil {
		f.r.env.Log.Debug("one tar less than wanted", slog.Any("error", sshconn.Quoted(err)))
		started <- false
		return
	}
	defer context.AfterFunc(h.ctx, t.Stop)()
	taken := f.take(newTarLane(t, conn))
	if taken {
		f.r.env.Log.Debug("one more tar")
	} else {
		t.Stop() // nothing more is wanted
	}
	started <- taken
	t.Wait()
}
