package simulation

import (
	"slices"
	"testing"
	"time"
)

// Run lives through a plan. Every broken invariant fails the test.
func Run(t testing.TB, plan Plan) {
	t.Helper()
	t.Logf("seed %d, %s to %s", plan.Seed, plan.Start.Format(time.DateOnly), plan.End.Format(time.DateOnly))
	w := newWorld(t, plan)
	w.report.began = time.Now()
	defer w.report.tell()
	w.calm()
	w.look()
	week := plan.Start
	for {
		next := min3(w.nextMoment(), w.nextAction(), plan.End)
		if next.Sub(week) > 7*24*time.Hour {
			week = next
			w.judgeAll()
			t.Logf("%s: %d moments in %v, %d violations", week.Format(time.DateOnly), w.report.wakes, time.Since(w.report.began).Round(time.Second), len(w.report.violations))
		}
		if !next.Before(plan.End) {
			break
		}
		w.wake(next)
	}
	w.end()
}

func min3(a, b, c time.Time) time.Time {
	return slices.MinFunc([]time.Time{a, b, c}, time.Time.Compare)
}

// wake goes on to a moment, does what the plan has for it, and lets xVault do
// what is due.
func (w *World) wake(at time.Time) {
	w.t.Helper()
	w.report.wakes++
	w.clock.pass(w.t, at)
	for len(w.due) > 0 && !w.due[0].At.After(w.clock.now()) {
		a := w.due[0]
		w.due = w.due[1:]
		w.calm()
		w.look()
		w.act(a)
	}
	w.calm()
	w.look()
}

func (w *World) nextAction() time.Time {
	if len(w.due) == 0 {
		return forever
	}
	return w.due[0].At
}

// later puts an action among those to come.
func (w *World) later(a Action) {
	i, _ := slices.BinarySearchFunc(w.due, a, func(x, y Action) int { return x.At.Compare(y.At) })
	w.due = slices.Insert(slices.Clone(w.due), i, a)
}

// end mends what is still out of order, and judges for the last time.
func (w *World) end() {
	w.t.Helper()
	for _, s := range w.sources {
		w.mend(s)
	}
	w.wake(w.clock.now().Add(time.Minute))
	w.countOrphaned()
	for _, worker := range w.lab.Workers {
		w.lab.Sweep(worker)
	}
	for _, worker := range w.lab.Workers {
		w.report.left += w.lab.Orphaned(w.t, worker.Storage)
	}
	w.judgeAll()
	w.judgeDisks()
	w.report.tars = w.lab.Said("the source is read through its shell", "GNU tar")
	if r := w.report; r.slots == 0 || r.judged == 0 || r.snapshots == 0 || r.tars == 0 {
		w.t.Error("something that is to be judged never happened: this life proves too little")
	}
}
