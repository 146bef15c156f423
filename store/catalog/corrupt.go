package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// callCorrupt is the one place where a snapshot becomes corrupt: a verification
// has shown that it is not what it was. It does not count as good from now on,
// what it was is kept, and a backup of its source is queued, unless one waits or
// runs, or the source is disabled; someone is notified. One that is being deleted stays so, and is
// corrupt if that is taken back. All of it is the caller's transaction, which
// has locked the attempt, the source and the snapshot's row.
func (db *DB) callCorrupt(ctx context.Context, q *query.Queries, f Fence, row query.Snapshot, v job.VerifyResult) error {
	known := row.Status == string(SnapshotCorrupt) || is(row.DeletingFrom, string(SnapshotCorrupt))
	deleting := row.Status == string(SnapshotDeleting)
	switch {
	case known:
	case deleting:
		row.CorruptFrom, row.DeletingFrom = row.DeletingFrom, new(string(SnapshotCorrupt))
	default:
		row.CorruptFrom, row.Status = new(row.Status), string(SnapshotCorrupt)
	}
	row, err := setVerdict(ctx, q, row, v)
	if err != nil || known {
		return err
	}
	detail := map[string]any{"job_id": v.JobID.String(), "kind": v.Kind, "code": v.Code, "problem": v.Problem, "status": row.CorruptFrom}
	if err := tellBad(ctx, q, row.ID, v.JobID, EventCorrupt, v.Problem); err != nil {
		return err
	}
	if !deleting {
		backup, err := backUpInstead(ctx, q, row.SourceID)
		if err != nil {
			return err
		}
		if backup != uuid.Nil {
			detail["backup_job_id"] = backup.String()
		}
	}
	return db.Operator(Actor{Type: ActorWorker, ID: f.WorkerID}).audit(ctx, q, snapshotEvent("snapshot.corrupt", row, detail))
}

// backUpInstead queues a backup of the source, whose row the transaction has
// locked; zero where none is needed, or none may be made.
func backUpInstead(ctx context.Context, q *query.Queries, source uuid.UUID) (uuid.UUID, error) {
	id, err := q.InsertBackupOnce(ctx, query.InsertBackupOnceParams{
		JobID: NewID(), SourceID: source, Priority: backupInsteadPriority, MaxAttempts: job.MaxAttempts,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return uuid.Nil, nil
	}
	if err != nil {
		return uuid.Nil, fmt.Errorf("queue a backup: %w", err)
	}
	return id, nil
}
