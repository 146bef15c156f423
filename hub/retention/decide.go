package retention

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Worth is what a snapshot can be relied on for.
type Worth string

// What a snapshot is worth. Only good ones count.
const (
	Good       Worth = "good"
	Partial    Worth = "partial"    // something is missing in it, or it failed
	Suspicious Worth = "suspicious" // whole, but much smaller than its like
	Corrupt    Worth = "corrupt"    // a verification found it damaged
	Missing    Worth = "missing"    // its files are not on the storage
)

// Snapshot is what a decision needs to know of one.
type Snapshot struct {
	ID    string    // decides between two of the same time
	Time  time.Time // when it was begun: the state that it holds
	Worth Worth
	Held  bool
	InUse bool // a restore or a verify of it waits or runs
}

// Rule is a policy and the zone in which its hours, days, weeks, months and
// years are meant; nil: UTC.
type Rule struct {
	Policy Policy
	Zone   *time.Location
}

// Decision is what becomes of a snapshot, and why. Each reason begins with a
// word from a closed set, with details in parentheses behind it.
type Decision struct {
	ID      string
	Keep    bool
	Reasons []string
}

// Words that reasons begin with, beside the names of the rules.
const (
	reasonHold       = "hold"
	reasonInUse      = "in_use"
	reasonNoPolicy   = "no_policy"
	reasonLastGood   = "last_good"
	reasonMinKeep    = "min_keep"
	reasonFuture     = "future"
	reasonUnresolved = "unresolved"
	reasonNewest     = "newer_than_last_good"
	reasonNoRule     = "no_rule"
	reasonSuperseded = "superseded"
)

// Apply decides by one policy. It is Decide with a single rule.
func Apply(p Policy, snapshots []Snapshot, now time.Time, zone *time.Location) []Decision {
	return Decide([]Rule{{Policy: p, Zone: zone}}, snapshots, now)
}

// Decide decides about all snapshots of one source, newest first. A snapshot
// stays if any rule keeps it; an empty policy keeps none, and where all are empty
// everything stays. The largest min_keep counts. The order of the snapshots does not matter.
func Decide(rules []Rule, snapshots []Snapshot, now time.Time) []Decision {
	sorted := slices.Clone(snapshots)
	slices.SortFunc(sorted, func(a, b Snapshot) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
	})
	d := newDeciding(sorted, now)
	floor, empty := 1, true
	for _, r := range rules {
		floor = max(floor, r.Policy.MinKeep)
		empty = empty && r.Policy.Empty()
		d.apply(r)
	}
	if empty {
		d.keepAll(reasonNoPolicy)
		return d.out
	}
	d.protect()
	d.keepAtLeast(floor)
	d.explainRest()
	return d.out
}

// deciding is a decision in the making. out is parallel to all; counted holds
// the places of the good snapshots that rules count, newest first.
type deciding struct {
	all     []Snapshot
	out     []Decision
	counted []int
	// newestGood is the place of the newest good snapshot, future ones included;
	// -1: there is none.
	newestGood int
}

func newDeciding(sorted []Snapshot, now time.Time) *deciding {
	d := &deciding{all: sorted, out: make([]Decision, len(sorted)), newestGood: -1}
	for i, s := range sorted {
		d.out[i] = Decision{ID: s.ID, Reasons: []string{}}
		if s.Worth != Good {
			continue
		}
		if d.newestGood < 0 {
			d.newestGood = i
		}
		// One that a clock gone wrong dated ahead must not use up the places of
		// others; it counts once its time has come.
		if s.Time.After(now) {
			d.keep(i, reasonFuture)
			continue
		}
		d.counted = append(d.counted, i)
	}
	return d
}

func (d *deciding) keep(i int, reason string) {
	d.out[i].Keep = true
	if !slices.Contains(d.out[i].Reasons, reason) {
		d.out[i].Reasons = append(d.out[i].Reasons, reason)
	}
}

func (d *deciding) keepAll(reason string) {
	for i := range d.all {
		d.keep(i, reason)
	}
}

// apply keeps what one rule keeps.
func (d *deciding) apply(r Rule) {
	p, zone := r.Policy, r.Zone
	if zone == nil {
		zone = time.UTC
	}
	for nr, i := range d.counted[:min(p.KeepLast, len(d.counted))] {
		d.keep(i, fmt.Sprintf("keep_last (%d of %d)", nr+1, p.KeepLast))
	}
	d.keepPeriods("keep_hourly", p.KeepHourly, zone, hour)
	d.keepPeriods("keep_daily", p.KeepDaily, zone, day)
	d.keepPeriods("keep_weekly", p.KeepWeekly, zone, week)
	d.keepPeriods("keep_monthly", p.KeepMonthly, zone, month)
	d.keepPeriods("keep_yearly", p.KeepYearly, zone, year)
	if !p.KeepWithin.IsZero() && len(d.counted) > 0 {
		from := p.KeepWithin.before(d.all[d.counted[0]].Time.In(zone))
		for _, i := range d.counted {
			if d.all[i].Time.After(from) {
				d.keep(i, fmt.Sprintf("keep_within (%s)", p.KeepWithin))
			}
		}
	}
}

// keepPeriods keeps the newest of each of count periods, and the oldest of all
// where there are fewer periods.
func (d *deciding) keepPeriods(rule string, count int, zone *time.Location, period func(time.Time) string) {
	last := ""
	for nr, i := range d.counted {
		if count == 0 {
			return
		}
		this := period(d.all[i].Time.In(zone))
		switch {
		case this != last:
			d.keep(i, fmt.Sprintf("%s (%s)", rule, this))
			count--
		case nr == len(d.counted)-1:
			d.keep(i, rule+" (oldest)")
		}
		last = this
	}
}

// hour tells the two hours of a night apart in which clocks are set back.
func hour(t time.Time) string { return t.Format("2006-01-02T15 -0700") }

func day(t time.Time) string { return t.Format(time.DateOnly) }

func week(t time.Time) string {
	y, w := t.ISOWeek()
	return fmt.Sprintf("%d-W%02d", y, w)
}

func month(t time.Time) string { return t.Format("2006-01") }

func year(t time.Time) string { return t.Format("2006") }

// protect keeps what no rule may remove.
func (d *deciding) protect() {
	for i, s := range d.all {
		if s.Held {
			d.keep(i, reasonHold)
		}
		if s.InUse {
			d.keep(i, reasonInUse)
		}
		switch {
		case s.Worth == Good:
		case s.Worth == Partial && (d.newestGood < 0 || i < d.newestGood):
			d.keep(i, reasonNewest+" (partial)")
		case s.Worth != Partial:
			d.keep(i, fmt.Sprintf("%s (%s)", reasonUnresolved, s.Worth))
		}
	}
}

// keepAtLeast keeps good snapshots, the newest first, until as many stay as the
// floor says. It also names the newest one, which always stays.
func (d *deciding) keepAtLeast(floor int) {
	kept := 0
	for i, s := range d.all {
		if s.Worth == Good && d.out[i].Keep {
			kept++
		}
	}
	if d.newestGood >= 0 {
		if !d.out[d.newestGood].Keep {
			kept++
		}
		d.keep(d.newestGood, reasonLastGood)
	}
	for i, s := range d.all {
		if kept >= floor {
			return
		}
		if s.Worth == Good && !d.out[i].Keep {
			d.keep(i, fmt.Sprintf("%s (%d)", reasonMinKeep, floor))
			kept++
		}
	}
}

func (d *deciding) explainRest() {
	for i, s := range d.all {
		if d.out[i].Keep {
			continue
		}
		reason := reasonNoRule
		if s.Worth == Partial {
			reason = reasonSuperseded + " (partial, older than the last good one)"
		}
		d.out[i].Reasons = append(d.out[i].Reasons, reason)
	}
}
