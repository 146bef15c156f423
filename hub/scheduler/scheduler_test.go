package scheduler_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"xvault/hub/schedule"
	"xvault/hub/scheduler"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// outcomes joins them, the earliest first.
func outcomes(slots []slot) string {
	var out []string
	for _, s := range slots {
		out = append(out, s.outcome)
	}
	return strings.Join(out, " ")
}

func TestADueSlotBecomesAJob(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 1)
	c.set(at("2026-06-01T10:00:30Z"))
	s := c.schedule(catalog.ScheduleSpec{Cron: "*/10 * * * *"})
	c.pass(0)
	if n := c.count("SELECT count(*) FROM jobs"); n != 0 {
		t.Fatalf("%d jobs before it is due", n)
	}
	c.set(at("2026-06-01T10:10:00Z"))
	c.pass(0)
	c.pass(0)
	got := c.slots(s.ID)
	if len(got) != 1 || got[0].outcome != "job" || !got[0].at.Equal(at("2026-06-01T10:10:00Z")) {
		t.Fatalf("slots %+v", got)
	}
	if n := c.count(`SELECT count(*) FROM jobs WHERE id = $1 AND source_id = $2 AND tenant_id = $3 AND type = 'backup' AND status = 'queued'
		AND run_after = xvault_now() AND priority = 4`, got[0].job, s.SourceID, s.TenantID); n != 1 {
		t.Error("there is no such job")
	}
	// It has not ended when the next is due, and then it has.
	c.set(at("2026-06-01T10:20:00Z"))
	c.pass(0)
	c.finish()
	c.set(at("2026-06-01T10:30:01Z"))
	c.pass(0)
	if got := outcomes(c.slots(s.ID)); got != "job skipped_overlap job" {
		t.Errorf("slots %s", got)
	}
	// A source that is disabled has no backups.
	c.finish()
	c.exec("UPDATE sources SET status = 'disabled'")
	c.set(at("2026-06-01T10:40:01Z"))
	c.pass(0)
	c.exec("UPDATE sources SET status = 'active'")
	c.exec("UPDATE schedules SET enabled = false")
	c.set(at("2026-06-01T10:50:01Z"))
	c.pass(0)
	if got := outcomes(c.slots(s.ID)); got != "job skipped_overlap job skipped_disabled" {
		t.Errorf("slots %s", got)
	}
}

func TestJitterPutsTheJobOff(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 1)
	c.set(at("2026-06-01T10:00:30Z"))
	const n = 60
	for range n {
		c.schedule(catalog.ScheduleSpec{Cron: "0 12 * * *", JitterSeconds: 600})
	}
	made := 0
	for minute := range 12 {
		c.set(at("2026-06-01T12:00:00Z").Add(time.Duration(minute) * time.Minute))
		c.pass(0)
		now := c.count("SELECT count(*) FROM jobs")
		if now-made > n/3 {
			t.Errorf("%d of %d jobs in minute %d", now-made, n, minute)
		}
		made = now
	}
	if made != n {
		t.Errorf("%d jobs", made)
	}
}

// TestHubsAwayForSixHours: each schedule catches up once, spread out, and what was
// missed is known.
func TestHubsAwayForSixHours(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 2)
	c.set(at("2026-06-01T00:30:00Z"))
	var all []catalog.Schedule
	for range 40 {
		all = append(all, c.schedule(catalog.ScheduleSpec{Cron: "@hourly"}))
	}
	back := at("2026-06-01T06:45:00Z")
	c.set(back)
	var hubs sync.WaitGroup
	for i := range c.hubs {
		hubs.Go(func() { c.pass(i) })
	}
	hubs.Wait()
	for _, s := range all {
		if got := outcomes(c.slots(s.ID)); got != "missed missed missed missed missed job" {
			t.Fatalf("slots %s", got)
		}
	}
	if n := c.count("SELECT count(*) FROM jobs"); n != len(all) {
		t.Errorf("%d jobs of %d schedules", n, len(all))
	}
	begins, most := c.count("SELECT count(DISTINCT run_after) FROM jobs"),
		c.count("SELECT extract(epoch FROM max(run_after) - xvault_now())::integer FROM jobs")
	if begins < 35 || most < 60 || most > int(schedule.CatchUpSpread/time.Second) {
		t.Errorf("they begin at %d times within %d s", begins, most)
	}
}

// TestTheHubThatWasAtItStops: one hub stands still in the middle of its
// transaction, as one that is stopped. The other one takes what is free at
// once, and what the first one holds soon, and the first one's word comes too late.
func TestTheHubThatWasAtItStops(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 2)
	c.set(at("2026-06-01T00:30:00Z"))
	held, free := c.schedule(catalog.ScheduleSpec{Cron: "@hourly"}), c.schedule(catalog.ScheduleSpec{Cron: "@hourly"})
	c.set(at("2026-06-01T01:00:00Z"))
	inside, goOn, stopped := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		_, err := c.hubs[0].TickSchedules(t.Context(), 1, func(d catalog.DueSchedule, now time.Time) catalog.Advance {
			close(inside)
			<-goOn
			return catalog.Advance{NextRun: d.NextRun, Slots: []catalog.SlotRecord{{Slot: *d.Slot, Outcome: "job", RunAfter: now}}}
		})
		stopped <- err
	}()
	<-inside
	c.pass(1)
	if n := c.count("SELECT count(*) FROM schedule_slots"); n != 1 {
		t.Errorf("%d slots while one hub holds a schedule", n)
	}
	testenv.Eventually(t, 2*time.Minute, func() bool {
		c.pass(1)
		return c.count("SELECT count(*) FROM schedule_slots") == 2
	}, "the other hub takes its schedule")
	close(goOn)
	if err := <-stopped; err == nil {
		t.Error("the hub that stood still had its word taken")
	}
	for _, s := range []catalog.Schedule{held, free} {
		if got := outcomes(c.slots(s.ID)); got != "job" {
			t.Errorf("slots %s", got)
		}
	}
	if n := c.count("SELECT count(*) FROM jobs"); n != 2 {
		t.Errorf("%d jobs", n)
	}
}

// TestWhatIsBeingDeletedHoldsUpNothing: sources and schedules come, change and go
// while two hubs look.
func TestWhatIsBeingDeletedHoldsUpNothing(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 2)
	c.set(at("2026-06-01T00:30:00Z"))
	var all []catalog.Schedule
	for range 30 {
		all = append(all, c.schedule(catalog.ScheduleSpec{Cron: "@hourly"}))
	}
	c.set(at("2026-06-01T01:00:00Z"))
	scope := c.hubs[0].Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "operator"})
	var busy sync.WaitGroup
	for i := range c.hubs {
		busy.Go(func() {
			for range 5 {
				c.must(c.try(t.Context(), c.hubs[i], 3))
			}
		})
	}
	busy.Go(func() {
		for i, s := range all {
			var err error
			var conflict *catalog.Conflict
			switch i % 3 {
			case 0:
				err = scope.DeleteSource(t.Context(), s.SourceID)
			case 1:
				err = scope.DeleteSchedule(t.Context(), s.ID)
			default:
				_, err = scope.UpdateSource(t.Context(), s.SourceID, catalog.SourceChange{Name: new("new")})
			}
			if err != nil && !errors.As(err, &conflict) { // its job has not ended
				t.Error(err)
			}
		}
	})
	busy.Wait()
	if jobs, slots := c.count("SELECT count(*) FROM jobs"), c.count("SELECT count(*) FROM schedule_slots WHERE outcome = 'job'"); jobs < slots {
		t.Errorf("%d jobs of %d slots", jobs, slots)
	}
	if n := c.count("SELECT count(*) FROM schedules WHERE next_due <= xvault_now()"); n != 0 {
		t.Errorf("%d schedules are still due", n)
	}
}

// TestTheLoopRunsThroughAnOutage: Postgres is taken away and comes back.
func TestTheLoopRunsThroughAnOutage(t *testing.T) {
	t.Parallel()
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{Durable: true})
	c := newClock(t, pg.Catalog("x"), 2)
	c.schedule(catalog.ScheduleSpec{IntervalMinutes: 1})
	ctx, cancel := context.WithCancel(t.Context())
	var hubs sync.WaitGroup
	for _, db := range c.hubs {
		s, err := scheduler.New(scheduler.Config{DB: db, Log: slog.New(slog.DiscardHandler), Tick: 20 * time.Millisecond, MaxBackoff: 200 * time.Millisecond})
		c.must(err)
		hubs.Go(func() { c.must(s.Run(ctx)) })
	}
	c.must(pg.Crash())
	c.must(pg.Start(t.Context()))
	testenv.Eventually(t, 2*time.Minute, func() bool {
		_, err := c.raw.Exec(t.Context(), `CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz LANGUAGE sql STABLE AS
			$$ SELECT statement_timestamp() + interval '61 s' $$`)
		return err == nil
	}, "postgres is back")
	testenv.Eventually(t, 2*time.Minute, func() bool { return c.count("SELECT count(*) FROM jobs") == 1 }, "the slot has a job")
	cancel()
	hubs.Wait()
	if n := c.count("SELECT count(*) FROM schedule_slots WHERE outcome = 'job'"); n != 1 {
		t.Errorf("%d slots", n)
	}
}

// TestAScheduleThatCannotBeReadHoldsUpNoOther, as one of a later release.
func TestAScheduleThatCannotBeReadHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 1)
	c.set(at("2026-06-01T00:30:00Z"))
	strange, good := c.schedule(catalog.ScheduleSpec{Cron: "@hourly"}), c.schedule(catalog.ScheduleSpec{Cron: "@hourly"})
	c.exec("UPDATE schedules SET cron = '@full-moon' WHERE id = $1", strange.ID)
	c.set(at("2026-06-01T01:00:00Z"))
	c.pass(0)
	if got := outcomes(c.slots(good.ID)); got != "job" {
		t.Errorf("the other one's slots: %s", got)
	}
	c.exec("UPDATE schedules SET cron = '@hourly'")
	c.finish()
	c.set(at("2026-06-01T02:00:00Z"))
	c.pass(0)
	if got := outcomes(c.slots(strange.ID)); got != "missed job" {
		t.Errorf("when it can be read again: %s", got)
	}
}

func TestOldSlotsAreForgotten(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 1)
	now := time.Now()
	c.set(now)
	s := c.schedule(catalog.ScheduleSpec{Cron: "* * * * *"})
	c.set(now.Add(10 * time.Minute))
	c.pass(0)
	before := len(c.slots(s.ID))
	n, err := c.hubs[0].DropOldSlots(t.Context(), 30*24*time.Hour, 100)
	if c.must(err); n != 0 || before < 9 {
		t.Errorf("%d of %d slots are old", n, before)
	}
	c.set(now.Add(31 * 24 * time.Hour))
	n, err = c.hubs[0].DropOldSlots(t.Context(), 30*24*time.Hour, 3)
	if c.must(err); n != 3 || len(c.slots(s.ID)) != before-3 {
		t.Errorf("%d were forgotten, %d of %d are left", n, len(c.slots(s.ID)), before)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 1)
	for _, cfg := range []scheduler.Config{{}, {DB: c.hubs[0]}, {DB: c.hubs[0], Log: slog.New(slog.DiscardHandler), Tick: -1}} {
		if _, err := scheduler.New(cfg); err == nil {
			t.Errorf("%+v is taken", cfg)
		}
	}
}
