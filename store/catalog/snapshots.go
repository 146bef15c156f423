package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// SnapshotStatus is what a snapshot is worth.
type SnapshotStatus string

// The states of a snapshot. Only completed ones are whole for certain.
const (
	SnapshotCompleted  SnapshotStatus = "completed"
	SnapshotPartial    SnapshotStatus = "partial"
	SnapshotSuspicious SnapshotStatus = "suspicious"
	SnapshotCorrupt    SnapshotStatus = "corrupt"
	SnapshotFailed     SnapshotStatus = "failed"
	SnapshotDeleting   SnapshotStatus = "deleting"
	SnapshotDeleted    SnapshotStatus = "deleted"
)

// Snapshot is the result of one backup: an artifact, its manifest and where it
// is. The locator is WorkerID and LocalPath, or Bucket and ObjectKey.
type Snapshot struct {
	ID                  uuid.UUID
	TenantID            uuid.UUID
	SourceID            uuid.UUID
	JobID               uuid.UUID
	Status              SnapshotStatus
	SizeBytes           int64
	StartedAt           time.Time
	FinishedAt          time.Time
	DurationMS          int64
	Manifest            json.RawMessage
	ArtifactSHA256      string
	EncryptionAlgorithm string
	EncryptionKeyID     uuid.UUID
	EncryptionRecipient string
	StorageBackend      string
	WorkerID            *string
	StorageID           *uuid.UUID
	LocalPath           *string
	Bucket              *string
	ObjectKey           *string
	ETag                *string
	Hold                bool
	Note                string
	// VerifiedAt is when a verification last came to a verdict, VerifyResult what
	// it was, a job.VerifyResult; FullyVerifiedAt when a full one, or a drill, last passed.
	VerifiedAt      *time.Time
	FullyVerifiedAt *time.Time
	// DrilledAt is when a drill last passed.
	DrilledAt    *time.Time
	VerifyResult json.RawMessage
	// Suspicion is why it was called suspicious, also after someone accepted it.
	Suspicion  string
	AcceptedAt *time.Time
	// MissingSince tells that its files are not on its storage, though that is
	// there: it is not good while they are not.
	MissingSince *time.Time
	// Of a deletion: what it was before, from when on a worker may begin, and
	// when it had happened.
	DeletingFrom *string
	DeleteAfter  *time.Time
	DeletedAt    *time.Time
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

func snapshotOf(r query.Snapshot) Snapshot {
	return Snapshot{
		ID: r.ID, TenantID: r.TenantID, SourceID: r.SourceID, JobID: r.JobID,
		Status: SnapshotStatus(r.Status), SizeBytes: r.SizeBytes,
		StartedAt: r.StartedAt, FinishedAt: r.FinishedAt, DurationMS: r.DurationMs,
		Manifest: r.ManifestJson, ArtifactSHA256: r.ArtifactSha256,
		EncryptionAlgorithm: r.EncryptionAlgorithm, EncryptionKeyID: r.EncryptionKeyID,
		EncryptionRecipient: r.EncryptionRecipient, StorageBackend: r.StorageBackend,
		WorkerID: r.WorkerID, StorageID: r.StorageID, LocalPath: r.LocalPath,
		Bucket: r.Bucket, ObjectKey: r.ObjectKey, ETag: r.Etag,
		Hold: r.Hold, Note: r.Note, VerifiedAt: r.VerifiedAt, FullyVerifiedAt: r.FullyVerifiedAt, DrilledAt: r.DrilledAt, VerifyResult: r.VerifyResult, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
		Suspicion: r.Suspicion, AcceptedAt: r.AcceptedAt, MissingSince: r.MissingSince,
		DeletingFrom: r.DeletingFrom, DeleteAfter: r.DeleteAfter, DeletedAt: r.DeletedAt,
	}
}

// Snapshot finds one snapshot of the scope.
func (s Scope) Snapshot(ctx context.Context, id uuid.UUID) (Snapshot, error) {
	row, err := s.db.q().Snapshot(ctx, query.SnapshotParams{ID: id, TenantID: s.tenant})
	if err != nil {
		return Snapshot{}, notFound(err)
	}
	return snapshotOf(row), nil
}

// SnapshotFilter narrows a list; zero fields do not.
type SnapshotFilter struct {
	TenantID *uuid.UUID // the operator's choice; a tenant's scope implies its own
	SourceID *uuid.UUID
	Status   SnapshotStatus
}

// Snapshots lists snapshots of the scope, newest first.
func (s Scope) Snapshots(ctx context.Context, f SnapshotFilter, page Page) ([]Snapshot, error) {
	var where filter
	if !where.tenant("tenant_id", s, f.TenantID) {
		return nil, ErrNotFound
	}
	if f.SourceID != nil {
		if s.tenant == nil && f.TenantID == nil {
			// The index of a source's snapshots begins with its tenant.
			where.add("tenant_id = (SELECT tenant_id FROM sources WHERE id = ?)", *f.SourceID)
		}
		where.add("source_id = ?", *f.SourceID)
	}
	if f.Status != "" {
		where.add("status = ?", string(f.Status))
	}
	statement, args := where.newestFirst("SELECT * FROM snapshots", "id", page)
	rows, err := s.db.pool.Query(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[query.Snapshot])
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	snapshots := make([]Snapshot, len(found))
	for i, row := range found {
		snapshots[i] = snapshotOf(row)
	}
	return snapshots, nil
}

// SnapshotPatch changes what people may say about a snapshot; nil leaves it.
type SnapshotPatch struct {
	Hold *bool // a held snapshot is never deleted
	Note *string
}

// PatchSnapshot changes hold and note. A hold on a snapshot that is being deleted
// takes it back; a *Conflict "snapshot_deleted" or "deletion_begun" says that it
// came too late.
func (s Scope) PatchSnapshot(ctx context.Context, id uuid.UUID, patch SnapshotPatch) (Snapshot, error) {
	return s.changeSnapshot(ctx, id, func(q *query.Queries, row query.Snapshot) (_ query.Snapshot, err error) {
		detail := map[string]any{}
		if patch.Hold != nil {
			if row, err = letHold(ctx, q, row, *patch.Hold); err != nil {
				return row, err
			}
			detail["hold"] = row.Hold
		}
		if patch.Note != nil {
			row.Note = *patch.Note
			detail["note"] = row.Note
		}
		row, err = q.SetSnapshotHoldAndNote(ctx, query.SetSnapshotHoldAndNoteParams{ID: id, Hold: row.Hold, Note: row.Note})
		if err != nil {
			return row, fmt.Errorf("change snapshot: %w", err)
		}
		return row, s.audit(ctx, q, snapshotEvent("snapshot.update", row, detail))
	})
}

// letHold sets hold on a locked row, and saves it from a deletion.
func letHold(ctx context.Context, q *query.Queries, row query.Snapshot, hold bool) (query.Snapshot, error) {
	if hold && row.Status == string(SnapshotDeleted) {
		return row, &Conflict{"snapshot_deleted", "The snapshot is deleted; there is nothing left to hold."}
	}
	if hold && row.Status == string(SnapshotDeleting) {
		var err error
		if row, err = takeBack(ctx, q, row); err != nil {
			return row, err
		}
	}
	row.Hold = hold
	return row, nil
}
