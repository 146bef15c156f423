package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// ErrFenced means that the attempt is not the current one, or not this worker's.
// What the worker said changed nothing, and it stops.
var ErrFenced = errors.New("the attempt is not the current one")

// Fence names an attempt by everything that must be true of whoever speaks for
// it. Attempt is the fencing token: it only ever grows.
type Fence struct {
	JobID       uuid.UUID
	WorkerID    string
	Incarnation int64
	Attempt     int
	// Token, where it is given, must be the worker's still.
	Token *TokenHash
}

// RenewLease extends the attempt's lease, also one that ran out, as long as
// nobody reaped it, and records the progress. Errors: ErrFenced.
func (db *DB) RenewLease(ctx context.Context, f Fence, p job.Progress) (job.RenewResponse, error) {
	progress, err := json.Marshal(boundedProgress(p))
	if err != nil {
		return job.RenewResponse{}, fmt.Errorf("encode progress: %w", err)
	}
	cancel, err := db.together().RenewLease(ctx, query.RenewLeaseParams{
		JobID: f.JobID, Attempt: f.attempt(), WorkerID: &f.WorkerID, Incarnation: &f.Incarnation,
		TokenHash: storedToken(f.Token), LeaseSeconds: job.Lease.Seconds(), Progress: progress,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return job.RenewResponse{}, ErrFenced
	}
	if err != nil {
		return job.RenewResponse{}, fmt.Errorf("renew lease: %w", err)
	}
	return job.RenewResponse{LeaseMS: job.Lease.Milliseconds(), CancelRequested: cancel}, nil
}

// FinalizeJob records that the attempt's bytes are durable; from here it can no
// longer be canceled. Where a cancel came first the job ends as canceled and
// the answer is ErrFenced. Repeating it is harmless.
func (db *DB) FinalizeJob(ctx context.Context, f Fence) error {
	status, err := db.together().FinalizeJob(ctx, query.FinalizeJobParams{
		JobID: f.JobID, Attempt: f.attempt(), WorkerID: &f.WorkerID, Incarnation: &f.Incarnation,
		TokenHash: storedToken(f.Token), LeaseSeconds: job.Lease.Seconds(), CanceledMessage: canceledWhileRunning,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return db.saidBefore(ctx, f, job.Completed)
	}
	if err != nil {
		return fmt.Errorf("finalize job: %w", err)
	}
	if status == string(job.Canceled) {
		db.queueChanged()
		return ErrFenced
	}
	return nil
}

// ReleaseJob hands a running attempt back: the job is due at once, and it does
// not count as a failure. Where a cancel was asked for the job ends as
// canceled. Repeating it is harmless. Errors: ErrFenced.
func (db *DB) ReleaseJob(ctx context.Context, f Fence) error { return db.PostponeJob(ctx, f, 0) }

// PostponeJob is ReleaseJob for what cannot be done just now: the job is due
// after the delay.
func (db *DB) PostponeJob(ctx context.Context, f Fence, delay time.Duration) error {
	_, err := db.q().ReleaseJob(ctx, query.ReleaseJobParams{
		JobID: f.JobID, Attempt: f.attempt(), WorkerID: &f.WorkerID, Incarnation: &f.Incarnation,
		TokenHash: storedToken(f.Token), CanceledMessage: canceledWhileRunning, DelaySeconds: delay.Seconds(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return db.saidBefore(ctx, f, outcomeReleased)
	}
	if err != nil {
		return fmt.Errorf("release job: %w", err)
	}
	db.queueChanged()
	return nil
}

// How an attempt may end beside the terminal states of a job.
const (
	outcomeReleased job.Status = "released"
	outcomeLost     job.Status = "lost"
)

// saidBefore is nil where the attempt ended in just this way by the word of
// this worker, whose answer was lost on the way; else ErrFenced.
func (db *DB) saidBefore(ctx context.Context, f Fence, outcome job.Status) error {
	state, err := db.q().AttemptState(ctx, f.JobID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrFenced
	case err != nil:
		return fmt.Errorf("look up attempt: %w", err)
	case f.ended(state) && is(state.AttemptOutcome, string(outcome)):
		return nil
	default:
		return ErrFenced
	}
}

// ended reports whether the fence's attempt is the last one and has ended.
func (f Fence) ended(s query.AttemptStateRow) bool { return f.names(s) && s.AttemptOutcome != nil }

// names reports whether the fence's attempt is the current or last one, and its
// worker's start has not ended.
func (f Fence) names(s query.AttemptStateRow) bool {
	return int(s.Attempt) == f.Attempt && is(s.WorkerID, f.WorkerID) && is(s.WorkerIncarnation, f.Incarnation) &&
		is(s.CurrentIncarnation, f.Incarnation) && (f.Token == nil || f.Token.matches(s.CurrentToken))
}

// attempt is the token as the table has it. One that does not fit names none.
func (f Fence) attempt() int32 {
	if f.Attempt < 0 || f.Attempt > 1<<30 {
		return -1
	}
	return int32(f.Attempt)
}
