package simulation

import (
	"fmt"
	"time"

	"xvault/e2e/system"
)

// recorded is what the hub says became of a slot.
type recorded struct {
	Slot      time.Time  `json:"slot"`
	Through   *time.Time `json:"through"`
	Outcome   string     `json:"outcome"`
	JobID     string     `json:"job_id"`
	CreatedAt time.Time  `json:"created_at"`
}

func (r recorded) covers(at time.Time) bool {
	if r.Through != nil {
		return !at.Before(r.Slot) && !at.After(*r.Through)
	}
	return at.Equal(r.Slot)
}

// onTime is how late a slot may be acted on while hubs are up: what falls due
// within a minute is one moment here, and clearing up after a fault takes
// seconds.
const onTime = 4 * time.Minute

// judgeSlots is invariant I8: each slot has one job or a recorded reason for
// having none, and there is no other job than those and what people asked for.
func (w *World) judgeSlots() {
	w.t.Helper()
	now := w.clock.now()
	jobs := map[string]bool{} // of slots
	w.report.slots = 0
	for _, s := range w.sources {
		for _, c := range s.schedules {
			rows := w.recordedOf(c)
			for _, r := range rows {
				if r.Outcome == "job" && jobs[r.JobID] {
					w.report.violation("I8: job %s stands for two slots, one of them %s of schedule %s", r.JobID, r.Slot, c.id)
				}
				jobs[r.JobID] = true
			}
			w.judgeSchedule(s, c, rows, now)
		}
	}
	for _, row := range w.rows(`SELECT id::text, source_id::text, run_after::text FROM jobs
		WHERE status = 'queued' AND type = 'backup' AND run_after > xvault_now() + interval '25 h'`) {
		w.report.violation("I8: backup %s of source %s waits until %s, and all that come after it with it", row[0], row[1], row[2])
	}
	for _, row := range w.rows(`SELECT id::text, source_id::text FROM jobs WHERE type = 'backup'`) {
		if !jobs[row[0]] && !w.posted[row[0]] {
			w.report.violation("I8: nobody asked for backup %s of source %s", row[0], row[1])
		}
	}
}

func (w *World) recordedOf(c *schedule) []recorded {
	var all []recorded
	for cursor := ""; ; {
		page := system.Get[struct {
			Items []recorded `json:"items"`
			Next  string     `json:"next_cursor"`
		}](w.t, w.lab.API, "/api/v1/schedules/"+c.id+"/slots?limit=500"+cursor)
		all = append(all, page.Items...)
		if page.Next == "" {
			return all
		}
		cursor = "&cursor=" + page.Next
	}
}

// slotAt is a slot that the judge expects, and by when it is acted on at the latest.
type slotAt struct {
	at, by time.Time
}

// expected lists the slots of a schedule that were due by now.
func (c *schedule) expected(now time.Time) []slotAt {
	var all []slotAt
	for _, l := range c.lives {
		until := l.to
		if now.Before(until) {
			until = now
		}
		for _, at := range l.rule.slots(l.from, until) {
			all = append(all, slotAt{at, at.Add(l.jitter + onTime)})
		}
	}
	return all
}

func (w *World) judgeSchedule(s *source, c *schedule, rows []recorded, now time.Time) {
	w.t.Helper()
	used := make([]int, len(rows))
	expected := c.expected(now)
	w.report.slots += len(expected)
	for _, slot := range expected {
		var found []int
		for i, r := range rows {
			if r.covers(slot.at) {
				found = append(found, i)
				used[i]++
			}
		}
		switch {
		case len(found) == 0 && slot.by.After(now): // jitter
		case len(found) != 1:
			w.report.violation("I8: slot %s of schedule %s (%s) has %d entries", slot.at.Format(time.DateTime), c.id, c.name(), len(found))
		default:
			w.judgeSlot(s, c, slot, rows, rows[found[0]])
		}
	}
	for i, r := range rows {
		// Where the clock is behind, what came in its time is still to come.
		behind := r.Slot.After(now) && !r.CreatedAt.Before(r.Slot)
		if ahead := r.Outcome == "job" && w.misdated(r.CreatedAt); used[i] == 0 && !ahead && !behind {
			w.report.violation("I8: schedule %s (%s) has an entry for %s, which is no slot of its: %s", c.id, c.name(), r.Slot.Format(time.DateTime), r.Outcome)
		}
	}
}

// judgeSlot looks whether what became of a slot had to.
func (w *World) judgeSlot(s *source, c *schedule, slot slotAt, rows []recorded, r recorded) {
	w.t.Helper()
	fault := ""
	switch r.Outcome {
	case "job":
		if r.CreatedAt.After(slot.by) && !w.excused(slot, r) {
			fault = fmt.Sprintf("was acted on as late as %s", r.CreatedAt.Format(time.DateTime))
		}
	case "missed":
		if !w.excused(slot, r) {
			fault = "was missed, and a hub was there"
		}
	case "skipped_disabled":
		if !s.wasDisabled(slot) {
			fault = "was skipped as disabled, which its source was not"
		}
	case "skipped_overlap":
		if !w.overlapped(rows, slot, r) {
			fault = "was skipped for a backup before, which had ended"
		}
	default:
		fault = "became " + r.Outcome
	}
	if fault != "" {
		w.report.violation("I8: slot %s of schedule %s (%s) %s", slot.at.Format(time.DateTime), c.id, c.name(), fault)
	}
}

// excused: there was no hub at that time, or the clock was wrong.
func (w *World) excused(slot slotAt, r recorded) bool {
	for _, e := range w.excuses {
		if !e.slots.to.Before(slot.at) && !e.slots.from.After(slot.by) || e.written.has(r.CreatedAt) {
			return true
		}
	}
	return false
}

// misdated: written while the clock was wrong.
func (w *World) misdated(at time.Time) bool {
	for _, e := range w.excuses {
		if e.written.has(at) {
			return true
		}
	}
	return false
}

func (s *source) wasDisabled(slot slotAt) bool {
	for _, d := range s.disabled {
		if d.has(slot.at) || d.has(slot.by) {
			return true
		}
	}
	return false
}

// overlapped: the job of an earlier slot had not ended.
func (w *World) overlapped(rows []recorded, slot slotAt, skipped recorded) bool {
	var ids []string
	for _, r := range rows {
		if r.Outcome == "job" && r.Slot.Before(slot.at) || w.misdated(r.CreatedAt) && r.JobID != "" {
			ids = append(ids, r.JobID)
		}
	}
	return w.lab.One(w.t, `SELECT count(*)::text FROM jobs WHERE id = ANY($1::uuid[]) AND (finished_at IS NULL OR finished_at >= $2::timestamptz - interval '1 min')`,
		ids, skipped.CreatedAt) != "0"
}

func (c *schedule) name() string {
	if c.cron == "" {
		return fmt.Sprintf("every %v", c.every)
	}
	return c.cron + " " + c.zone
}
