// Package bandwidth says how many bytes a second may pass between a worker and
// its sources, by the hours of the day, and holds connections to it.
//
// A Plan is what users write, as JSON or as one line of text; a Limiter is a plan
// in force, which any number of connections share; a Dialer makes connections
// that keep to limiters. What counts are the bytes of a connection itself, in both
// directions, whatever they are: content, listings, encryption.
package bandwidth

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"
	_ "time/tzdata" // the program is static and may run where there are no zones
)

// Least is the smallest limit, in bytes a second: with less, a connection can
// hardly be made, and takes itself for dead.
const Least = 10_000

// Most is the largest limit; nothing is as fast.
const Most = 1_000_000_000_000

const (
	maxWindows  = 50
	maxTimezone = 64
	minutes     = 24 * 60 // of a day
)

// Plan is a limit by the hours of the day. The zero Plan limits nothing.
type Plan struct {
	// LimitBPS is the limit in bytes a second outside of all windows; 0: none.
	LimitBPS int64 `json:"limit_bps"`
	// Windows are hours with a limit of their own. The first one that holds counts.
	Windows []Window `json:"windows,omitempty"`
	// Timezone is the IANA zone of the windows. Default UTC.
	Timezone string `json:"timezone,omitempty"`
}

// Window is a part of the day, as a zone's clocks show it.
type Window struct {
	// From and To are "08:00" and "18:00"; To is "24:00" at most. Where From is
	// the later one, the window lasts into the next day.
	From string `json:"from"`
	To   string `json:"to"`
	// Days are those on which it begins: "mon" to "sun". Default: every day.
	Days []string `json:"days,omitempty"`
	// LimitBPS is the limit in bytes a second; 0: none.
	LimitBPS int64 `json:"limit_bps"`
}

// Fault names what is wrong with a plan.
type Fault struct { //nolint:errname // the word for it in every API here
	Field   string // "windows[0].from"
	Message string
}

// Error makes a fault an error.
func (f Fault) Error() string { return f.Field + " " + f.Message }

// IsZero reports whether the plan limits nothing.
func (p *Plan) IsZero() bool { return p.LimitBPS == 0 && len(p.Windows) == 0 }

// Decode reads a plan's JSON; none is a plan that limits nothing.
func Decode(raw []byte) (Plan, error) {
	var p Plan
	if len(raw) == 0 {
		return p, nil
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return Plan{}, fmt.Errorf("decode bandwidth plan: %w", err)
	}
	if faults := p.Check(); len(faults) > 0 {
		return Plan{}, fmt.Errorf("bandwidth plan: %w", faults[0])
	}
	return p, nil
}

// Check finds every fault.
func (p *Plan) Check() []Fault {
	_, faults := p.compile()
	return faults
}

// days in the order of time.Weekday.
func days() []string { return []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} }

// hours is a plan that can be asked.
type hours struct {
	limit int64
	parts []part
	zone  *time.Location
}

type part struct {
	from, to int // minutes of the day
	days     [7]bool
	limit    int64
}

func (p *Plan) compile() (hours, []Fault) {
	var faults []Fault
	fault := func(field, message string) { faults = append(faults, Fault{field, message}) }
	h := hours{limit: p.LimitBPS, zone: time.UTC}
	if m := badLimit(p.LimitBPS); m != "" {
		fault("limit_bps", m)
	}
	if len(p.Windows) > maxWindows {
		fault("windows", fmt.Sprintf("there may be %d of them at most", maxWindows))
		return h, faults
	}
	for i, w := range p.Windows {
		one, wrong := w.compile()
		for _, f := range wrong {
			fault(fmt.Sprintf("windows[%d].%s", i, f.Field), f.Message)
		}
		h.parts = append(h.parts, one)
	}
	if p.Timezone != "" {
		zone, err := time.LoadLocation(p.Timezone)
		if err != nil || p.Timezone == "Local" || len(p.Timezone) > maxTimezone {
			fault("timezone", `must be an IANA time zone, such as "Europe/Berlin"`)
		} else {
			h.zone = zone
		}
	}
	return h, faults
}

func badLimit(limit int64) string {
	if limit == 0 || limit >= Least && limit <= Most {
		return ""
	}
	return fmt.Sprintf("must be 0 (no limit) or between %d and %d bytes a second", Least, int64(Most))
}

func (w *Window) compile() (part, []Fault) {
	var faults []Fault
	fault := func(field, message string) { faults = append(faults, Fault{field, message}) }
	one := part{limit: w.LimitBPS}
	var ok bool
	if one.from, ok = minuteOf(w.From); !ok || one.from == minutes {
		fault("from", `must be a time of day, from "00:00" to "23:59"`)
	}
	if one.to, ok = minuteOf(w.To); !ok {
		fault("to", `must be a time of day, from "00:00" to "24:00"`)
	} else if one.to == one.from {
		fault("to", `must not be the same as from; a whole day is "00:00" to "24:00"`)
	}
	if m := badLimit(w.LimitBPS); m != "" {
		fault("limit_bps", m)
	}
	for i, name := range w.Days {
		day := slices.Index(days(), name)
		if day < 0 {
			fault(fmt.Sprintf("days[%d]", i), `must be one of "mon", "tue", "wed", "thu", "fri", "sat", "sun"`)
			continue
		}
		one.days[day] = true
	}
	if len(w.Days) == 0 {
		one.days = [7]bool{true, true, true, true, true, true, true}
	}
	return one, faults
}

// minuteOf reads "08:30".
func minuteOf(text string) (int, bool) {
	if text == "24:00" {
		return minutes, true
	}
	if len(text) != len("08:30") {
		return 0, false
	}
	t, err := time.Parse("15:04", text)
	return t.Hour()*60 + t.Minute(), err == nil
}

// at gives the limit at a moment, as the clocks show it then; 0: none.
func (h *hours) at(t time.Time) int64 {
	t = t.In(h.zone)
	minute, day := t.Hour()*60+t.Minute(), t.Weekday()
	for _, p := range h.parts {
		if p.holds(minute, day) {
			return p.limit
		}
	}
	return h.limit
}

func (p *part) holds(minute int, day time.Weekday) bool {
	if p.from < p.to {
		return p.days[day] && p.from <= minute && minute < p.to
	}
	yesterday := (day + 6) % 7
	return p.days[day] && minute >= p.from || p.days[yesterday] && minute < p.to
}
