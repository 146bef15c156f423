package schedule_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"xvault/hub/schedule"
)

// specs are schedules of all kinds.
func specs() *rapid.Generator[schedule.Spec] {
	return rapid.Custom(func(t *rapid.T) schedule.Spec {
		spec := schedule.Spec{
			Timezone: rapid.SampledFrom([]string{
				"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo", "Asia/Kolkata", "UTC",
			}).Draw(t, "zone"),
			JitterSeconds: rapid.SampledFrom([]int{0, 0, 30, 600, 7200}).Draw(t, "jitter"),
			Anchor:        at("2025-05-05T05:05:05Z"),
		}
		if rapid.Bool().Draw(t, "interval") {
			spec.IntervalMinutes = rapid.SampledFrom([]int{1, 5, 7, 60, 90, 360, 1440, 10080}).Draw(t, "minutes")
		} else {
			spec.Cron = rapid.SampledFrom([]string{
				"* * * * *", "*/15 * * * *", "30 2 * * *", "0 0 * * *", "15 */2 * * *", "0 3 * * 0", "0 0 1 * *", "45 1,2 * * *", "0 12 1 1 *",
				"*/10 2-4 * * *", "@hourly",
			}).Draw(t, "cron")
		}
		if spec.IntervalMinutes < 1440 {
			spec.Window = rapid.SampledFrom([]string{"", "", "00:00-24:00", "22:00-13:00"}).Draw(t, "window")
		}
		return spec
	})
}

// moments are times of all kinds, many of them where clocks change.
func moments() *rapid.Generator[time.Time] {
	edges := []string{
		"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", "2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z", "2026-04-04T15:00:00Z",
		"2026-10-03T15:30:00Z", "2026-04-23T22:00:00Z", "2026-10-29T21:00:00Z", "2026-07-01T00:00:00Z",
	}
	return rapid.Custom(func(t *rapid.T) time.Time {
		edge := at(rapid.SampledFrom(edges).Draw(t, "edge"))
		return edge.Add(time.Duration(rapid.Int64Range(-3*86400e3, 3*86400e3).Draw(t, "off")) * time.Millisecond)
	})
}

// TestSlotsAreASequence: whoever asks, from wherever, gets the same slots.
func TestSlotsAreASequence(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, faults := schedule.Parse(specs().Draw(t, "spec"))
		if len(faults) > 0 {
			t.Skip()
		}
		from := moments().Draw(t, "from")
		first := s.Next(from)
		second := s.Next(first)
		if !first.After(from) || !second.After(first) {
			t.Fatalf("after %v: %v, then %v", from, first, second)
		}
		between := first.Add(time.Duration(rapid.Int64Range(0, int64(second.Sub(first)-1)).Draw(t, "between")))
		if got := s.Next(between); !got.Equal(second) {
			t.Fatalf("after %v comes %v; asked at %v, %v comes", first, second, between, got)
		}
		if got := s.Last(between); !got.Equal(first) {
			t.Fatalf("before %v came %v, not %v", between, got, first)
		}
		if due := s.Due([16]byte{7}, first); due.Before(first) || !due.Before(second) {
			t.Fatalf("slot %v is due %v, the next is %v", first, due, second)
		}
	})
}

// TestStepsCoverEverySlot: with looks at any times, and however long nobody
// looks, each slot is recorded once, and one look yields at most one job.
func TestStepsCoverEverySlot(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		spec := specs().Draw(t, "spec")
		s, faults := schedule.Parse(spec)
		if len(faults) > 0 {
			t.Skip()
		}
		id := [16]byte{byte(rapid.IntRange(0, 255).Draw(t, "id"))}
		now := moments().Draw(t, "from")
		step := s.Plan(id, now)
		expected := s.Next(now)
		if !step.Next.Equal(expected) {
			t.Fatalf("planned %v, want %v", step.Next, expected)
		}
		for range rapid.IntRange(1, 8).Draw(t, "looks") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int64{0, 1, 60, 3600, 6 * 3600, 86400, 5 * 86400}).Draw(t, "pause"))*time.Second +
				step.Due.Sub(now))
			state := schedule.State{ID: id, Slot: step.Next, Running: rapid.Bool().Draw(t, "running")}
			step = s.Step(state, now)
			jobs := 0
			for _, slot := range step.Slots {
				if !slot.At.Equal(expected) {
					t.Fatalf("recorded %v as %s, want %v", slot.At, slot.Outcome, expected)
				}
				last := slot.At
				if !slot.Through.IsZero() {
					last = slot.Through
				}
				for !expected.After(last) {
					expected = s.Next(expected)
				}
				if slot.Outcome == schedule.Job {
					jobs++
					if slot.RunAfter.Before(now) || slot.RunAfter.After(step.Next) {
						t.Fatalf("at %v slot %v runs at %v, the next is %v", now, slot.At, slot.RunAfter, step.Next)
					}
				}
			}
			if jobs > 1 || state.Running && jobs > 0 || len(step.Slots) > 53 {
				t.Fatalf("one look yields %d jobs, %d entries", jobs, len(step.Slots))
			}
			if !step.Next.Equal(expected) || !step.Due.After(now) {
				t.Fatalf("at %v the next is %v, due %v; want %v", now, step.Next, step.Due, expected)
			}
		}
	})
}

func TestSixHoursAwayIsCaughtUpOnOnce(t *testing.T) {
	t.Parallel()
	s := parse(t, schedule.Spec{Cron: "@hourly"})
	now := at("2026-06-01T06:20:00Z")
	seen := map[time.Time]bool{}
	for id := range 100 {
		step := s.Step(schedule.State{ID: [16]byte{byte(id)}, Slot: at("2026-06-01T01:00:00Z")}, now)
		if len(step.Slots) != 6 {
			t.Fatalf("%d slots: %v", len(step.Slots), step.Slots)
		}
		for _, slot := range step.Slots[:5] {
			if slot.Outcome != schedule.Missed {
				t.Errorf("slot %v is %s", slot.At, slot.Outcome)
			}
		}
		last := step.Slots[5]
		if last.Outcome != schedule.Job || last.RunAfter.Before(now) || last.RunAfter.After(now.Add(schedule.CatchUpSpread)) {
			t.Errorf("the last is %+v", last)
		}
		seen[last.RunAfter] = true
	}
	if len(seen) < 95 {
		t.Errorf("100 schedules begin at only %d times", len(seen))
	}
}

func TestAYearAwayIsOneEntry(t *testing.T) {
	t.Parallel()
	s := parse(t, schedule.Spec{Cron: "* * * * *", Timezone: "Europe/Berlin"})
	first, now := at("2025-06-01T00:00:00Z"), at("2026-06-01T00:00:30Z")
	step := s.Step(schedule.State{Slot: first}, now)
	if len(step.Slots) != 52 || !step.Slots[0].At.Equal(first) || !step.Slots[0].Through.Equal(at("2026-05-31T23:09:00Z")) ||
		step.Slots[51].Outcome != schedule.Job || !step.Slots[51].At.Equal(at("2026-06-01T00:00:00Z")) {
		t.Errorf("%d slots, %v ... %v", len(step.Slots), step.Slots[0], step.Slots[len(step.Slots)-1])
	}
}

// TestCatchUpKeepsToTheWindow: outside of it the job waits until it opens; where
// the next slot comes no later, that one does.
func TestCatchUpKeepsToTheWindow(t *testing.T) {
	t.Parallel()
	s := parse(t, schedule.Spec{Cron: "30 23 * * *", Window: "22:00-06:00"})
	step := s.Step(schedule.State{Slot: at("2026-06-01T23:30:00Z")}, at("2026-06-02T12:00:00Z"))
	if got := step.Slots[0]; got.Outcome != schedule.Job || got.RunAfter.Before(at("2026-06-02T22:00:00Z")) || got.RunAfter.After(at("2026-06-02T22:05:00Z")) {
		t.Errorf("caught up on as %+v", got)
	}
	s = parse(t, schedule.Spec{Cron: "0 22 * * *", Window: "22:00-06:00"})
	step = s.Step(schedule.State{Slot: at("2026-06-01T22:00:00Z")}, at("2026-06-02T12:00:00Z"))
	if got := step.Slots[0]; got.Outcome != schedule.Missed {
		t.Errorf("with the next slot as early: %+v", got)
	}
}

func BenchmarkStep(b *testing.B) {
	s := parse(b, schedule.Spec{Cron: "30 2 * * *", Timezone: "Europe/Berlin", JitterSeconds: 600})
	slot := at("2026-06-01T00:30:00Z")
	for b.Loop() {
		s.Step(schedule.State{Slot: slot}, slot.Add(11*time.Minute))
	}
}
