// Package scheduler turns due slots of schedules into jobs, and has sources'
// snapshots verified in their rhythm. Every hub runs one
// Scheduler; any number may run at once, and none leads: a slot is a row that
// one of them inserts, in the transaction that makes its job and moves the
// schedule to its next slot. The time is the catalog's.
//
// Whatever stops a hub at whatever moment, a slot yields one job or a recorded
// reason for having none.
package scheduler

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"xvault/hub/schedule"
	"xvault/store/catalog"
)

// Config is what a Scheduler needs. DB and Log are required; zero fields take
// their defaults.
type Config struct {
	DB  *catalog.DB
	Log *slog.Logger
	// Tick is how often is looked for what is due. Default 1 s.
	Tick time.Duration
	// Batch is how many schedules one transaction takes. Default 500.
	Batch int
	// VerifyBatch is of how many sources a tick asks for a verification at most.
	// Default 100.
	VerifyBatch int
	// KeepSlots is for how long it is known what became of a slot. Default 60
	// days.
	KeepSlots time.Duration
	// MaxBackoff bounds the wait after failures of Postgres. Default 5 s.
	MaxBackoff time.Duration
}

func (c *Config) setDefaults() error {
	switch {
	case c.DB == nil:
		return errors.New("scheduler: no catalog")
	case c.Log == nil:
		return errors.New("scheduler: no logger")
	case c.Tick < 0 || c.Batch < 0 || c.VerifyBatch < 0 || c.KeepSlots < 0 || c.MaxBackoff < 0:
		return errors.New("scheduler: a setting is negative")
	}
	if c.Tick == 0 {
		c.Tick = time.Second
	}
	if c.Batch == 0 {
		c.Batch = 500
	}
	if c.VerifyBatch == 0 {
		c.VerifyBatch = 100
	}
	if c.KeepSlots == 0 {
		c.KeepSlots = 60 * 24 * time.Hour
	}
	if c.MaxBackoff == 0 {
		c.MaxBackoff = 5 * time.Second
	}
	return nil
}

// Scheduler acts on schedules. It is made by New and run once.
type Scheduler struct {
	cfg    Config
	parser schedule.Parser
}

// New checks the configuration.
func New(cfg Config) (*Scheduler, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	return &Scheduler{cfg: cfg}, nil
}

const (
	// callTimeout bounds one transaction.
	callTimeout = 30 * time.Second
	// retryAfter is when a schedule that cannot be read is looked at again.
	retryAfter = time.Hour
	// sweepEvery is how often old slots are forgotten, sweepBatch how many at once.
	sweepEvery = 10 * time.Minute
	sweepBatch = 5000
)

// Run looks for due slots until ctx ends, through any outage of Postgres; it
// returns nil.
func (s *Scheduler) Run(ctx context.Context) error {
	tick, sweep := time.NewTicker(s.cfg.Tick), time.NewTicker(sweepEvery)
	defer tick.Stop()
	defer sweep.Stop()
	failures := 0
	for {
		err := s.Pass(ctx)
		if err == nil {
			err = s.Verify(ctx)
		}
		if ctx.Err() != nil {
			return nil
		}
		failures = s.report(failures, err)
		if failures > 0 && !sleep(ctx, s.backoff(failures)) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			s.sweep(ctx)
		case <-tick.C:
		}
	}
}

// report writes two lines an outage: its begin and its end.
func (s *Scheduler) report(failures int, err error) int {
	switch {
	case err != nil && failures == 0:
		s.cfg.Log.Warn("schedules cannot be looked at; nothing is lost, trying again", "error", err)
	case err == nil && failures > 0:
		s.cfg.Log.Info("schedules are looked at again", "failures", failures)
	}
	if err != nil {
		return failures + 1
	}
	return 0
}

func (s *Scheduler) backoff(failures int) time.Duration {
	wait := min(s.cfg.MaxBackoff, 100*time.Millisecond<<min(failures, 16))
	jitter := rand.N(wait/2 + 1)
	return wait/2 + jitter
}

// Pass acts on everything that is due now.
func (s *Scheduler) Pass(ctx context.Context) error {
	for {
		n, err := s.plan(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			s.cfg.Log.Info("schedules were planned anew, as after a clock that went back", "schedules", n)
		}
		if n < s.cfg.Batch {
			break
		}
	}
	for {
		ticked, err := s.tick(ctx)
		if err != nil {
			return err
		}
		if ticked.Slots > 0 {
			s.cfg.Log.Info("slots of schedules were due", "jobs", ticked.Jobs, "without_job", ticked.Slots-ticked.Jobs)
		}
		if ticked.Schedules < s.cfg.Batch {
			return nil
		}
	}
}

// Verify asks for verifications that are due, at most a batch of them. Schedules
// come first, in time and in the queue.
func (s *Scheduler) Verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	due, queued, err := s.cfg.DB.TickVerifications(ctx, s.cfg.VerifyBatch)
	if due > 0 && err == nil {
		s.cfg.Log.Info("verifications were due", "sources", due, "jobs", queued)
	}
	return err
}

func (s *Scheduler) plan(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.cfg.DB.PlanSchedules(ctx, s.cfg.Batch, func(c catalog.Schedule, now time.Time) catalog.NextRun {
		parsed, err := s.parse(c)
		if err != nil {
			return s.putOff(c, now, err)
		}
		return nextRun(parsed.Plan(c.ID, now))
	})
}

func (s *Scheduler) tick(ctx context.Context) (catalog.Ticked, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return s.cfg.DB.TickSchedules(ctx, s.cfg.Batch, s.decide)
}

func (s *Scheduler) decide(d catalog.DueSchedule, now time.Time) catalog.Advance {
	parsed, err := s.parse(d.Schedule)
	if err != nil {
		return catalog.Advance{NextRun: s.putOff(d.Schedule, now, err)}
	}
	step := parsed.Step(schedule.State{ID: d.ID, Slot: *d.Slot, Running: d.Running, Disabled: d.Disabled}, now)
	advance := catalog.Advance{NextRun: nextRun(step), Slots: make([]catalog.SlotRecord, len(step.Slots))}
	for i, slot := range step.Slots {
		advance.Slots[i] = catalog.SlotRecord{Slot: slot.At, Through: slot.Through, Outcome: string(slot.Outcome), RunAfter: slot.RunAfter}
		if slot.Outcome != schedule.Job {
			s.cfg.Log.Warn("a slot has no backup", "schedule_id", d.ID, "tenant_id", d.TenantID, "source_id", d.SourceID,
				"slot", slot.At, "outcome", slot.Outcome)
		}
	}
	return advance
}

func (s *Scheduler) parse(c catalog.Schedule) (*schedule.Schedule, error) {
	parsed, faults := s.parser.Parse(Spec(c))
	if len(faults) > 0 {
		return nil, errors.New(faults[0].Field + ": " + faults[0].Message)
	}
	return parsed, nil
}

// Spec is what a stored schedule says.
func Spec(c catalog.Schedule) schedule.Spec {
	return schedule.Spec{
		Cron: c.Cron, IntervalMinutes: c.IntervalMinutes, Timezone: c.Timezone, JitterSeconds: c.JitterSeconds,
		Window: c.Window, Anchor: c.Anchor,
	}
}

// putOff keeps a schedule that this program cannot read from holding up others. It
// was checked when it was stored: another release wrote it, or knows a zone that
// this one does not.
func (s *Scheduler) putOff(c catalog.Schedule, now time.Time, err error) catalog.NextRun {
	s.cfg.Log.Error("a schedule cannot be read and is put off", "schedule_id", c.ID, "tenant_id", c.TenantID, "error", err)
	due := now.Add(retryAfter)
	slot := due
	if c.Slot != nil {
		slot = *c.Slot
	}
	return catalog.NextRun{Slot: &slot, Due: &due}
}

func nextRun(step schedule.Step) catalog.NextRun {
	if step.Next.IsZero() {
		return catalog.NextRun{}
	}
	return catalog.NextRun{Slot: &step.Next, Due: &step.Due}
}

// sweep forgets old slots; what takes longer than a transaction may waits for
// the next time.
func (s *Scheduler) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for n := sweepBatch; n == sweepBatch; {
		var err error
		if n, err = s.cfg.DB.DropOldSlots(ctx, s.cfg.KeepSlots, sweepBatch); err != nil && ctx.Err() == nil {
			s.cfg.Log.Warn("cannot forget old slots", "error", err)
		}
	}
}

// sleep reports whether ctx is still alive after d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
