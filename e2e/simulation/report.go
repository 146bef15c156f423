package simulation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// report is what a run has to say of itself.
type report struct {
	t          testing.TB
	plan       Plan
	began      time.Time
	wakes      int
	counts     map[string]int
	recoveries []time.Duration
	violations []string
	orphaned   int64 // most bytes that belonged to nobody
	left       int64 // of them, after the last sweep
	opened     int   // artifacts that the stock tools opened
	snapshots  int
	slots      int
	judged     int // removals by retention
	tars       int // attempts in which a tar on the server brought files
}

func newReport(t testing.TB, plan Plan) *report {
	t.Helper()
	return &report{t: t, plan: plan, began: time.Now(), counts: map[string]int{}}
}

// violation is a broken invariant. The life goes on: one may explain another.
func (r *report) violation(format string, args ...any) {
	r.t.Helper()
	text := fmt.Sprintf(format, args...)
	r.violations = append(r.violations, text)
	if len(r.violations) < 40 {
		r.t.Error(text)
	}
}

// recovered notes how long it took from a fault until all was well again.
func (r *report) recovered(d time.Duration) { r.recoveries = append(r.recoveries, d) }

func (r *report) tell() {
	r.t.Helper()
	var kinds []string
	faults := 0
	for kind, n := range r.counts {
		kinds = append(kinds, fmt.Sprintf("%5d  %s", n, kind))
		faults += n
	}
	slices.Sort(kinds)
	slices.Reverse(kinds)
	slices.Sort(r.recoveries)
	p50, most := time.Duration(0), time.Duration(0)
	if n := len(r.recoveries); n > 0 {
		p50, most = r.recoveries[n/2], r.recoveries[n-1]
	}
	r.t.Logf("seed %d: %.0f days in %v; %d attempts read with tar on the server\n"+
		"%d moments at which something was due, %d slots, %d acknowledged snapshots, opened %d times by age, zstd and tar, %d removals by retention judged\n"+
		"%d actions:\n%s\n"+
		"violations: %d; recovery p50 %v, max %v; orphaned bytes: %d at most, %d left after the sweep",
		r.plan.Seed, r.plan.End.Sub(r.plan.Start).Hours()/24, time.Since(r.began).Round(time.Second), r.tars,
		r.wakes, r.slots, r.snapshots, r.opened, r.judged, faults, strings.Join(kinds, "\n"),
		len(r.violations), p50.Round(time.Millisecond), most.Round(time.Millisecond), r.orphaned, r.left)
}
