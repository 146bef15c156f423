package schedule

import (
	"slices"
	"strings"
	"time"

	"github.com/netresearch/go-cron"
)

// cronTimes are slots that a cron expression names. The library reads the
// expression and finds matches on the wall, where every day has 24 hours;
// what becomes of them where the clocks change is decided here.
type cronTimes struct {
	fields *cron.SpecSchedule
	zone   *time.Location
	window window
}

// nicknames are the words that stand for five fields.
func nicknames() map[string]string {
	return map[string]string{
		"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
		"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
	}
}

const (
	cronLength = 200
	// searchYears takes in the eight years without a 29th of February around 2100.
	searchYears = 12
)

// parseCron reads an expression, or says what is wrong with it.
func parseCron(text string) (cronTimes, string) {
	const form = `it must have five fields (minute, hour, day of the month, month, day of the week), such as "30 2 * * *", ` +
		"or be one of @hourly, @daily, @weekly, @monthly, @yearly"
	if len(text) > cronLength {
		return cronTimes{}, "it is longer than 200 characters"
	}
	expression := text
	if strings.HasPrefix(text, "@") {
		var ok bool
		if expression, ok = nicknames()[strings.ToLower(text)]; !ok {
			return cronTimes{}, form
		}
	}
	fields := strings.Fields(expression)
	if len(fields) != 5 || strings.Contains(fields[0], "=") {
		return cronTimes{}, form
	}
	for _, field := range fields {
		if slices.Contains(strings.Split(field, ","), "") {
			return cronTimes{}, "a list in it has an empty part"
		}
	}
	parser, err := cron.TryNewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	if err != nil {
		return cronTimes{}, err.Error()
	}
	parsed, err := parser.WithMaxSearchYears(searchYears).Parse(strings.Join(fields, " "))
	if err != nil {
		return cronTimes{}, "it cannot be read: " + err.Error()
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return cronTimes{}, form
	}
	spec.Location = time.UTC
	return cronTimes{fields: spec}, ""
}

// everyHour: such an expression follows the elapsed time.
func (c cronTimes) everyHour() bool { return c.fields.Hour&allHours == allHours }

const allHours = 1<<24 - 1

// maxPeriods bounds the search; a zone has a few changes of its clocks a year.
const maxPeriods = 16 * searchYears

func (c cronTimes) next(t time.Time) time.Time {
	p := periodOf(t, c.zone)
	for range maxPeriods {
		wall := c.match(p, t.UTC().Add(p.offset))
		if wall.IsZero() {
			return time.Time{}
		}
		slot := wall.Add(-p.offset)
		if p.end.IsZero() || slot.Before(p.end) {
			return slot
		}
		if c.skippedAt(p) {
			return p.end.UTC()
		}
		// Go on from just before the next period, whose first moment counts.
		t = p.end.Add(-time.Nanosecond)
		p = periodOf(p.end, c.zone)
	}
	return time.Time{}
}

// match is the first time on the wall behind the one given that counts in this
// period.
func (c cronTimes) match(p period, wall time.Time) time.Time {
	for range windowTries {
		wall = c.fields.Next(wall)
		switch {
		case wall.IsZero():
			return wall
		case !c.window.has(wall):
			wall = c.window.opens(wall).Add(-time.Second)
		case p.repeats(wall) && !c.everyHour():
		default:
			return wall
		}
	}
	return time.Time{}
}

// skippedAt reports whether the change at the period's end skips a time of the
// expression.
func (c cronTimes) skippedAt(p period) bool {
	if p.after <= p.offset || c.everyHour() {
		return false
	}
	from, until := p.end.UTC().Add(p.offset), p.end.UTC().Add(p.after)
	for wall := from.Add(-time.Second); ; {
		wall = c.fields.Next(wall)
		if wall.IsZero() || !wall.Before(until) {
			return false
		}
		if c.window.has(wall) {
			return true
		}
	}
}
