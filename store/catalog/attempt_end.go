package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// Ended is an attempt that was ended and where that left its job.
type Ended struct {
	JobID    uuid.UUID
	TenantID uuid.UUID
	Attempt  int
	Status   job.Status
}

const (
	leaseLostMessage = "The worker was not heard of any more: it stopped, or lost its connection to the hub. " +
		"The job is tried again by itself; if this comes back, look at the worker's log."
	workerRemovedMessage = "The job could only be done by a worker that was removed."
)

// ReapExpired ends up to limit attempts whose lease ran out: the job is due
// again at once, canceled where that was asked, or failed with lease_lost where
// no try is left. A finalizing attempt is treated alike: its bytes stay on the
// worker until a reconciliation, and the next attempt makes its own.
//
// Renewal, completion and reaping race on the row; one wins.
func (db *DB) ReapExpired(ctx context.Context, limit int) ([]Ended, error) {
	var ended []Ended
	err := db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		ids, err := q.LockExpired(ctx, int32(min(limit, 1<<20))) //nolint:gosec // bounded
		if err != nil {
			return fmt.Errorf("look for expired leases: %w", err)
		}
		ended, err = loseAttempts(ctx, q, ids)
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(ended) > 0 {
		db.queueChanged()
	}
	return ended, nil
}

// endLeases ends every lease of a worker: a new start of it took over, so that
// what it ran is due again at once.
func (s Scope) endLeases(ctx context.Context, _ pgx.Tx, q *query.Queries, workerID string) error {
	rows, err := q.LockLeasesOfWorker(ctx, &workerID)
	if err != nil {
		return fmt.Errorf("look for leases of worker %s: %w", workerID, err)
	}
	ids := make([]uuid.UUID, len(rows))
	for i, row := range rows {
		ids[i] = row.ID
	}
	_, err = loseAttempts(ctx, q, ids)
	return err
}

// failRemovedWorkersJobs ends every lease of a worker that is being removed.
// What others can do is due again at once; what only it could do fails.
func (s Scope) failRemovedWorkersJobs(ctx context.Context, _ pgx.Tx, q *query.Queries, workerID string) error {
	rows, err := q.LockLeasesOfWorker(ctx, &workerID)
	if err != nil {
		return fmt.Errorf("look for leases of worker %s: %w", workerID, err)
	}
	var others, onlyThere []uuid.UUID
	for _, row := range rows {
		if row.OnlyThere {
			onlyThere = append(onlyThere, row.ID)
		} else {
			others = append(others, row.ID)
		}
	}
	if _, err := loseAttempts(ctx, q, others); err != nil {
		return err
	}
	_, err = endAttempts(ctx, q, onlyThere, failure{outcome: outcomeLost, code: job.WorkerRemoved, message: workerRemovedMessage})
	if err != nil {
		return err
	}
	_, err = q.FailQueuedOfWorker(ctx, query.FailQueuedOfWorkerParams{
		WorkerID: &workerID, ErrorCode: string(job.WorkerRemoved), ErrorMessage: workerRemovedMessage,
	})
	if err != nil {
		return fmt.Errorf("fail jobs of worker %s: %w", workerID, err)
	}
	return nil
}

func loseAttempts(ctx context.Context, q *query.Queries, ids []uuid.UUID) ([]Ended, error) {
	return endAttempts(ctx, q, ids, failure{outcome: outcomeLost, code: job.LeaseLost, message: leaseLostMessage})
}

// failure is how attempts ended without success.
type failure struct {
	outcome job.Status
	code    job.Code
	message string
	result  json.RawMessage
}

// endAttempts decides what follows, for attempts whose rows the transaction has
// locked.
func endAttempts(ctx context.Context, q *query.Queries, ids []uuid.UUID, f failure) ([]Ended, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := q.EndAttempts(ctx, query.EndAttemptsParams{
		Ids: ids, Outcome: string(f.outcome), ErrorCode: string(f.code), ErrorMessage: f.message, Result: f.result,
		CanceledMessage: canceledWhileRunning, Retry: f.code.Retryable(),
		Backoff: f.code != job.LeaseLost, // whose cause is past already
	})
	if err != nil {
		return nil, fmt.Errorf("end attempts: %w", err)
	}
	ended := make([]Ended, len(rows))
	for i, row := range rows {
		ended[i] = Ended{JobID: row.ID, TenantID: row.TenantID, Attempt: int(row.Attempt), Status: job.Status(row.Status)}
	}
	return ended, nil
}
