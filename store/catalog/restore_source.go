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

// SourceRestoreRequest asks for a snapshot, or a part of it, to be written back to
// a source.
type SourceRestoreRequest struct {
	SnapshotID uuid.UUID
	// TargetID is the source to write to, of the snapshot's tenant; zero for the
	// one that the snapshot is of.
	TargetID uuid.UUID
	Payload  job.RestorePayload
	// Writable reports whether sources of a type can be written to.
	Writable func(sourceType string) bool
	// Site reports whether sources of a type are web sites, to which SiteURL and Database
	// of the payload mean something.
	Site func(sourceType string) bool
}

// CreateSourceRestore queues a restore to a source, for the worker that holds the
// snapshot. The job is one of the source that is written to. Errors: ErrNotFound;
// *Conflict "snapshot_not_restorable", "not_on_worker", "worker_removed",
// "source_not_writable", "source_not_a_site".
func (s Scope) CreateSourceRestore(ctx context.Context, req SourceRestoreRequest) (Job, error) {
	req.Payload.Destination = job.DestinationSource
	payload, err := encodePayload(req.Payload)
	if err != nil {
		return Job{}, err
	}
	var row query.CreateJobRow
	err = s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		snapshot, worker, err := s.held(ctx, q, req.SnapshotID)
		if err != nil {
			return err
		}
		target := req.TargetID
		if target == uuid.Nil {
			target = snapshot.SourceID
		}
		if err := mayWriteTo(ctx, q, snapshot.TenantID, target, req); err != nil {
			return err
		}
		id := NewID()
		if err := s.takeIdempotencyKey(ctx, q, "job", id.String()); err != nil {
			return err
		}
		row, err = q.CreateJob(ctx, query.CreateJobParams{
			ID: id, TenantID: &snapshot.TenantID, SourceID: target, Type: string(job.Restore), Priority: restorePriority,
			Payload: payload, TargetWorkerID: &worker.ID, SnapshotID: &snapshot.ID, MaxAttempts: job.MaxAttempts,
			EventID: NewID(), ActorType: string(s.actor.Type), ActorID: s.actor.ID,
			RemoteAddr: s.actor.RemoteAddr, RequestID: s.actor.RequestID,
		})
		return notFound(err)
	})
	if err != nil {
		return Job{}, fmt.Errorf("create restore: %w", err)
	}
	s.db.queueChanged()
	return createdJob(row), nil
}

// mayWriteTo refuses sources of other tenants, as if they were not there, and of
// types that cannot be written to, or not in this way.
func mayWriteTo(ctx context.Context, q *query.Queries, tenant, source uuid.UUID, req SourceRestoreRequest) error {
	found, err := q.SourceByID(ctx, query.SourceByIDParams{ID: source, TenantID: &tenant})
	if err != nil {
		return notFound(err)
	}
	if !req.Writable(found.Type) {
		return &Conflict{"source_not_writable", "Nothing can be written to sources of the type " + found.Type + ": download the files instead, or name another source in target_source_id."}
	}
	if (req.Payload.SiteURL != "" || req.Payload.Database != "") && !req.Site(found.Type) {
		return &Conflict{"source_not_a_site", "url and database go with sources that are web sites, and this one is of the type " + found.Type + ": leave them out."}
	}
	return nil
}

// held gives a snapshot that can be read, locked, and the worker that holds it.
func (s Scope) held(ctx context.Context, q *query.Queries, id uuid.UUID) (query.Snapshot, query.Worker, error) {
	snapshot, err := q.LockSnapshot(ctx, query.LockSnapshotParams{ID: id, TenantID: s.tenant})
	if err != nil {
		return query.Snapshot{}, query.Worker{}, notFound(err)
	}
	if err := restorable(snapshot); err != nil {
		return query.Snapshot{}, query.Worker{}, err
	}
	if err := openable(ctx, q, snapshot); err != nil {
		return query.Snapshot{}, query.Worker{}, err
	}
	worker, err := q.Worker(ctx, *snapshot.WorkerID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return query.Snapshot{}, query.Worker{}, &Conflict{"worker_removed", "The worker that holds this snapshot was removed from the hub. " +
			"Start it again on its storage, or open the artifact there with the tenant's exported key: xvault snapshot open."}
	case err != nil:
		return query.Snapshot{}, query.Worker{}, fmt.Errorf("look up worker: %w", err)
	}
	return snapshot, worker, nil
}
