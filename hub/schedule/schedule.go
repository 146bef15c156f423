// Package schedule says when a source is to be backed up. It is pure: whoever
// asks hands in the time, nothing here waits, and no clock is read.
//
// A schedule is a sequence of slots, moments at which it wants a backup. They
// come from a cron expression read in a time zone, or are a number of minutes
// apart. A slot is told by its moment alone, so that two that ask get the
// same slots, in any order and as often as they like.
//
// Where a zone's clocks change, a cron expression means this:
//
//   - A time that the clocks skip is made up for at the moment of the change: a
//     backup at 02:30 runs at 03:00 that day. Several skipped times are one slot.
//   - A time that the clocks show twice counts the first time only.
//   - An expression that takes in every hour of the day follows the elapsed
//     time instead, as "every 15 minutes" is meant: nothing is made up for,
//     and the hour that comes twice has its slots twice.
//
// Intervals know nothing of clocks that change.
package schedule

import (
	"time"
)

// Spec is a schedule as a person writes it.
type Spec struct {
	// Cron is five fields or a word such as @daily; empty where
	// IntervalMinutes is set.
	Cron string
	// IntervalMinutes is the time between two slots, up to a year.
	IntervalMinutes int
	// Timezone is an IANA name, such as Europe/Berlin. Empty means UTC.
	Timezone string
	// JitterSeconds is how much later than its slot a backup may begin.
	JitterSeconds int
	// Window is the hours of the day in which slots lie, "22:00-06:00";
	// empty: all.
	Window string
	// Anchor is where intervals count from.
	Anchor time.Time
}

// Fault is what is wrong with one field of a Spec, by the field's name in JSON.
type Fault struct{ Field, Message string }

// Schedule is a valid Spec. It does not change and may be used by many at once.
type Schedule struct {
	spec   Spec
	zone   *time.Location
	times  times
	window window
}

// times finds slots, whatever they come from.
type times interface {
	// next is the first slot behind t; zero: there is none for years.
	next(t time.Time) time.Time
	words() string
}

const (
	maxInterval = 366 * 24 * 60
	maxJitter   = 24 * 60 * 60
)

// Parse checks a Spec, and names every field that is wrong.
func Parse(spec Spec) (*Schedule, []Fault) { return new(Parser).Parse(spec) }

// Parse is as the function of this name.
func (p *Parser) Parse(spec Spec) (*Schedule, []Fault) {
	var faults []Fault
	fault := func(field, message string) {
		if message != "" {
			faults = append(faults, Fault{field, message})
		}
	}
	s := &Schedule{spec: spec}
	var message string
	s.zone, message = p.zone(spec.Timezone)
	fault("timezone", message)
	s.window, message = parseWindow(spec.Window)
	fault("window", message)
	if spec.JitterSeconds < 0 || spec.JitterSeconds > maxJitter {
		fault("jitter_seconds", "it must be between 0 and 86400")
	}
	var expression cronTimes
	switch {
	case spec.Cron != "" && spec.IntervalMinutes != 0:
		fault("interval_minutes", "give cron or interval_minutes, not both")
	case spec.Cron != "":
		expression, message = parseCron(spec.Cron)
		fault("cron", message)
	case spec.IntervalMinutes == 0:
		fault("cron", "give cron or interval_minutes")
	case spec.IntervalMinutes < 0 || spec.IntervalMinutes > maxInterval:
		fault("interval_minutes", "it must be between 1 and 527040, which is a year")
	}
	if len(faults) > 0 {
		return nil, faults
	}
	if spec.Cron != "" {
		expression.zone, expression.window = s.zone, s.window
		s.times = expression
	} else {
		s.times = intervalTimes{
			anchor: spec.Anchor.Truncate(time.Second), every: time.Duration(spec.IntervalMinutes) * time.Minute,
			zone: s.zone, window: s.window,
		}
	}
	if s.Next(spec.Anchor).IsZero() {
		if spec.Window == "" {
			return nil, []Fault{{"cron", "no day is ever such a day"}}
		}
		return nil, []Fault{{"window", "no time of this schedule lies in it"}}
	}
	return s, nil
}

// Next is the first slot behind t; zero where there is none for years.
func (s *Schedule) Next(t time.Time) time.Time { return s.times.next(t) }

// firstStep is where Last begins to look back.
const (
	firstStep = time.Minute
	lookBack  = 12 * 366 * 24 * time.Hour
)

// Last is the latest slot that is not behind t; zero where there was none for
// years. What it costs does not grow with the slots before.
func (s *Schedule) Last(t time.Time) time.Time {
	// Twice as far back each time, until a slot lies in between: so that only
	// those of the last half are gone through.
	for step := firstStep; step < lookBack; step *= 2 {
		slot := s.Next(t.Add(-step))
		if slot.IsZero() || slot.After(t) {
			continue
		}
		for {
			following := s.Next(slot)
			if following.IsZero() || following.After(t) {
				return slot
			}
			slot = following
		}
	}
	return time.Time{}
}

// NextRuns are the next n slots behind t; jitter comes on top.
func (s *Schedule) NextRuns(t time.Time, n int) []time.Time {
	runs := make([]time.Time, 0, n)
	for range n {
		if t = s.Next(t); t.IsZero() {
			break
		}
		runs = append(runs, t)
	}
	return runs
}

// Due is when the slot of the schedule with this id is acted on: jitter later,
// by the same amount whoever asks, but within the window and long before the
// slot that follows.
func (s *Schedule) Due(id [16]byte, slot time.Time) time.Time {
	jitter := time.Duration(s.spec.JitterSeconds) * time.Second
	if jitter == 0 {
		return slot
	}
	if following := s.Next(slot); !following.IsZero() {
		jitter = min(jitter, following.Sub(slot)/2)
	}
	if left, limited := s.window.left(wallOf(slot, s.zone)); limited {
		jitter = min(jitter, left)
	}
	return slot.Add(spread(id, slot, jitter))
}
