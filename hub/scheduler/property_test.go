package scheduler_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"xvault/hub/schedule"
	"xvault/hub/scheduler"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// edges are moments at which the clocks of six zones change, and one at which
// none do.
var edges = []string{
	"2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z", // Europe/Berlin
	"2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z", // America/New_York
	"2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z", // Australia/Lord_Howe
	"2018-02-18T02:00:00Z", "2018-11-04T03:00:00Z", // America/Sao_Paulo
	"2026-04-23T22:00:00Z", "2026-10-29T21:00:00Z", // Africa/Cairo
	"2026-03-28T22:00:00Z", "2026-10-24T21:00:00Z", // Asia/Beirut
	"2026-07-01T00:00:00Z",
}

var zones = []string{
	"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Africa/Cairo", "Asia/Beirut", "Asia/Kolkata", "UTC",
}

func anySpec(t *rapid.T) catalog.ScheduleSpec {
	spec := catalog.ScheduleSpec{
		Timezone:      rapid.SampledFrom(zones).Draw(t, "zone"),
		JitterSeconds: rapid.SampledFrom([]int{0, 0, 45, 900}).Draw(t, "jitter"),
	}
	if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
		spec.IntervalMinutes = rapid.SampledFrom([]int{7, 30, 60, 360}).Draw(t, "minutes")
		return spec
	}
	spec.Cron = rapid.SampledFrom([]string{
		"*/20 * * * *", "30 2 * * *", "0 0 * * *", "15 */2 * * *", "45 1,2 * * *", "@hourly", "30 0,1,23 * * *", "0 3 * * 0",
	}).Draw(t, "cron")
	return spec
}

// TestEachSlotHasOneJobOrAReason takes random schedules through random times, with
// two hubs that look at once, and are cut off in the middle, and clocks that
// change. Each slot that passed has one entry, with one job or a reason, and
// nothing else has.
func TestEachSlotHasOneJobOrAReason(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 2)
	rapid.Check(t, func(rt *rapid.T) {
		c.exec("DELETE FROM tenants")
		start := at(rapid.SampledFrom(edges).Draw(rt, "edge")).Add(-time.Duration(rapid.IntRange(1, 1500).Draw(rt, "before")) * time.Minute)
		now := start
		c.set(now)
		var all []catalog.Schedule
		for range rapid.IntRange(1, 5).Draw(rt, "schedules") {
			all = append(all, c.schedule(anySpec(rt)))
		}
		for range rapid.IntRange(1, 8).Draw(rt, "looks") {
			now = now.Add(time.Duration(rapid.SampledFrom([]int{1, 60, 1200, 3600, 3 * 3600, 86400, 3 * 86400}).Draw(rt, "pause")) * time.Second)
			c.set(now)
			if rapid.Bool().Draw(rt, "jobs end") {
				c.finish()
			}
			c.bothLook(rapid.IntRange(0, 3).Draw(rt, "cut off"))
		}
		for _, s := range all {
			c.judge(rt, s, start, now)
		}
		if jobs, slots := c.count("SELECT count(*) FROM jobs"), c.count("SELECT count(*) FROM schedule_slots WHERE outcome = 'job'"); jobs != slots {
			rt.Fatalf("%d jobs of %d slots", jobs, slots)
		}
	})
}

// bothLook has two hubs look at the same time, and a third one that is cut off
// some milliseconds after it began.
func (c *clock) bothLook(cutOff int) {
	c.t.Helper()
	var hubs sync.WaitGroup
	if cutOff > 0 {
		ctx, cancel := context.WithTimeout(c.t.Context(), time.Duration(cutOff)*time.Millisecond)
		hubs.Go(func() {
			defer cancel()
			_ = c.try(ctx, c.hubs[0], 1) // whatever became of it
		})
	}
	for i := range c.hubs {
		hubs.Go(func() { c.pass(i) })
	}
	hubs.Wait()
	// What the hub that was cut off held was skipped by the others, which look
	// again and again. Its server process may take a moment to notice.
	testenv.Eventually(c.t, 2*time.Minute, func() bool {
		c.pass(0)
		return c.count("SELECT count(*) FROM schedules WHERE enabled AND next_due <= xvault_now()") == 0
	}, "nothing is due any more")
}

// judge holds the entries of a schedule against the slots that it has.
func (c *clock) judge(t *rapid.T, s catalog.Schedule, start, now time.Time) {
	parsed, faults := schedule.Parse(scheduler.Spec(s))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	entries := c.slots(s.ID)
	i := 0
	for expected := parsed.Next(start); !expected.After(now); expected = parsed.Next(expected) {
		if i == len(entries) {
			if due := parsed.Due(s.ID, expected); due.After(now) {
				return // not acted on yet, and so are all that follow
			}
			t.Fatalf("slot %v of %q (%s) has no entry at %v", expected, s.Cron, s.Timezone, now)
		}
		if !entries[i].at.Equal(expected) && entries[i].through.Equal(entries[i].at) {
			t.Fatalf("entry %v stands where slot %v is", entries[i].at, expected)
		}
		if !entries[i].through.After(expected) {
			i++
		}
	}
	if i != len(entries) {
		t.Fatalf("%d entries are for no slot, the first %+v", len(entries)-i, entries[i])
	}
}

// TestClocksThatAreOff: the database's clock is an hour or a year ahead or behind
// for a while. No slot has two jobs, and afterwards backups are made as before.
func TestClocksThatAreOff(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]time.Duration{
		"hour ahead": time.Hour, "hour behind": -time.Hour, "year ahead": 365 * 24 * time.Hour, "year behind": -365 * 24 * time.Hour,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClock(t, testenv.Catalog(t), 2)
			now := at("2026-06-01T10:00:30Z")
			c.set(now)
			s := c.schedule(catalog.ScheduleSpec{Cron: "*/15 * * * *", Timezone: "Europe/Berlin"})
			live := func(minutes int, off time.Duration) {
				for range minutes / 5 {
					now = now.Add(5 * time.Minute)
					c.set(now.Add(off))
					c.bothLook(0)
					c.finish()
				}
			}
			live(60, 0)
			live(30, off)
			back := now
			live(180, 0)
			if n := c.count("SELECT count(*) FROM jobs"); n != c.count("SELECT count(*) FROM schedule_slots WHERE outcome = 'job'") {
				t.Errorf("%d jobs", n)
			}
			// From an hour later at most every slot has its job: what was made while
			// the clock was ahead stands for slots of that hour.
			var after []string
			for _, entry := range c.slots(s.ID) {
				if entry.at.After(back.Add(time.Hour)) && !entry.at.After(now) {
					after = append(after, entry.outcome)
				}
			}
			if got := strings.Join(after, " "); got != "job job job job job job job job" {
				t.Errorf("afterwards: %s", got)
			}
			if n := c.count("SELECT count(*) FROM schedule_slots WHERE slot > $1 AND outcome <> 'job'", now); n != 0 {
				t.Errorf("%d slots that have not been yet are recorded", n)
			}
		})
	}
}
