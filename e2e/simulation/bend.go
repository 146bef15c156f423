package simulation

import (
	"math/rand/v2"
	"time"
)

// bend does something to time, or has nobody there while it passes.
func (w *World) bend(kind string, rng *rand.Rand) {
	w.t.Helper()
	hours := time.Duration(2+rng.IntN(7)) * time.Hour
	switch kind {
	case hubsAway:
		for _, h := range w.lab.Hubs {
			h.Kill()
		}
		from := w.clock.now()
		w.clock.pass(w.t, from.Add(hours))
		w.revive()
		w.calm()
		w.excuses = append(w.excuses, excuse{slots: span{from, w.clock.now()}})
	case workersAway:
		w.withoutWorkers(w.clock.now().Add(hours))
	case hourAhead:
		w.wrongClock(time.Hour, rng)
	case yearAhead:
		w.wrongClock(365*24*time.Hour, rng)
	case hourBack:
		w.wrongClock(-time.Hour, rng)
	default:
		w.t.Fatalf("nothing of that kind happens to time: %s", kind)
	}
}

// withoutWorkers lets time pass from slot to slot while nobody works.
func (w *World) withoutWorkers(until time.Time) {
	w.t.Helper()
	for _, worker := range w.lab.Workers {
		worker.Kill()
	}
	for {
		at := min3(w.nextMoment(), until, forever)
		w.clock.pass(w.t, at)
		w.idle()
		if !at.Before(until) {
			break
		}
	}
	w.revive()
}

// wrongClock sets the clock to a wrong time and, after a while, right again.
func (w *World) wrongClock(d time.Duration, rng *rand.Rand) {
	w.t.Helper()
	from := w.clock.now()
	w.clock.step(w.t, d)
	w.strayed = w.strayed || d > 0
	if rng.IntN(2) == 0 {
		w.calm()
		w.look()
	} else {
		w.idle() // found out at once, with work half done
	}
	end := w.clock.now()
	w.clock.step(w.t, -d)
	right := w.clock.now()
	if d > 0 {
		w.excuses = append(w.excuses, excuse{span{from, right}, span{from.Add(d), end}})
	} else {
		w.excuses = append(w.excuses, excuse{span{from.Add(d), right}, span{from.Add(d), end}})
	}
}
