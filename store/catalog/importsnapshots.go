package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// ImportBatch is some snapshots of one source, as they stand on one worker.
type ImportBatch struct {
	WorkerID string
	TenantID uuid.UUID
	SourceID uuid.UUID
	Type     string // of the source
	// Snapshots are of this source, of which ids differ.
	Snapshots []ImportSnapshot
}

// ImportState is what became of a snapshot.
type ImportState string

// What may become of a snapshot.
const (
	Imported    ImportState = "imported"
	AlreadyIn   ImportState = "present"   // and the same
	DiffersFrom ImportState = "different" // from the row that is there, which stays as it is
	NotImported ImportState = "refused"
)

// ImportOutcome is what became of a snapshot, and why.
type ImportOutcome struct {
	State  ImportState
	Detail string
}

// BatchOutcome is what became of a batch.
type BatchOutcome struct {
	SourceMade bool
	Snapshots  []ImportOutcome // in the batch's order
}

// PlaceholderSource is the name of a source of which no more than id and type are
// known.
func PlaceholderSource(kind string, id uuid.UUID) string {
	return "imported " + kind + " source " + id.String()
}

// ImportSnapshots takes in a batch in one transaction, the source with it where it
// is not there: disabled, without configuration and credential, which nobody
// knows any more.
func (im Importer) ImportSnapshots(ctx context.Context, b ImportBatch) (BatchOutcome, error) {
	var out BatchOutcome
	err := im.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error {
		out = BatchOutcome{Snapshots: make([]ImportOutcome, len(b.Snapshots))}
		worker, err := q.Worker(ctx, b.WorkerID)
		if err != nil {
			return fmt.Errorf("look up worker %s: %w", b.WorkerID, notFound(err))
		}
		refused, err := im.ensureSource(ctx, q, b, &out)
		if err != nil {
			return err
		}
		if refused != "" {
			for i := range out.Snapshots {
				out.Snapshots[i] = ImportOutcome{NotImported, refused}
			}
			return nil
		}
		return im.takeIn(ctx, tx, worker, b, &out)
	})
	return out, err
}

func (im Importer) ensureSource(ctx context.Context, q *query.Queries, b ImportBatch, out *BatchOutcome) (refused string, err error) {
	n, err := q.EnsureSource(ctx, query.EnsureSourceParams{
		ID: b.SourceID, TenantID: b.TenantID, Type: b.Type, Name: PlaceholderSource(b.Type, b.SourceID),
	})
	if err != nil {
		return "", fmt.Errorf("import source: %w", err)
	}
	if out.SourceMade = n > 0; out.SourceMade {
		return "", im.audit(ctx, q, "source.import", "source", b.SourceID, b.TenantID, map[string]any{"type": b.Type})
	}
	owner, err := q.SourceOwner(ctx, b.SourceID)
	switch {
	case err != nil:
		return "", fmt.Errorf("look up source: %w", err)
	case owner.TenantID != b.TenantID:
		return "its source is another tenant's in this catalog", nil
	case owner.Type != b.Type:
		return fmt.Sprintf("it is of a source of type %s, which is one of type %s in this catalog", b.Type, owner.Type), nil
	}
	return "", nil
}

func (im Importer) takeIn(ctx context.Context, tx pgx.Tx, worker query.Worker, b ImportBatch, out *BatchOutcome) error {
	ids := make([]uuid.UUID, len(b.Snapshots))
	for i, s := range b.Snapshots {
		ids[i] = s.ID
	}
	rows, err := query.New(tx).SnapshotsAmong(ctx, ids)
	if err != nil {
		return fmt.Errorf("look up snapshots: %w", err)
	}
	there := make(map[uuid.UUID]query.Snapshot, len(rows))
	for _, r := range rows {
		there[r.ID] = r
	}
	taken := []uuid.UUID{}
	for i, s := range b.Snapshots {
		if row, known := there[s.ID]; known {
			out.Snapshots[i] = compare(row, worker, b, s)
			continue
		}
		if out.Snapshots[i], err = takeOne(ctx, tx, worker, b, s); err != nil {
			return err
		}
		if out.Snapshots[i].State == Imported {
			taken = append(taken, s.ID)
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return im.audit(ctx, query.New(tx), "source.import_snapshots", "source", b.SourceID, b.TenantID,
		map[string]any{"worker_id": b.WorkerID, "snapshots": taken})
}

// compare holds what is on the storage against the row.
func compare(row query.Snapshot, worker query.Worker, b ImportBatch, s ImportSnapshot) ImportOutcome {
	var differs []string
	note := func(wrong bool, format string, args ...any) {
		if wrong {
			differs = append(differs, fmt.Sprintf(format, args...))
		}
	}
	note(row.TenantID != b.TenantID || row.SourceID != b.SourceID, "it is of another tenant or source")
	note(row.Status == string(SnapshotDeleted), "it was deleted")
	note(!is(row.WorkerID, worker.ID), "it is on worker %s", orNone(row.WorkerID))
	note(row.SizeBytes != s.Size, "the artifact has %d bytes, not %d", row.SizeBytes, s.Size)
	note(row.ArtifactSha256 != s.SHA256, "the artifact's hash is another one")
	note(row.EncryptionKeyID != s.KeyID || row.EncryptionRecipient != s.Recipient, "it is sealed to another key")
	if len(differs) > 0 {
		return ImportOutcome{DiffersFrom, "the catalog says: " + strings.Join(differs, "; ")}
	}
	return ImportOutcome{State: AlreadyIn}
}

func orNone(s *string) string {
	if s == nil {
		return "none"
	}
	return *s
}

// takeOne inserts a snapshot and the job that made it. In the rare case that
// someone else is just doing so, it looks what that one made.
func takeOne(ctx context.Context, tx pgx.Tx, worker query.Worker, b ImportBatch, s ImportSnapshot) (ImportOutcome, error) {
	jobID := s.JobID
	taken, err := query.New(tx).JobExists(ctx, jobID)
	if err != nil {
		return ImportOutcome{}, fmt.Errorf("look up job: %w", err)
	}
	if taken && s.Unconfirmed {
		return ImportOutcome{NotImported, "no hub ever took it, and its job is in the catalog without it: what is left of an attempt that failed"}, nil
	}
	if taken {
		jobID = NewID() // the catalog that knew what this job made is not this one
	}
	err = pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { return insertImported(ctx, query.New(tx), worker, b, s, jobID) })
	switch {
	case isViolation(err, "snapshots_pkey"), isViolation(err, "jobs_pkey"):
		return ImportOutcome{NotImported, "another import takes it in at this moment; import again to compare"}, nil
	case hasSQLState(err, "22", "23", "54"):
		return ImportOutcome{NotImported, "its manifest holds what a catalog cannot store"}, nil
	case err != nil:
		return ImportOutcome{}, fmt.Errorf("import snapshot %s: %w", s.ID, err)
	}
	return ImportOutcome{State: Imported}, nil
}

func insertImported(ctx context.Context, q *query.Queries, worker query.Worker, b ImportBatch, s ImportSnapshot, jobID uuid.UUID) error {
	if worker.StorageID == nil || worker.StorageBasePath == "" {
		return errors.New("the worker has no storage")
	}
	result, err := json.Marshal(map[string]any{"imported": true, "original_job_id": s.JobID})
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	params := query.ImportJobParams{
		ID: jobID, TenantID: b.TenantID, SourceID: b.SourceID, WorkerID: &s.MadeBy, Result: result, Status: string(job.Completed),
		SnapshotID: s.ID, Began: s.Began, Ended: &s.Ended,
	}
	if s.Errors > 0 {
		code, message := string(job.Internal), fmt.Sprintf("%d entries could not be read when this backup was made. "+
			"Why, was in the catalog that was lost; which ones, is in the snapshot's list of files.", s.Errors)
		params.Status, params.ErrorCode, params.ErrorMessage = string(job.Failed), &code, &message
	}
	if err := q.ImportJob(ctx, params); err != nil {
		return err
	}
	place := SnapshotPath(worker.StorageBasePath, b.TenantID, b.SourceID, s.ID)
	return q.ImportSnapshot(ctx, query.ImportSnapshotParams{
		ID: s.ID, TenantID: b.TenantID, SourceID: b.SourceID, JobID: jobID, Status: string(s.Status), SizeBytes: s.Size,
		StartedAt: s.Began, FinishedAt: s.Ended, DurationMs: s.DurationMS, ManifestJson: s.Manifest, ArtifactSha256: s.SHA256,
		EncryptionKeyID: s.KeyID, EncryptionRecipient: s.Recipient, WorkerID: &worker.ID, StorageID: worker.StorageID, LocalPath: &place,
	})
}
