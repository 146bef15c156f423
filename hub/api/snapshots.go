package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/store/catalog"
)

// Snapshot is the result of one backup.
type Snapshot struct {
	ID                  uuid.UUID       `json:"id" format:"uuid"`
	TenantID            uuid.UUID       `json:"tenant_id" format:"uuid"`
	SourceID            uuid.UUID       `json:"source_id" format:"uuid"`
	JobID               uuid.UUID       `json:"job_id" format:"uuid"`
	Status              string          `json:"status" enum:"completed,partial,suspicious,corrupt,failed,deleting,deleted" doc:"Only completed ones are whole for certain"`
	SizeBytes           int64           `json:"size_bytes" doc:"Of the sealed artifact"`
	StartedAt           Time            `json:"started_at"`
	FinishedAt          Time            `json:"finished_at"`
	DurationMS          int64           `json:"duration_ms"`
	Manifest            json.RawMessage `json:"manifest" doc:"The artifact's manifest.json"`
	EncryptionAlgorithm string          `json:"encryption_algorithm" enum:"age-x25519"`
	EncryptionKeyID     uuid.UUID       `json:"encryption_key_id" format:"uuid"`
	EncryptionRecipient string          `json:"encryption_recipient"`
	StorageBackend      string          `json:"storage_backend" enum:"local_fs,s3"`
	WorkerID            *string         `json:"worker_id" doc:"local_fs: the worker that has it"`
	LocalPath           *string         `json:"local_path" doc:"local_fs: the snapshot's folder on that worker"`
	Bucket              *string         `json:"bucket"`
	ObjectKey           *string         `json:"object_key"`
	ETag                *string         `json:"etag"`
	Hold                bool            `json:"hold" doc:"A held snapshot is never deleted"`
	Note                string          `json:"note"`
	VerifiedAt          *Time           `json:"verified_at" nullable:"true" doc:"When a verification last came to a verdict"`
	FullyVerifiedAt     *Time           `json:"fully_verified_at" nullable:"true" doc:"When a full verification, or a drill, last found it whole"`
	DrilledAt           *Time           `json:"drilled_at" nullable:"true" doc:"When a restore drill last passed"`
	VerifyResult        *VerifyResult   `json:"verify_result" doc:"What the verification of verified_at found"`
	Suspicion           string          `json:"suspicion" doc:"Why it is suspicious, or was until someone accepted it"`
	AcceptedAt          *Time           `json:"accepted_at" nullable:"true" doc:"When someone said that it is good all the same"`
	MissingSince        *Time           `json:"missing_since" nullable:"true" doc:"Since when its files are not on its storage, though that is there"`
	DeletingFrom        *string         `json:"deleting_from" doc:"What it was before it was to be deleted"`
	DeleteAfter         *Time           `json:"delete_after" nullable:"true" doc:"While it is deleting: from when on its files are removed"`
	DeletedAt           *Time           `json:"deleted_at" nullable:"true"`
	CreatedAt           Time            `json:"created_at"`
	UpdatedAt           Time            `json:"updated_at"`
}

func snapshotOf(s catalog.Snapshot) Snapshot {
	return Snapshot{
		ID: s.ID, TenantID: s.TenantID, SourceID: s.SourceID, JobID: s.JobID, Status: string(s.Status),
		SizeBytes: s.SizeBytes, StartedAt: Time{s.StartedAt}, FinishedAt: Time{s.FinishedAt}, DurationMS: s.DurationMS,
		Manifest: s.Manifest, EncryptionAlgorithm: s.EncryptionAlgorithm, EncryptionKeyID: s.EncryptionKeyID,
		EncryptionRecipient: s.EncryptionRecipient, StorageBackend: s.StorageBackend, WorkerID: s.WorkerID,
		LocalPath: s.LocalPath, Bucket: s.Bucket, ObjectKey: s.ObjectKey, ETag: s.ETag,
		Hold: s.Hold, Note: s.Note, VerifiedAt: optionalTime(s.VerifiedAt),
		FullyVerifiedAt: optionalTime(s.FullyVerifiedAt), DrilledAt: optionalTime(s.DrilledAt), VerifyResult: verifyResultOf(s.VerifyResult),
		Suspicion: s.Suspicion, AcceptedAt: optionalTime(s.AcceptedAt), MissingSince: optionalTime(s.MissingSince),
		DeletingFrom: s.DeletingFrom, DeleteAfter: optionalTime(s.DeleteAfter), DeletedAt: optionalTime(s.DeletedAt),
		CreatedAt: Time{s.CreatedAt}, UpdatedAt: Time{s.UpdatedAt},
	}
}

func (s *server) registerSnapshots(api huma.API) {
	tags := []string{"snapshots"}
	register(s, api, huma.Operation{
		OperationID: "list-snapshots", Method: http.MethodGet, Path: "/snapshots", Tags: tags, Summary: "List snapshots",
	}, s.listSnapshots)
	register(s, api, huma.Operation{
		OperationID: "get-snapshot", Method: http.MethodGet, Path: "/snapshots/{id}", Tags: tags, Summary: "Get a snapshot",
	}, s.getSnapshot)
	register(s, api, huma.Operation{
		OperationID: "update-snapshot", Method: http.MethodPatch, Path: "/snapshots/{id}", Tags: tags,
		Summary: "Hold a snapshot, let it go, or note something about it",
	}, s.updateSnapshot)
	s.registerSnapshotLife(api)
	s.registerVerify(api)
}

type listSnapshotsInput struct {
	TenantQuery
	SourceID uuid.UUID `query:"source_id" format:"uuid" doc:"Of this source only"`
	Status   string    `query:"status" enum:"completed,partial,suspicious,corrupt,failed,deleting,deleted" doc:"In this state only"`
	PageQuery
}

func (s *server) listSnapshots(ctx context.Context, in *listSnapshotsInput) (*Body[List[Snapshot]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	filter := catalog.SnapshotFilter{
		TenantID: in.tenant(), SourceID: optional(in.SourceID), Status: catalog.SnapshotStatus(in.Status),
	}
	rows, err := s.scope(ctx).Snapshots(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, snapshotOf, func(s catalog.Snapshot) uuid.UUID { return s.ID }), nil
}

func (s *server) getSnapshot(ctx context.Context, in *IDPath) (*Body[Snapshot], error) {
	snapshot, err := s.scope(ctx).Snapshot(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[Snapshot]{snapshotOf(snapshot)}, nil
}

type updateSnapshotInput struct {
	IDPath
	Body struct {
		Hold *bool   `json:"hold,omitempty" doc:"A held snapshot is never deleted"`
		Note *string `json:"note,omitempty" maxLength:"2000"`
	}
}

func (s *server) updateSnapshot(ctx context.Context, in *updateSnapshotInput) (*Body[Snapshot], error) {
	oneLine := strings.NewReplacer("\n", "", "\t", "").Replace(deref(in.Body.Note))
	if err := checkNames(named{"body.note", oneLine}); err != nil {
		return nil, err
	}
	snapshot, err := s.scope(ctx).PatchSnapshot(ctx, in.ID, catalog.SnapshotPatch{Hold: in.Body.Hold, Note: in.Body.Note})
	if err != nil {
		return nil, err
	}
	return &Body[Snapshot]{snapshotOf(snapshot)}, nil
}
