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
		ids, err := q.LockExpired(ctx, int32(min(limit, 1<<20)))
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
	var o orphans
	for _, row := range rows {
		o.add(row.ID, row.OnlyThere)
	}
	if _, err := o.end(ctx, q); err != nil {
		return err
	}
	failed, err := q.FailQueuedOfWorker(ctx, query.FailQueuedOfWorkerParams{
		WorkerID: &workerID, ErrorCode: string(job.WorkerRemoved), ErrorMessage: workerRemovedMessage,
	})
	if err != nil {
		return fmt.Errorf("fail jobs of worker %s: %w", workerID, err)
	}
	return tellFailed(ctx, q, failed...)
}

// ReapOrphaned ends up to limit attempts of worker starts that are over, and
// fails as many jobs that wait for a worker that is gone: what raced with a
// registration or a removal. It is no matter of time, so that it need not wait
// for workers to come back.
func (db *DB) ReapOrphaned(ctx context.Context, limit int) ([]Ended, error) {
	var ended []Ended
	limitRows := int32(min(limit, 1<<20))
	err := db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		rows, err := q.LockOrphaned(ctx, limitRows)
		if err != nil {
			return fmt.Errorf("look for orphaned attempts: %w", err)
		}
		var o orphans
		for _, row := range rows {
			o.add(row.ID, row.OnlyThere)
		}
		if ended, err = o.end(ctx, q); err != nil {
			return err
		}
		failed, err := q.FailOrphanedQueued(ctx, query.FailOrphanedQueuedParams{
			MaxRows: limitRows, ErrorCode: string(job.WorkerRemoved), ErrorMessage: workerRemovedMessage,
		})
		if err != nil {
			return fmt.Errorf("fail jobs of removed workers: %w", err)
		}
		ids := make([]uuid.UUID, len(failed))
		for i, row := range failed {
			ended = append(ended, endedOf(query.EndAttemptsRow(row)))
			ids[i] = row.ID
		}
		return tellFailed(ctx, q, ids...)
	})
	if err != nil {
		return nil, err
	}
	if len(ended) > 0 {
		db.queueChanged()
	}
	return ended, nil
}

// orphans are attempts whose worker is gone: others may try again, unless only
// that worker could.
type orphans struct{ others, onlyThere []uuid.UUID }

func (o *orphans) add(id uuid.UUID, onlyThere bool) {
	if onlyThere {
		o.onlyThere = append(o.onlyThere, id)
	} else {
		o.others = append(o.others, id)
	}
}

func (o *orphans) end(ctx context.Context, q *query.Queries) ([]Ended, error) {
	lost, err := loseAttempts(ctx, q, o.others)
	if err != nil {
		return nil, err
	}
	removed, err := endAttempts(ctx, q, o.onlyThere, failure{
		outcome: outcomeLost, code: job.WorkerRemoved, message: workerRemovedMessage,
	})
	return append(lost, removed...), err
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
	var failed []uuid.UUID
	for i, row := range rows {
		if ended[i] = endedOf(row); ended[i].Status == job.Failed {
			failed = append(failed, row.ID)
		}
	}
	return ended, tellFailed(ctx, q, failed...)
}

func endedOf(r query.EndAttemptsRow) Ended {
	return Ended{JobID: r.ID, TenantID: r.TenantID, Attempt: int(r.Attempt), Status: job.Status(r.Status)}
}
