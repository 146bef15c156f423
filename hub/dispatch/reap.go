package dispatch

import (
	"context"
	"time"

	"xvault/internal/job"
	"xvault/store/catalog"
)

const reapBatch = 100

// reaper ends attempts whose lease ran out. It holds back for a full lease
// whenever workers may have been unable to renew: after its start, after the
// catalog was away, and after this process itself stood still.
type reaper struct {
	cfg       Config
	wake      func()
	seen      time.Time // when the catalog last answered; zero: never, or not since a failure
	holdUntil time.Time
	pulled    time.Time // when was last looked for what a clock ahead has left; zero: never
	clock     time.Time // what the catalog's clock said when last looked at; zero: never yet
}

func (r *reaper) reap(ctx context.Context) error {
	err := r.pass(ctx)
	if err != nil {
		r.seen = time.Time{}
	}
	return err
}

func (r *reaper) pass(ctx context.Context) error {
	if err := r.watchClock(ctx); err != nil {
		return err
	}
	// Without the monotonic clock, which stands still while a machine sleeps.
	now := r.cfg.Now().Round(0)
	if r.seen.IsZero() || now.Sub(r.seen).Abs() > r.cfg.ReapEvery+job.Lease/2 {
		r.holdUntil = now.Add(r.cfg.ReapGrace)
	}
	r.seen = now
	if err := r.reapAll(ctx, "its worker is gone", r.cfg.DB.ReapOrphaned); err != nil {
		return err
	}
	if now.Before(r.holdUntil) {
		return nil
	}
	return r.reapAll(ctx, "its lease ran out", r.cfg.DB.ReapExpired)
}

// watchClock mends what a clock that was ahead has left, once it went back; and at
// the start and now and then, for it may have done so while no hub was there, or
// between two looks at it.
func (r *reaper) watchClock(ctx context.Context) error {
	now, err := r.cfg.DB.Now(ctx)
	if err != nil {
		return err
	}
	here := r.cfg.Now()
	if r.pulled.IsZero() || now.Before(r.clock.Add(-catalog.ClockMargin)) || here.Sub(r.pulled).Abs() >= r.cfg.PullBackEvery {
		n, err := r.cfg.DB.PullBack(ctx)
		if err != nil {
			return err
		}
		if n > 0 {
			r.cfg.Log.Warn("the database's clock went back; what was dated ahead is taken as of now", "rows", n)
			r.wake()
		}
		r.pulled = here
	}
	r.clock = now
	return nil
}

func (r *reaper) reapAll(ctx context.Context, reason string, batch func(context.Context, int) ([]catalog.Ended, error)) error {
	for {
		ended, err := batch(ctx, reapBatch)
		if err != nil {
			return err
		}
		for _, e := range ended {
			r.cfg.Log.Warn("an attempt was lost", "reason", reason, "job_id", e.JobID, "tenant_id", e.TenantID,
				"attempt", e.Attempt, "status", e.Status)
		}
		if len(ended) > 0 {
			r.wake()
		}
		if len(ended) < reapBatch {
			return nil
		}
	}
}
