package retention

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is a length of time by the calendar: a month before the 31st is the day
// that the standard library makes of it.
type Span struct{ Years, Months, Days, Hours int }

const spanForm = `it must be a span of years, months, weeks, days and hours, such as "1y6m2w7d12h"`

var errSpan = errors.New(spanForm)

// maxSpan bounds each number, so that no sum of them overflows.
const maxSpan = 1_000_000

// ParseSpan reads numbers, each with its unit behind it: y, m (months), w, d, h.
// An empty text is no span at all. A unit that comes twice adds up.
func ParseSpan(text string) (Span, error) {
	var s Span
	for text != "" {
		end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
		if end <= 0 {
			return Span{}, errSpan
		}
		n, err := strconv.Atoi(text[:end])
		if err != nil || n > maxSpan {
			return Span{}, fmt.Errorf("its numbers are at most %d", maxSpan)
		}
		unit, weight := unitOf(&s, text[end])
		if unit == nil {
			return Span{}, errSpan
		}
		if *unit += n * weight; *unit > maxSpan {
			return Span{}, fmt.Errorf("its numbers are at most %d", maxSpan)
		}
		text = text[end+1:]
	}
	return s, nil
}

func unitOf(s *Span, letter byte) (count *int, weight int) {
	switch letter {
	case 'y':
		return &s.Years, 1
	case 'm':
		return &s.Months, 1
	case 'w':
		return &s.Days, 7
	case 'd':
		return &s.Days, 1
	case 'h':
		return &s.Hours, 1
	default:
		return nil, 0
	}
}

// IsZero reports whether it has no length.
func (s Span) IsZero() bool { return s == Span{} }

// String gives the form that ParseSpan reads; empty for no span.
func (s Span) String() string {
	var b strings.Builder
	for _, part := range []struct {
		n    int
		unit byte
	}{{s.Years, 'y'}, {s.Months, 'm'}, {s.Days, 'd'}, {s.Hours, 'h'}} {
		if part.n > 0 {
			b.WriteString(strconv.Itoa(part.n))
			b.WriteByte(part.unit)
		}
	}
	return b.String()
}

// MarshalText gives the form that ParseSpan reads.
func (s Span) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText is ParseSpan.
func (s *Span) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSpan(string(text))
	return err
}

// before is the moment that lies a span before t, by t's calendar.
func (s Span) before(t time.Time) time.Time {
	return t.AddDate(-s.Years, -s.Months, -s.Days).Add(-time.Duration(s.Hours) * time.Hour)
}
