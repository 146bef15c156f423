package schedule

import (
	"sync"
	"time"
	_ "time/tzdata" // the program is static and may run where there are no zones
)

// Parser parses many schedules: it reads each zone once. The zero value is ready,
// and may be used by many at once.
type Parser struct{ zones sync.Map }

const unknownZone = `it is not an IANA time zone, such as "Europe/Berlin"`

// zone gives the zone, or what is wrong with it.
func (p *Parser) zone(name string) (*time.Location, string) {
	if known, ok := p.zones.Load(name); ok {
		if zone, ok := known.(*time.Location); ok {
			return zone, ""
		}
	}
	switch name {
	case "":
		return time.UTC, ""
	case "Local": // the hub's own, which differs from hub to hub
		return nil, unknownZone
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, unknownZone
	}
	p.zones.Store(name, zone) // there are only so many that exist
	return zone, ""
}

// A time on the wall is what a zone's clocks show, kept as if it were UTC: so it
// can be counted with, though the clocks may skip it or show it twice.

// wallOf is what the clocks show at t.
func wallOf(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	_, offset := t.Zone()
	return t.UTC().Add(time.Duration(offset) * time.Second)
}

// period is a time in which a zone's clocks do not change.
type period struct {
	start, end time.Time // zero: there is no change before, after
	offset     time.Duration
	// before and after are the offsets of the periods around it.
	before, after time.Duration
}

// periodOf is the period in which t lies.
func periodOf(t time.Time, zone *time.Location) period {
	t = t.In(zone)
	p := period{offset: offsetAt(t)}
	p.before, p.after = p.offset, p.offset
	p.start, p.end = t.ZoneBounds()
	if !p.start.IsZero() {
		p.before = offsetAt(p.start.Add(-time.Second))
	}
	if !p.end.IsZero() {
		p.after = offsetAt(p.end)
	}
	return p
}

func offsetAt(t time.Time) time.Duration {
	_, offset := t.Zone()
	return time.Duration(offset) * time.Second
}

// repeats reports whether the clocks showed this before, in the period before.
func (p period) repeats(wall time.Time) bool {
	return !p.start.IsZero() && wall.Before(p.start.UTC().Add(p.before))
}
