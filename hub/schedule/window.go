package schedule

import (
	"fmt"
	"regexp"
	"time"
)

// window is the hours of the day in which slots lie: from the minute of the
// day on, until before the other one, over midnight where that comes first.
type window struct {
	from, until int
	limited     bool
}

const (
	dayMinutes = 24 * 60
	windowForm = `it must be hours of the day, such as "22:00-06:00"`
)

var windowPattern = regexp.MustCompile(`^([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-4]):([0-5]\d)$`)

// parseWindow gives the window, or what is wrong with it.
func parseWindow(text string) (window, string) {
	if text == "" {
		return window{}, ""
	}
	if !windowPattern.MatchString(text) {
		return window{}, windowForm
	}
	var h1, m1, h2, m2 int
	if _, err := fmt.Sscanf(text, "%d:%d-%d:%d", &h1, &m1, &h2, &m2); err != nil {
		return window{}, windowForm
	}
	w := window{from: h1*60 + m1, until: h2*60 + m2, limited: true}
	switch {
	case w.until > dayMinutes:
		return window{}, windowForm
	case w.from == w.until:
		return window{}, "it begins when it ends"
	}
	return w, ""
}

// has reports whether a time on the wall lies in the window.
func (w window) has(wall time.Time) bool {
	if !w.limited {
		return true
	}
	minute := wall.Hour()*60 + wall.Minute()
	if w.from < w.until {
		return minute >= w.from && minute < w.until
	}
	return minute >= w.from || minute < w.until
}

// opens is when the window opens next, behind a time on the wall.
func (w window) opens(wall time.Time) time.Time {
	day := time.Date(wall.Year(), wall.Month(), wall.Day(), 0, 0, 0, 0, wall.Location())
	at := day.Add(time.Duration(w.from) * time.Minute)
	if !at.After(wall) {
		at = at.Add(dayMinutes * time.Minute)
	}
	return at
}

// left is for how long the window stays open after a time in it; false:
// forever.
func (w window) left(wall time.Time) (time.Duration, bool) {
	if !w.limited || !w.has(wall) {
		return 0, w.limited
	}
	day := time.Date(wall.Year(), wall.Month(), wall.Day(), 0, 0, 0, 0, wall.Location())
	end := day.Add(time.Duration(w.until) * time.Minute)
	if !end.After(wall) {
		end = end.Add(dayMinutes * time.Minute)
	}
	return end.Sub(wall), true
}
