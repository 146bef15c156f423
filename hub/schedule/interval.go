package schedule

import "time"

// intervalTimes are slots at one distance from each other.
type intervalTimes struct {
	anchor time.Time
	every  time.Duration
	zone   *time.Location
	window window
}

// windowTries bounds the search for a slot in the window: years of days.
const windowTries = 4000

func (i intervalTimes) next(t time.Time) time.Time {
	for range windowTries {
		slot := i.behind(t)
		wall := wallOf(slot, i.zone)
		if i.window.has(wall) {
			return slot
		}
		// On to just before the window opens, as far as clocks that change allow.
		t = slot
		if wait := i.window.opens(wall).Sub(wall) - clockChange; wait > i.every {
			t = slot.Add(wait).Add(-time.Second)
		}
	}
	return time.Time{}
}

// clockChange is more than clocks are ever put forward at once, but for whole
// days.
const clockChange = 3 * time.Hour

// behind is the first slot behind t, whatever the window. The anchor itself is
// none: the first comes an interval later.
func (i intervalTimes) behind(t time.Time) time.Time {
	if t.Before(i.anchor) {
		return i.anchor.Add(i.every).UTC()
	}
	// Seconds, as a Duration spans no more than 292 years.
	every := int64(i.every / time.Second)
	n := (t.Unix() - i.anchor.Unix()) / every
	return time.Unix(i.anchor.Unix()+(n+1)*every, 0).UTC()
}
