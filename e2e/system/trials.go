package system

import (
	"slices"
	"sync"
	"testing"
	"time"
)

// Trials counts what a fault test has to report.
type Trials struct {
	mu         sync.Mutex
	name       string
	trials     int
	recoveries []time.Duration
	orphaned   int64 // most bytes left after a trial, before the sweep
}

// NewTrials reports when the test ends.
func NewTrials(t testing.TB, name string) *Trials {
	t.Helper()
	r := &Trials{name: name}
	t.Cleanup(func() { r.report(t) })
	return r
}

// Add counts one trial: the time from the fault to the recovery, and the bytes
// that lay around without an owner after the fault.
func (r *Trials) Add(recovery time.Duration, orphaned int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trials++
	r.recoveries = append(r.recoveries, recovery)
	r.orphaned = max(r.orphaned, orphaned)
}

func (r *Trials) report(t testing.TB) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.trials == 0 {
		t.Errorf("%s: no trial at all", r.name)
		return
	}
	violations := "none"
	if t.Failed() {
		violations = "see above"
	}
	slices.Sort(r.recoveries)
	t.Logf("%s: %d trials, violations: %s, recovery p50 %v, max %v, orphaned before the sweep at most %d bytes",
		r.name, r.trials, violations, r.recoveries[len(r.recoveries)/2].Round(time.Millisecond),
		r.recoveries[len(r.recoveries)-1].Round(time.Millisecond), r.orphaned)
}
