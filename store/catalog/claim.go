package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

var (
	// ErrNotClaimable means that the job exists, but there is nothing for this worker to
	// do now: another has it, it is not due, or the worker is to drain.
	ErrNotClaimable = errors.New("the job is not to be claimed by this worker now")
	// ErrGone means that the job has ended, or never was.
	ErrGone = errors.New("the job has ended")
)

// WorkerRef is one start of one worker.
type WorkerRef struct {
	ID          string
	Incarnation int64
	// Token, where it is given, must be the worker's still when it claims.
	Token *TokenHash
}

// Claimed is an attempt and what it needs.
type Claimed struct {
	JobID     uuid.UUID
	TenantID  uuid.UUID
	Kind      job.Kind
	Attempt   int
	Lease     time.Duration // what is left of it
	CreatedAt time.Time
	StartedAt time.Time
	// SnapshotID is fresh for each attempt of a backup; for other kinds it is
	// the snapshot to work on, or zero.
	SnapshotID uuid.UUID
	Payload    json.RawMessage
	Source     ClaimedSource
	TenantKey  *ClaimedKey       // nil: the tenant has no active key
	Credential *SealedCredential // nil: the source has none
	Snapshot   *ClaimedSnapshot  // nil: the job reads none
}

// ClaimedSnapshot is the snapshot that a job reads, and the tenant's identity
// that opens it, as it is stored.
type ClaimedSnapshot struct {
	SourceID  uuid.UUID // that it is of; a restore may be to another one
	SizeBytes int64
	SHA256    string // of the artifact
	Recipient string
	Identity  SealedCredential
	Manifest  json.RawMessage // of a job that verifies it
}

// ClaimedSource is the source of a claimed job.
type ClaimedSource struct {
	ID             uuid.UUID
	Type           string
	Config         json.RawMessage
	PinnedHostKeys []string
	Bandwidth      json.RawMessage // nil: no limit
	// SSHCredentialID is the credential of the machine through which it is reached;
	// nil: directly.
	SSHCredentialID *uuid.UUID
}

// ClaimedKey is the recipient to seal a backup to.
type ClaimedKey struct {
	ID        uuid.UUID
	Algorithm string
	PublicKey string
}

// SealedCredential is a credential as it is stored, under its envelope.
type SealedCredential struct {
	ID         uuid.UUID
	TenantID   uuid.UUID
	KeyID      string
	Ciphertext []byte
}

// ClaimJob gives the job to the worker: one conditional UPDATE, of which any
// number may race and one wins. The same claim again, by the same start of the
// same worker, gets the same answer as long as the attempt is current. Errors:
// ErrNotClaimable, ErrGone.
func (db *DB) ClaimJob(ctx context.Context, w WorkerRef, req job.ClaimRequest) (Claimed, error) {
	params := query.ClaimJobParams{
		WorkerID: w.ID, Incarnation: w.Incarnation, ClaimID: req.ClaimID, JobID: req.JobID,
		SnapshotID: NewID(), LeaseSeconds: job.Lease.Seconds(),
		OnePerSource: db.limits.PerSource == 1, TokenHash: storedToken(w.Token),
	}
	row, err := db.together().ClaimJob(ctx, params)
	if errors.Is(err, pgx.ErrNoRows) {
		if err := db.whyNotClaimed(ctx, w, req); err != nil {
			return Claimed{}, db.postponed(ctx, w, req, err)
		}
		// Two of the same claim at once: the other one has taken it meanwhile.
		row, err = db.together().ClaimJob(ctx, params)
		if errors.Is(err, pgx.ErrNoRows) {
			return Claimed{}, ErrNotClaimable
		}
	}
	if isViolation(err, "jobs_one_per_source") {
		// Two hubs dispatched backups of one source in the same moment, or it is being
		// restored to; the reconciler finds the one that comes second.
		return Claimed{}, ErrNotClaimable
	}
	if err != nil {
		return Claimed{}, fmt.Errorf("claim job: %w", err)
	}
	return claimedOf(row), nil
}

// whyNotClaimed is nil where this very claim holds the attempt.
func (db *DB) whyNotClaimed(ctx context.Context, w WorkerRef, req job.ClaimRequest) error {
	state, err := db.q().ClaimState(ctx, req.JobID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrGone
	case err != nil:
		return fmt.Errorf("look up job to claim: %w", err)
	case job.Status(state.Status).Terminal():
		return ErrGone
	case state.Status != string(job.Queued) && is(state.ClaimID, req.ClaimID) && is(state.WorkerID, w.ID) &&
		is(state.WorkerIncarnation, w.Incarnation):
		return nil
	default:
		return ErrNotClaimable
	}
}

// postponed puts a deletion off that its worker asked for and must not have yet:
// something reads the snapshot. Else it would be handed out again at once.
func (db *DB) postponed(ctx context.Context, w WorkerRef, req job.ClaimRequest, why error) error {
	if !errors.Is(why, ErrNotClaimable) {
		return why
	}
	if err := db.q().PostponeDeletion(ctx, query.PostponeDeletionParams{JobID: req.JobID, WorkerID: &w.ID}); err != nil {
		return fmt.Errorf("postpone deletion: %w", err)
	}
	return why
}

// is compares a nullable column with a value.
func is[T comparable](column *T, value T) bool { return column != nil && *column == value }

func claimedOf(r query.ClaimJobRow) Claimed {
	c := Claimed{
		JobID: r.ID, TenantID: r.TenantID, Kind: job.Kind(r.Type), Attempt: int(r.Attempt),
		Lease: time.Duration(r.LeaseMs) * time.Millisecond, CreatedAt: r.CreatedAt, Payload: r.Payload,
		Source: ClaimedSource{ID: r.SourceID, Type: r.SourceType, Config: r.Config, PinnedHostKeys: r.PinnedHostKeys, Bandwidth: r.Bandwidth, SSHCredentialID: r.SshCredentialID},
	}
	if r.StartedAt != nil {
		c.StartedAt = *r.StartedAt
	}
	switch {
	case r.AttemptSnapshotID != nil:
		c.SnapshotID = *r.AttemptSnapshotID
	case r.SnapshotID != nil:
		c.SnapshotID = *r.SnapshotID
	}
	if r.TenantKeyID != nil {
		c.TenantKey = &ClaimedKey{ID: *r.TenantKeyID, Algorithm: *r.TenantKeyAlgorithm, PublicKey: *r.TenantPublicKey}
	}
	if r.CredentialID != nil {
		c.Credential = &SealedCredential{
			ID: *r.CredentialID, TenantID: r.TenantID, KeyID: *r.CredentialKeyID, Ciphertext: r.CredentialCiphertext,
		}
	}
	if r.SnapshotSize != nil && r.IdentityID != nil {
		c.Snapshot = &ClaimedSnapshot{
			SourceID: *r.SnapshotSourceID, SizeBytes: *r.SnapshotSize, SHA256: *r.ArtifactSha256, Recipient: *r.EncryptionRecipient,
			Manifest: r.SnapshotManifest,
			Identity: SealedCredential{ID: *r.IdentityID, TenantID: r.TenantID, KeyID: *r.IdentityKeyID, Ciphertext: r.IdentityCiphertext},
		}
	}
	return c
}

// JobCredential is a credential as it is stored, for a worker that holds a
// lease on a job that uses it; for any other it is ErrNotFound.
func (db *DB) JobCredential(ctx context.Context, w WorkerRef, credentialID uuid.UUID) (SealedCredential, error) {
	row, err := db.q().LeasedCredential(ctx, query.LeasedCredentialParams{
		CredentialID: credentialID, WorkerID: &w.ID, Incarnation: &w.Incarnation,
	})
	if err != nil {
		return SealedCredential{}, notFound(err)
	}
	return SealedCredential{ID: row.ID, TenantID: row.TenantID, KeyID: row.KeyID, Ciphertext: row.Ciphertext}, nil
}
