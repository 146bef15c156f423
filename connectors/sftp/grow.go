package sftp

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// How a session decides that it needs more lanes to a server far away; nearby.go is about
// others. Nothing is opened unless whoever visits waits for the server much of the time,
// and what came in that time is near what one round trip can bring; or where a file was
// met for which one lane would take many round trips.
const (
	// nearby is the round trip below which one channel brings more than SSH
	// encrypts in the same time.
	nearby = 2 * time.Millisecond
	// lanesPerMore is how many a further connection has, and maxConns how many
	// connections there are at most. What a TCP connection has on its way is
	// limited as well, often to some 3 MiB.
	lanesPerMore = 4
	maxConns     = 4
	// fastest is what SSH encrypts on a connection at best, in bytes a second.
	fastest = 250 << 20
	// manyWindows is from which size on a file far away has more lanes than one from the
	// beginning: in a round trip, that one would bring a 32nd of it at best.
	manyWindows = 32 * laneWindow
	// tripsToPay is in how many round trips such lanes must have shown that they pay.
	tripsToPay = 20
	// tripsToConnect is for how many round trips the connections that there are must have
	// been too few before another is made: it comes into use after some twelve, and takes
	// processor time from those until then, which is in vain where little is left to read.
	tripsToConnect = 20
	// noMemory is after how long it is asked for again.
	noMemory = time.Second
	// laneMemory is what is read ahead for each channel of the first connection,
	// so that no server waits for a request. Further connections share that.
	laneMemory = laneWindow + laneWindow/4
)

// waits adds up how long the visiting goroutine waited for the server.
type waits struct {
	total atomic.Int64
	since atomic.Int64 // when the present wait began; 0 where there is none
	begin time.Time
}

func newWaits() waits {
	return waits{begin: time.Now()} //nolint:forbidigo // measures, decides nothing that is stored
}

func (w *waits) now() int64 { return int64(time.Since(w.begin)) + 1 }

func (w *waits) start() { w.since.Store(w.now()) }

func (w *waits) stop() {
	w.total.Add(w.now() - w.since.Load())
	w.since.Store(0)
}

// present is for how long it has waited by now; 0 where it does not.
func (w *waits) present() time.Duration {
	since := w.since.Load()
	if since == 0 {
		return 0
	}
	return time.Duration(w.now() - since)
}

// sum is how long it was altogether, up to now.
func (w *waits) sum() time.Duration {
	total := w.total.Load()
	if since := w.since.Load(); since != 0 {
		total += w.now() - since
	}
	return time.Duration(total)
}

// stretch is the memory that a session has taken for more lanes from what all
// sessions share.
type stretch struct {
	from  *semaphore.Weighted
	taken atomic.Int64
}

// take asks for n times size bytes, and for fewer where there are not as many; it
// tells how many times it got them.
func (s *stretch) take(n int, size int64) int {
	for ; n > 0; n-- {
		if s.from.TryAcquire(int64(n) * size) {
			s.taken.Add(int64(n) * size)
			break
		}
	}
	return n
}

func (s *stretch) giveBack() { s.from.Release(s.taken.Swap(0)) }

// sample is what came in an interval.
type sample struct {
	took, waited time.Duration
	bytes        int64
}

// inTrip is how many bytes came in the time of a round trip.
func (m sample) inTrip(trip time.Duration) int64 {
	return int64(float64(m.bytes) * float64(trip) / float64(m.took))
}

// starving: the visits waited for the server for at least this share of the time.
func (m sample) starving(share float64) bool {
	return float64(m.waited) >= share*float64(m.took)
}

// gauge measures what comes in and how long visits wait for it.
type gauge struct {
	waits    *waits
	received func() int64
	done     <-chan struct{} // there is nothing more to measure
	early    <-chan struct{} // ends it before its time; may be nil
}

// measure waits and tells what came meanwhile; false when there is nothing more.
func (g gauge) measure(d time.Duration) (sample, bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	begin, bytes, waited := g.waits.now(), g.received(), g.waits.sum()
	select {
	case <-g.done:
		return sample{}, false
	case <-g.early:
	case <-timer.C:
	}
	return sample{time.Duration(g.waits.now() - begin), g.waits.sum() - waited, g.received() - bytes}, true
}

// gauge is that of the lanes, until the reading is over.
func (s *session) gauge(ctx context.Context) gauge {
	return gauge{waits: &s.waits, received: s.received, done: ctx.Done()}
}

// measure is that of the lanes; false when the reading is over.
func (s *session) measure(ctx context.Context, d time.Duration) (sample, bool) {
	return s.gauge(ctx).measure(d)
}

// grow opens more lanes for as long as that pays, until the context ends with the
// reading. alone is whether no tars read beside them: nearby these read all that is
// small, and need channels themselves.
func (s *session) grow(ctx context.Context, o Options, log *slog.Logger, alone bool) {
	defer func() {
		if len(s.all()) == 1 {
			s.stretch.giveBack() // nothing came of it
		}
	}()
	more, guessed := s.moreChannels(ctx, o, log)
	s.settled.Store(true)
	if !more && alone && s.near() {
		s.growNearby(ctx, log)
	}
	if !more || guessed && !s.paid(ctx, o) {
		return
	}
	trip := s.conn.RoundTrip()
	before, starved := int64(0), time.Duration(0)
	var machine processors
	machine.busy()
	for conns := 1; conns < maxConns; {
		m, ok := s.measure(ctx, max(3*trip, 200*time.Millisecond))
		busy := machine.busy()
		switch {
		case !ok:
			return
		case !m.starving(0.5) || m.inTrip(trip) < o.WidenAt:
			starved = 0 // as wide as it need be, for now
			continue
		case busy > o.BusyAt:
			starved = 0 // it is this machine that it waits for
			continue
		case m.inTrip(trip) < before+before/8:
			return // the last one did not help
		}
		if starved += m.took; starved < tripsToConnect*trip {
			continue
		}
		starved = 0
		before = m.inTrip(trip)
		conn := s.further(ctx, conns-1, log)
		if conn == nil || s.moreLanes(conn, lanesPerMore) == 0 {
			return
		}
		conns++
		log.Debug("more channels to the server", slog.Int("lanes", len(s.all())), slog.Duration("round_trip", trip))
		if _, ok := s.measure(ctx, 4*trip); !ok { // until it is in use
			return
		}
		machine.busy()
	}
}

// near reports whether the server is so near that one lane is enough for bytes.
func (s *session) near() bool {
	trip := s.conn.RoundTrip()
	return trip > 0 && trip < nearby
}

// mayWiden reports whether there may soon be more lanes than one. What the first
// cannot bring in a round trip is then left for the others to bring, as whatever
// comes after it has to wait for it.
func (s *session) mayWiden() bool { return !s.settled.Load() && !s.near() }

// paid waits for as much in a round trip as makes it worth to have more lanes than one;
// false where that never comes. As long as the line is too slow for it, their memory goes
// to other sessions; what one window has keeps such a line busy.
func (s *session) paid(ctx context.Context, o Options) bool {
	trip := s.conn.RoundTrip()
	for n := 1; ; n++ {
		m, ok := s.measure(ctx, trip)
		switch {
		case !ok:
			return false
		case m.inTrip(trip) >= o.WidenAt:
			if n > tripsToPay {
				s.stretch.take(len(s.all())-1, laneMemory)
			}
			return true
		case n == tripsToPay:
			s.stretch.giveBack()
		}
	}
}

// moreChannels waits until one channel is too few, or known to be, and opens more; false
// where that never comes. guessed means that nothing was measured.
func (s *session) moreChannels(ctx context.Context, o Options, log *slog.Logger) (more, guessed bool) {
	for {
		guessed, ok := s.tooFew(ctx, o)
		if !ok {
			return false, false
		}
		trip := s.conn.RoundTrip()
		free := s.channels.forLanes(lanesAt(trip))
		n := s.stretch.take(free, laneMemory)
		s.channels.giveBack(free - n)
		switch {
		case n > 0:
			opened := s.moreLanes(s.conn, n)
			s.channels.giveBack(n - opened)
			log.Debug("more channels to the server", slog.Int("lanes", 1+opened), slog.Duration("round_trip", trip))
			return true, guessed
		case free == 0:
			return false, false
		}
		if _, ok := s.measure(ctx, noMemory); !ok { // other sessions have all of it, for now
			return false, false
		}
	}
}

// tooFew waits until one channel is; false where the reading ends before that, or is
// with a server nearby.
func (s *session) tooFew(ctx context.Context, o Options) (guessed, ok bool) {
	var last []sample // of about a round trip
	g := s.gauge(ctx)
	g.early = s.large
	for {
		m, ok := g.measure(10 * time.Millisecond)
		trip := s.conn.RoundTrip()
		if !ok || s.near() {
			return false, false
		}
		last = append(last, m)
		sum := sumOf(last)
		// What comes in one burst counts as what comes in a round trip.
		if trip > 0 && sum.starving(0.3) && sum.bytes >= o.WidenAt {
			return false, true
		}
		select {
		case <-s.large:
			if lanesAt(trip) > 1 {
				return true, true
			}
			g.early = nil // that is known now
		default:
		}
		if sum.took > trip {
			last = last[1:]
		}
	}
}

// lanesAt is how many more channels a distance may ask for: with all of them it is not
// the windows that limit a connection. Each has a process and memory at both ends.
func lanesAt(trip time.Duration) int {
	return 1 + int(trip.Seconds()*fastest/laneWindow)
}

func sumOf(samples []sample) (sum sample) {
	for _, m := range samples {
		sum.took += m.took
		sum.waited += m.waited
		sum.bytes += m.bytes
	}
	return sum
}
