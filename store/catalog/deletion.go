package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// Deleting a snapshot takes two steps. First it is marked as deleting, with a
// time from which on a worker may begin: until one has begun it can be taken
// back, and what it was is kept. Then a job has the worker that holds the files
// remove them; the row stays, as deleted, for the audit.
//
// All of it locks the snapshot's row first and the job's after it, so that of
// deleting, taking back, holding and reading one wins and the others see it.

// Priorities of jobs that delete: what people wait for goes before them.
const (
	retentionDeletePriority = 1
	requestDeletePriority   = 4
)

const takenBack = "The deletion was taken back; the snapshot is as it was."

// RequestDeletion marks a snapshot as deleting and queues the job that removes
// its files after the grace time. Where it is being deleted already, its job is
// given, and the earlier of the two dates counts. Errors: ErrNotFound,
// *Conflict "snapshot_held", "snapshot_deleted" or "worker_removed".
func (s Scope) RequestDeletion(ctx context.Context, id uuid.UUID, grace time.Duration) (Job, error) {
	var jobID uuid.UUID
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.LockSnapshot(ctx, query.LockSnapshotParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		if err := deletable(row); err != nil {
			return err
		}
		if row, err = markDeleting(ctx, q, row, grace); err != nil {
			return err
		}
		if jobID, err = deleteJobOf(ctx, q, row, requestDeletePriority); err != nil {
			return err
		}
		return s.audit(ctx, q, snapshotEvent("snapshot.delete", row, map[string]any{
			"job_id": jobID.String(), "after": row.DeleteAfter, "status": row.DeletingFrom,
		}))
	})
	if err != nil {
		return Job{}, err
	}
	s.db.queueChanged()
	return s.Job(ctx, jobID)
}

func deletable(row query.Snapshot) error {
	switch {
	case row.Hold:
		return &Conflict{"snapshot_held", "The snapshot is held; let it go first (hold: false)."}
	case row.Status == string(SnapshotDeleted):
		return &Conflict{"snapshot_deleted", "The snapshot is deleted already."}
	default:
		return nil
	}
}

// markDeleting marks the snapshot, whose row is locked, or brings forward the
// date of one that is marked.
func markDeleting(ctx context.Context, q *query.Queries, row query.Snapshot, grace time.Duration) (query.Snapshot, error) {
	var err error
	if row.Status == string(SnapshotDeleting) {
		row, err = q.HastenDeletion(ctx, query.HastenDeletionParams{ID: row.ID, GraceSeconds: grace.Seconds()})
	} else {
		row, err = q.MarkDeleting(ctx, query.MarkDeletingParams{ID: row.ID, GraceSeconds: grace.Seconds()})
	}
	if err != nil {
		return row, fmt.Errorf("mark snapshot as deleting: %w", err)
	}
	return row, nil
}

// deleteJobOf gives the job that deletes a marked snapshot, and makes one where
// there is none.
func deleteJobOf(ctx context.Context, q *query.Queries, row query.Snapshot, priority int16) (uuid.UUID, error) {
	id, err := q.ActiveDeleteJob(ctx, row.ID)
	if err == nil {
		if row.DeleteAfter != nil {
			err = q.HastenDeleteJob(ctx, query.HastenDeleteJobParams{ID: id, RunAfter: *row.DeleteAfter})
		}
		return id, err
	}
	if !errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, fmt.Errorf("look for the job that deletes the snapshot: %w", err)
	}
	id, err = q.InsertDeleteJob(ctx, query.InsertDeleteJobParams{
		JobID: NewID(), SnapshotID: row.ID, Priority: priority, MaxAttempts: job.MaxAttempts,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, &Conflict{"worker_removed", "The worker that has the snapshot's files was removed, and no other one has its storage; " +
			"start a worker on that storage, and the snapshot can be deleted."}
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("queue the deletion: %w", err)
	}
	return id, nil
}

// TakeBackSnapshot ends a deletion that no worker has begun; the snapshot is
// what it was. Errors: ErrNotFound, *Conflict "snapshot_not_deleting",
// "snapshot_deleted" or "deletion_begun".
func (s Scope) TakeBackSnapshot(ctx context.Context, id uuid.UUID) (Snapshot, error) {
	return s.changeSnapshot(ctx, id, func(q *query.Queries, row query.Snapshot) (query.Snapshot, error) {
		row, err := takeBack(ctx, q, row)
		if err != nil {
			return row, err
		}
		return row, s.audit(ctx, q, snapshotEvent("snapshot.undelete", row, nil))
	})
}

// takeBack undoes the mark of a snapshot whose row is locked.
func takeBack(ctx context.Context, q *query.Queries, row query.Snapshot) (query.Snapshot, error) {
	switch row.Status {
	case string(SnapshotDeleting):
	case string(SnapshotDeleted):
		return row, &Conflict{"snapshot_deleted", "The snapshot is deleted; its files are gone."}
	default:
		return row, &Conflict{"snapshot_not_deleting", "The snapshot is not being deleted; there is nothing to take back."}
	}
	if _, err := q.CancelDeleteJobs(ctx, query.CancelDeleteJobsParams{SnapshotID: row.ID, Message: takenBack}); err != nil {
		return row, fmt.Errorf("cancel the deletion: %w", err)
	}
	begun, err := q.DeletionBegun(ctx, row.ID)
	if err != nil {
		return row, fmt.Errorf("look whether the deletion has begun: %w", err)
	}
	if begun {
		return row, &Conflict{"deletion_begun", "A worker has begun to delete the snapshot; it cannot be taken back any more."}
	}
	taken, err := q.TakeBackSnapshot(ctx, row.ID)
	if err != nil {
		return row, fmt.Errorf("take the snapshot back: %w", err)
	}
	return taken, nil
}

// QueueDueDeletions makes jobs for up to limit snapshots whose grace time is
// over, all but those of the sources that are spared, and tells how many. Any
// number of hubs may do it at once.
func (db *DB) QueueDueDeletions(ctx context.Context, limit int, spared []uuid.UUID) (int, error) {
	queued := 0
	err := db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		due, err := q.DueDeletions(ctx, query.DueDeletionsParams{MaxRows: int32(min(limit, 1<<20)), Spared: nonNil(spared)})
		if err != nil {
			return fmt.Errorf("look for due deletions: %w", err)
		}
		for _, id := range due {
			_, err := q.InsertDeleteJob(ctx, query.InsertDeleteJobParams{
				JobID: NewID(), SnapshotID: id, Priority: retentionDeletePriority, MaxAttempts: job.MaxAttempts,
			})
			if errors.Is(err, pgx.ErrNoRows) {
				continue // its worker was removed a moment ago
			}
			if err != nil {
				return fmt.Errorf("queue deletion of snapshot %s: %w", id, err)
			}
			queued++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if queued > 0 {
		db.queueChanged()
	}
	return queued, nil
}

// cancelDeletion takes the snapshot of a queued deletion back: a job that is
// canceled must leave no snapshot behind that waits for it.
func (s Scope) cancelDeletion(ctx context.Context, j Job) error {
	if j.SnapshotID == nil {
		return nil
	}
	_, err := s.TakeBackSnapshot(ctx, *j.SnapshotID)
	return err
}

func snapshotEvent(action string, row query.Snapshot, detail map[string]any) Event {
	return Event{TenantID: &row.TenantID, Action: action, ObjectType: "snapshot", ObjectID: row.ID.String(), Detail: detail}
}
