package simulation

import (
	"slices"
	"strings"
	"time"
)

// slotRule says when a schedule has slots, restated from what the documentation
// promises and as slow as it may be: minute by minute.
type slotRule interface {
	// slots lists those after from, up to and including to, in order.
	slots(from, to time.Time) []time.Time
}

// daily has slots at times of the day, "02:30", by a wall clock.
type daily struct {
	zone  *time.Location
	times []string
	// only is the one weekday that counts; nil: all do.
	only *time.Weekday
}

// slots takes the first minute at which the wall clock shows the wanted time or,
// where it skips that one, a later one.
func (d daily) slots(from, to time.Time) []time.Time {
	var found []time.Time
	for date := from.AddDate(0, 0, -2); !date.After(to.AddDate(0, 0, 2)); date = date.AddDate(0, 0, 1) {
		y, m, day := date.UTC().Date()
		midnight := time.Date(y, m, day, 0, 0, 0, 0, time.UTC)
		if d.only != nil && midnight.Weekday() != *d.only {
			continue
		}
		for _, at := range d.times {
			slot := d.first(midnight, midnight.Format(time.DateOnly)+" "+at)
			if slot.After(from) && !slot.After(to) && !slices.ContainsFunc(found, slot.Equal) {
				found = append(found, slot)
			}
		}
	}
	slices.SortFunc(found, time.Time.Compare)
	return found
}

func (d daily) first(midnight time.Time, reading string) time.Time {
	for at := midnight.Add(-15 * time.Hour); ; at = at.Add(time.Minute) {
		if strings.Compare(at.In(d.zone).Format("2006-01-02 15:04"), reading) >= 0 {
			return at
		}
	}
}

// hourly has a slot in each hour at a minute, between two hours of the wall clock.
type hourly struct {
	zone        *time.Location
	minute      int
	since, till int // till is not part of it
}

func (h hourly) slots(from, to time.Time) []time.Time {
	var found []time.Time
	for at := from.Truncate(time.Minute).Add(time.Minute); !at.After(to); at = at.Add(time.Minute) {
		if local := at.In(h.zone); local.Minute() == h.minute && local.Hour() >= h.since && local.Hour() < h.till {
			found = append(found, at)
		}
	}
	return found
}

// interval has slots so far apart, counted from an anchor.
type interval struct {
	anchor time.Time
	every  time.Duration
}

func (i interval) slots(from, to time.Time) []time.Time {
	var found []time.Time
	for at := i.anchor.Add(i.every); !at.After(to); at = at.Add(i.every) {
		if at.After(from) {
			found = append(found, at)
		}
	}
	return found
}

// never is a schedule that is not enabled.
type never struct{}

func (never) slots(_, _ time.Time) []time.Time { return nil }
