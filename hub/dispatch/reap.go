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
}

func (r *reaper) reap(ctx context.Context) error {
	err := r.pass(ctx)
	if err != nil {
		r.seen = time.Time{}
	}
	return err
}

func (r *reaper) pass(ctx context.Context) error {
	if err := r.cfg.DB.Ping(ctx); err != nil {
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
