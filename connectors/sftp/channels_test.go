package sftp

import (
	"sync"
	"testing"
	"time"
)

// A far server gets as many channels as bring what SSH encrypts, one nearby one more.
func TestLanesByDistance(t *testing.T) {
	t.Parallel()
	for trip, want := range map[time.Duration]int{2 * time.Millisecond: 1, 10 * time.Millisecond: 2, 20 * time.Millisecond: 3, 80 * time.Millisecond: 11} {
		if n := lanesAt(trip); n != want {
			t.Errorf("%d more at %v, want %d", n, trip, want)
		}
	}
}

// However lanes and tars come to open theirs, there are never more than the server
// allows, and none of them stay unused.
func TestChannelsAreSharedOut(t *testing.T) {
	t.Parallel()
	const tar, finds, moreTars, kept = 1, 2, 4, 2
	start := func() *channels {
		c := &channels{}
		c.hold(1 + tar + finds)
		c.keep(kept)
		return c
	}
	lanesFirst := start()
	if lanes, tars := lanesFirst.forLanes(sessions), lanesFirst.forTars(moreTars); lanes != 4 || tars != kept {
		t.Errorf("%d lanes, and then %d tars", lanes, tars)
	}
	tarsFirst := start()
	if tars, lanes := tarsFirst.forTars(moreTars), tarsFirst.forLanes(sessions); tars != moreTars || lanes != 2 {
		t.Errorf("%d tars, and then %d lanes", tars, lanes)
	}
	tarsFirst.giveBack(3) // refused
	if n := tarsFirst.forLanes(sessions); n != 3 {
		t.Errorf("%d of 3 given back are taken again", n)
	}
	if n := tarsFirst.forTars(moreTars); n != 0 {
		t.Errorf("%d more than there are", n)
	}
	if n := start().forLanes(3); n != 3 {
		t.Errorf("%d lanes, want 3", n)
	}
	for range 200 {
		c := start()
		var lanes, tars int
		var opening sync.WaitGroup
		opening.Go(func() { lanes = c.forLanes(sessions) })
		opening.Go(func() { tars = c.forTars(moreTars) })
		opening.Wait()
		if lanes+tars != sessions-1-tar-finds || tars < kept {
			t.Fatalf("%d lanes and %d tars at once", lanes, tars)
		}
	}
}
