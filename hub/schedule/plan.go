package schedule

import "time"

// Outcome is what becomes of a slot.
type Outcome string

// The outcomes. Each slot has exactly one.
const (
	Job             Outcome = "job"              // a backup was queued
	Missed          Outcome = "missed"           // no hub was there at its time, and a later slot stands for it
	SkippedOverlap  Outcome = "skipped_overlap"  // the backup of an earlier slot had not ended
	SkippedDisabled Outcome = "skipped_disabled" // the source was disabled
)

// Slot is a slot and what becomes of it.
type Slot struct {
	At time.Time
	// Through is the last slot of those that one entry stands for, after a long
	// absence; zero: it stands for At alone.
	Through time.Time
	Outcome Outcome
	// RunAfter is when the job may begin, where there is one.
	RunAfter time.Time
}

// State is what is known of a schedule when its slot is due.
type State struct {
	ID       [16]byte
	Slot     time.Time // the slot that is due
	Running  bool      // the backup of its last slot has not ended
	Disabled bool      // the source is not to be backed up
}

// Step is what to record, and when to look again.
type Step struct {
	Slots []Slot
	Next  time.Time // the next slot; zero: there is none
	Due   time.Time // when to act on it
}

const (
	// lateAfter is how late a slot may be acted on before it counts as caught up.
	lateAfter = 2 * time.Minute
	// CatchUpSpread bounds how far the backups are spread that are caught up on
	// after an absence, so that not all begin at once. Jitter may be longer.
	CatchUpSpread = 5 * time.Minute
	// maxMissed is how many missed slots have an entry each; those before them
	// share one.
	maxMissed = 50
)

// Step decides what becomes of the slot that is due, and of all slots behind it
// that have passed: only the latest yields a job, so that a schedule
// catches up once, however long nobody looked.
func (s *Schedule) Step(state State, now time.Time) Step {
	missed, latest := s.passed(state.Slot, now)
	step := Step{Slots: missed}
	if due := s.Due(state.ID, latest); due.After(now) {
		step.Next, step.Due = latest, due
		return step
	}
	if step.Next = s.Next(latest); !step.Next.IsZero() {
		step.Due = s.Due(state.ID, step.Next)
	}
	slot := Slot{At: latest}
	switch begin := s.begin(state.ID, latest, step.Next, now); {
	case state.Disabled:
		slot.Outcome = SkippedDisabled
	case state.Running:
		slot.Outcome = SkippedOverlap
	case begin.IsZero():
		slot.Outcome = Missed
	default:
		slot.Outcome, slot.RunAfter = Job, begin
	}
	step.Slots = append(step.Slots, slot)
	return step
}

// Plan is the first step of a schedule: nothing has passed yet.
func (s *Schedule) Plan(id [16]byte, now time.Time) Step {
	step := Step{Next: s.Next(now)}
	if !step.Next.IsZero() {
		step.Due = s.Due(id, step.Next)
	}
	return step
}

// passed goes from the slot that is due to the latest that has passed, and
// records those before it as missed.
func (s *Schedule) passed(first, now time.Time) (missed []Slot, latest time.Time) {
	for at := first; len(missed) <= maxMissed; {
		following := s.Next(at)
		if following.IsZero() || following.After(now) {
			return missed, at
		}
		missed = append(missed, Slot{At: at, Outcome: Missed})
		at = following
	}
	latest = s.Last(now)
	recent := make([]Slot, maxMissed)
	at := latest
	for i := range recent {
		at = s.Last(at.Add(-time.Nanosecond))
		recent[maxMissed-1-i] = Slot{At: at, Outcome: Missed}
	}
	through := s.Last(at.Add(-time.Nanosecond))
	if through.Before(recent[0].At) && !through.Before(first) {
		rest := Slot{At: first, Outcome: Missed}
		if through.After(first) {
			rest.Through = through
		}
		recent = append([]Slot{rest}, recent...)
	}
	return recent, latest
}

// begin is when the job of a slot may begin: at once, or, where the slot is
// caught up on, spread over some minutes, within the window, and before the slot
// that follows. Zero: not before that one, which then stands for this one too.
func (s *Schedule) begin(id [16]byte, slot, following, now time.Time) time.Time {
	if now.Sub(s.Due(id, slot)) <= lateAfter {
		return now
	}
	begin := now
	if wall := wallOf(now, s.zone); !s.window.has(wall) {
		begin = now.Add(s.window.opens(wall).Sub(wall))
	}
	most := max(CatchUpSpread, time.Duration(s.spec.JitterSeconds)*time.Second)
	if !following.IsZero() {
		if !following.After(begin) {
			return time.Time{}
		}
		most = min(most, following.Sub(begin)/2)
	}
	return begin.Add(spread(id, slot, most))
}
