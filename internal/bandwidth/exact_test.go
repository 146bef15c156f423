package bandwidth

import (
	"math"
	"testing"
	"time"
)

// By a clock that stands still but for the waits, the rate is what was asked for,
// also through a change of hours.
func TestRateIsExact(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{Least, 100e3, 3e6, 50e6, 1e9, 20e9} {
		now := time.Date(2026, 1, 15, 7, 59, 57, 0, time.UTC)
		plan := Plan{LimitBPS: limit, Windows: []Window{{From: "08:00", To: "18:00", LimitBPS: 2 * limit}}}
		l, err := NewLimiter(plan, func() time.Time { return now })
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int64{limit, 2 * limit} {
			var passed int64
			begin := now
			for now.Sub(begin) < 3*time.Second {
				n := l.most()
				passed += int64(n)
				now = now.Add(l.take(n))
			}
			rate := float64(passed) / now.Sub(begin).Seconds()
			if off := math.Abs(rate/float64(want) - 1); off > 0.06 {
				t.Errorf("a limit of %d gave %.0f", want, rate)
			}
		}
	}
}

// However slow it is, nobody is held back for long at once.
func TestStepsAreShort(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	l, err := NewLimiter(Plan{LimitBPS: Least}, func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		wait := l.take(l.most())
		if wait > 100*time.Millisecond {
			t.Fatalf("held back for %v", wait)
		}
		now = now.Add(wait)
	}
}
