package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// Priorities of verifications: whatever else waits for the same worker goes
// before them, and what a person asked for goes before what a rhythm did.
const (
	verifyPriority        = 1
	rhythmVerifyPriority  = 0
	backupInsteadPriority = DefaultPriority + 1 // of what replaces a corrupt snapshot
)

// CreateVerify queues a verification of a snapshot, for the worker that has its
// files. Errors: ErrNotFound; *Conflict "snapshot_deleting", "snapshot_deleted",
// "not_on_worker", "worker_removed".
func (s Scope) CreateVerify(ctx context.Context, snapshotID uuid.UUID, kind job.VerifyKind) (Job, error) {
	var row query.CreateJobRow
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		snapshot, err := q.LockSnapshot(ctx, query.LockSnapshotParams{ID: snapshotID, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		worker, payload, err := readerOf(ctx, q, snapshot, kind)
		if err != nil {
			return err
		}
		id := NewID()
		if err := s.takeIdempotencyKey(ctx, q, "job", id.String()); err != nil {
			return err
		}
		row, err = q.CreateJob(ctx, query.CreateJobParams{
			ID: id, TenantID: &snapshot.TenantID, SourceID: snapshot.SourceID, Type: string(job.Verify), Priority: verifyPriority,
			Payload: payload, TargetWorkerID: &worker, SnapshotID: &snapshot.ID, MaxAttempts: job.MaxAttempts,
			EventID: NewID(), ActorType: string(s.actor.Type), ActorID: s.actor.ID,
			RemoteAddr: s.actor.RemoteAddr, RequestID: s.actor.RequestID,
		})
		return notFound(err)
	})
	if err != nil {
		return Job{}, fmt.Errorf("create verification: %w", err)
	}
	s.db.queueChanged()
	return createdJob(row), nil
}

// readerOf gives the worker that can verify a locked snapshot, and the job's
// payload.
func readerOf(ctx context.Context, q *query.Queries, s query.Snapshot, kind job.VerifyKind) (string, json.RawMessage, error) {
	switch {
	case s.Status == string(SnapshotDeleting):
		return "", nil, &Conflict{"snapshot_deleting", "The snapshot is being deleted; take that back first (undelete)."}
	case s.Status == string(SnapshotDeleted):
		return "", nil, &Conflict{"snapshot_deleted", "The snapshot is deleted; its files are gone."}
	case s.StorageBackend != "local_fs":
		return "", nil, &Conflict{"not_on_worker", "The snapshot is on no worker's disk, so that no worker can verify it."}
	}
	worker, err := q.WorkerWithSnapshot(ctx, s.ID)
	if errors.Is(err, pgx.ErrNoRows) {
		return "", nil, &Conflict{"worker_removed", "The worker that has the snapshot's files was removed, and no other one has its storage; " +
			"start a worker on that storage, and the snapshot can be verified."}
	}
	if err != nil {
		return "", nil, fmt.Errorf("look for the snapshot's worker: %w", err)
	}
	p := job.VerifyPayload{Kind: kind}
	if s.StorageID != nil {
		p.StorageID = *s.StorageID
	}
	payload, err := json.Marshal(p)
	if err != nil {
		return "", nil, fmt.Errorf("encode payload: %w", err)
	}
	return worker, payload, nil
}

// passVerify ends an attempt at a verification that found nothing wrong, and
// notes it on the snapshot: one transaction. pgx.ErrNoRows: the attempt is not
// current, or is of another kind.
func (db *DB) passVerify(ctx context.Context, f Fence, r report) error {
	return db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		attempt, err := db.lockAttempt(ctx, q, f)
		if err != nil {
			return err
		}
		if attempt.Type != string(job.Verify) {
			return pgx.ErrNoRows
		}
		if err := q.EndVerify(ctx, query.EndVerifyParams{JobID: attempt.ID, Result: r.result}); err != nil {
			return fmt.Errorf("end verification: %w", err)
		}
		return db.noteVerdict(ctx, q, f, attempt, r)
	})
}

// failVerify notes on the snapshot that a verification found it damaged, within
// the transaction that ends the attempt. The source is locked before the
// snapshot, as retention does, so that of two corrupt ones only one has it
// backed up.
func (db *DB) failVerify(ctx context.Context, q *query.Queries, f Fence, a query.LockAttemptRow, r report) (report, error) {
	r, err := believeDamage(ctx, q, f, a, r)
	if err != nil || !r.code.ProvesDamage() {
		return r, err
	}
	if _, err := q.LockSourceForRetention(ctx, a.SourceID); err != nil {
		return r, fmt.Errorf("lock source: %w", err)
	}
	return r, db.noteVerdict(ctx, q, f, a, r)
}

// noteVerdict records on the snapshot what its verification found. One that
// failed calls it corrupt or, where it is whole and does not restore, suspicious. A
// full one that passed makes a corrupt snapshot what
// it was before: every byte of it was read and had its hash. A quick one does
// not, for it may not look where the damage was found.
func (db *DB) noteVerdict(ctx context.Context, q *query.Queries, f Fence, a query.LockAttemptRow, r report) error {
	if a.SnapshotID == nil {
		return nil
	}
	result := verdictOf(a, r)
	row, err := q.LockSnapshot(ctx, query.LockSnapshotParams{ID: *a.SnapshotID, TenantID: &a.TenantID})
	if errors.Is(err, pgx.ErrNoRows) || err == nil && row.Status == string(SnapshotDeleted) {
		return nil // it went meanwhile, and nothing is left to say about it
	}
	if err != nil {
		return fmt.Errorf("look up snapshot: %w", err)
	}
	switch {
	case !result.OK && result.Code.Disproves():
		return db.callDoubtful(ctx, q, f, row, result)
	case !result.OK:
		return db.callCorrupt(ctx, q, f, row, result)
	}
	before := row.Status
	if result.Kind.Opens() {
		makeWhole(&row)
	}
	if result.Kind == job.VerifyDrill {
		makeProven(&row)
	}
	if row, err = setVerdict(ctx, q, row, result); err != nil || row.Status == before {
		return err
	}
	if row.Status == string(SnapshotCompleted) {
		if err := tellGood(ctx, q, row.ID, false); err != nil {
			return err
		}
	}
	return db.Operator(Actor{Type: ActorWorker, ID: f.WorkerID}).audit(ctx, q, snapshotEvent("snapshot.whole_again", row, map[string]any{
		"job_id": a.ID.String(), "status": row.Status,
	}))
}

// makeWhole gives a corrupt snapshot back what it was.
func makeWhole(row *query.Snapshot) {
	before := row.CorruptFrom
	if before == nil {
		before = new(string(SnapshotSuspicious)) // for someone to look at
	}
	if row.Status == string(SnapshotCorrupt) {
		row.Status = *before
	}
	if is(row.DeletingFrom, string(SnapshotCorrupt)) {
		row.DeletingFrom = before
	}
	row.CorruptFrom = nil
}

// verdictOf is what a worker found, as far as the hub takes its word: the kind
// and the verdict follow from the job.
func verdictOf(a query.LockAttemptRow, r report) job.VerifyResult {
	var v job.VerifyResult
	if len(r.result) > 0 && json.Unmarshal(r.result, &v) != nil {
		v = job.VerifyResult{} // figures of another version
	}
	payload, err := job.DecodeVerify(a.Payload)
	if err != nil {
		payload.Kind = job.VerifyQuick
	}
	v.Kind, v.OK, v.JobID = payload.Kind, r.status == job.Completed, a.ID
	v.Files, v.Bytes, v.SizeBytes, v.DurationMS = max(v.Files, 0), max(v.Bytes, 0), max(v.SizeBytes, 0), max(v.DurationMS, 0)
	v.Code, v.Problem = "", ""
	if !v.OK {
		v.Code, v.Problem = r.code, r.message
	}
	if v.Kind != job.VerifyDrill {
		v.Drill = nil
	}
	return v
}

func setVerdict(ctx context.Context, q *query.Queries, row query.Snapshot, v job.VerifyResult) (query.Snapshot, error) {
	encoded, err := json.Marshal(v)
	if err != nil {
		return row, fmt.Errorf("encode verdict: %w", err)
	}
	row, err = q.SetVerdict(ctx, query.SetVerdictParams{
		ID: row.ID, Status: row.Status, DeletingFrom: row.DeletingFrom, CorruptFrom: row.CorruptFrom,
		DrillFrom: row.DrillFrom, Suspicion: row.Suspicion,
		VerifyResult: encoded, Passed: v.OK, FullPass: v.OK && v.Kind.Opens(), DrillPass: v.OK && v.Kind == job.VerifyDrill,
	})
	if err != nil {
		return row, fmt.Errorf("note verdict: %w", err)
	}
	return row, nil
}

const wrongStorage = "The worker reported a damaged snapshot, but its storage is not there or is not the one that the snapshot is on, so that nothing is " +
	"concluded from it. Check that the worker's disk is mounted; the verification is tried again."

// believeDamage looks once more whether the worker speaks of the right storage
// before anything is called damaged. Where it does not, the failure is the
// storage's.
func believeDamage(ctx context.Context, q *query.Queries, f Fence, a query.LockAttemptRow, r report) (report, error) {
	if a.SnapshotID == nil {
		return r, nil
	}
	right, err := q.WorkerHasStorageOf(ctx, query.WorkerHasStorageOfParams{WorkerID: f.WorkerID, SnapshotID: *a.SnapshotID})
	if err != nil {
		return r, fmt.Errorf("look at the worker's storage: %w", err)
	}
	if !right {
		r.code, r.message, r.result = job.StorageFailed, wrongStorage, nil
	}
	return r, nil
}
