package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/internal/ticket"
	"xvault/store/catalog/query"
)

// restorePriority: a person waits for it.
const restorePriority = 7

// DownloadRequest asks for a download of a snapshot, or of a part of it.
type DownloadRequest struct {
	SnapshotID uuid.UUID
	Payload    job.RestorePayload
	// TTL is for how long the download is good once the job is done.
	TTL time.Duration
}

// CreateDownload queues a restore for the worker that holds the snapshot, and
// its ticket with it, which comes to life when the job completes. Errors:
// ErrNotFound; *Conflict "snapshot_not_restorable", "identity_missing",
// "worker_removed", "worker_unreachable", "not_on_worker".
func (s Scope) CreateDownload(ctx context.Context, req DownloadRequest) (Job, error) {
	req.Payload.Destination = job.DestinationDownload
	payload, err := encodePayload(req.Payload)
	if err != nil {
		return Job{}, err
	}
	var row query.CreateJobRow
	err = s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		snapshot, worker, err := s.reachable(ctx, q, req.SnapshotID)
		if err != nil {
			return err
		}
		id := NewID()
		if err := s.takeIdempotencyKey(ctx, q, "job", id.String()); err != nil {
			return err
		}
		row, err = q.CreateJob(ctx, query.CreateJobParams{
			ID: id, TenantID: &snapshot.TenantID, SourceID: snapshot.SourceID, Type: string(job.Restore), Priority: restorePriority,
			Payload: payload, TargetWorkerID: &worker.ID, SnapshotID: &snapshot.ID, MaxAttempts: job.MaxAttempts,
			EventID: NewID(), ActorType: string(s.actor.Type), ActorID: s.actor.ID,
			RemoteAddr: s.actor.RemoteAddr, RequestID: s.actor.RequestID,
		})
		if err != nil {
			return notFound(err)
		}
		selection := ticket.Select(req.Payload)
		_, err = q.InsertTicket(ctx, query.InsertTicketParams{
			ID: NewID(), TenantID: snapshot.TenantID, Kind: "download", SnapshotID: snapshot.ID, JobID: &row.ID,
			WorkerID: worker.ID, Selection: selection[:], TtlSeconds: ttlSeconds(req.TTL),
		})
		return err
	})
	if err != nil {
		return Job{}, fmt.Errorf("create restore: %w", err)
	}
	s.db.queueChanged()
	return createdJob(row), nil
}

func ttlSeconds(d time.Duration) int32 { return int32(max(d/time.Second, 1)) }

// reachable gives a snapshot that can be read, and its worker, which people can
// reach.
func (s Scope) reachable(ctx context.Context, q *query.Queries, id uuid.UUID) (query.Snapshot, query.Worker, error) {
	snapshot, worker, err := s.held(ctx, q, id)
	if err == nil && worker.PublicUrl == "" {
		return query.Snapshot{}, query.Worker{}, &Conflict{"worker_unreachable", "People cannot reach the worker that holds this snapshot: it has no public address. " +
			"Give it one (WORKER_LISTEN_ADDR and WORKER_PUBLIC_URL, with a certificate). Other ways out: restore into the source itself " +
			"(xvault restore --to-source), which the worker does on its own, or keep snapshots on S3."}
	}
	return snapshot, worker, err
}

// restorable refuses snapshots of which nothing can be read.
func restorable(s query.Snapshot) error {
	switch SnapshotStatus(s.Status) {
	case SnapshotDeleting, SnapshotDeleted, SnapshotFailed:
		return &Conflict{"snapshot_not_restorable", "The snapshot is " + s.Status + ": there is nothing to restore from it. " +
			"One that is being deleted can be taken back as long as it is not deleted."}
	}
	if s.StorageBackend != "local_fs" || s.WorkerID == nil {
		return &Conflict{"not_on_worker", "The snapshot is on no worker's disk, so that no worker can hand it out."}
	}
	return nil
}

// openable refuses snapshots whose identity is not in this catalog.
func openable(ctx context.Context, q *query.Queries, s query.Snapshot) error {
	missing, err := q.IdentityMissing(ctx, query.IdentityMissingParams{TenantID: s.TenantID, ID: s.EncryptionKeyID})
	if err != nil {
		return fmt.Errorf("look up the snapshot's key: %w", err)
	}
	if missing {
		return identityMissing(s.EncryptionRecipient)
	}
	return nil
}

// FilesTicket makes a ticket with which a snapshot's files can be listed at its
// worker for ttl. Errors as those of CreateDownload.
func (s Scope) FilesTicket(ctx context.Context, snapshotID uuid.UUID, ttl time.Duration) (JobTicket, error) {
	var out JobTicket
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		snapshot, worker, err := s.reachable(ctx, q, snapshotID)
		if err != nil {
			return err
		}
		row, err := q.InsertTicket(ctx, query.InsertTicketParams{
			ID: NewID(), TenantID: snapshot.TenantID, Kind: "files", SnapshotID: snapshot.ID,
			WorkerID: worker.ID, Selection: make([]byte, 32), TtlSeconds: ttlSeconds(ttl),
		})
		if err != nil {
			return err
		}
		out = JobTicket{
			Ticket: ticket.Ticket{
				ID: row.ID, Kind: ticket.Files, Subject: snapshot.ID, Worker: worker.ID,
				Expires: wholeSeconds(row.CreatedAt.Add(time.Duration(row.TtlSeconds) * time.Second)),
			},
			PublicURL: worker.PublicUrl,
		}
		return s.audit(ctx, q, Event{
			TenantID: &snapshot.TenantID, Action: "snapshot.list_files", ObjectType: "snapshot", ObjectID: snapshot.ID.String(),
			Detail: map[string]any{"ticket_id": row.ID},
		})
	})
	if err != nil {
		return JobTicket{}, fmt.Errorf("make ticket: %w", err)
	}
	return out, nil
}
