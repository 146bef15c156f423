package workerapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/hub/problem"
	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/store/catalog"
)

func (a *api) claim(ctx context.Context, c *call, req job.ClaimRequest) (job.Claim, error) {
	if req.JobID == uuid.Nil || req.ClaimID == uuid.Nil {
		return job.Claim{}, problem.Field("body.job_id", "it is required, and so is claim_id; each is a UUID")
	}
	if err := failpoint.Hit("claim.before_commit"); err != nil {
		return job.Claim{}, err
	}
	claimed, err := a.db.ClaimJob(ctx, c.ref(), req)
	if err != nil {
		return job.Claim{}, err
	}
	if err := failpoint.Hit("claim.after_commit"); err != nil {
		return job.Claim{}, err
	}
	fence := c.fenceOf(claimed.JobID, claimed.Attempt)
	answer := claimOf(claimed)
	if claimed.Credential != nil && job.UsesSource(claimed.Kind, claimed.Payload) {
		answer.SealedCredential, err = a.sealTo(c.worker, *claimed.Credential)
		if err != nil {
			return job.Claim{}, a.cannotStart(ctx, c, fence, err)
		}
	}
	if id := claimed.Source.SSHCredentialID; id != nil && job.UsesSource(claimed.Kind, claimed.Payload) {
		if answer.SealedSSHCredential, err = a.sealSSH(ctx, c, *id); err != nil {
			return job.Claim{}, a.cannotStart(ctx, c, fence, err)
		}
	}
	if claimed.Snapshot != nil && job.OpensSnapshot(claimed.Kind, claimed.Payload) {
		answer.SealedIdentity, err = a.sealIdentity(c.worker, claimed.Snapshot.Identity)
		if err != nil {
			return job.Claim{}, a.cannotStart(ctx, c, fence, err)
		}
	}
	a.log.LogAttrs(ctx, slog.LevelInfo, "job claimed", attemptAttrs(c, fence)...)
	return answer, nil
}

func claimOf(c catalog.Claimed) job.Claim {
	claim := job.Claim{
		JobID: c.JobID, TenantID: c.TenantID, Kind: c.Kind, Attempt: c.Attempt, LeaseMS: c.Lease.Milliseconds(),
		CreatedAt: c.CreatedAt.UTC(), StartedAt: c.StartedAt.UTC(), SnapshotID: c.SnapshotID, Payload: c.Payload,
		Source: &job.ClaimSource{
			ID: c.Source.ID, Type: c.Source.Type, Config: c.Source.Config, PinnedHostKeys: c.Source.PinnedHostKeys,
			Bandwidth: c.Source.Bandwidth,
		},
	}
	if c.Credential != nil {
		claim.Source.CredentialID = c.Credential.ID
	}
	if c.TenantKey != nil {
		claim.TenantKey = &job.ClaimTenantKey{ID: c.TenantKey.ID, Algorithm: c.TenantKey.Algorithm, PublicKey: c.TenantKey.PublicKey}
	}
	if c.Snapshot != nil {
		claim.Snapshot = &job.ClaimSnapshot{
			SourceID: c.Snapshot.SourceID, SizeBytes: c.Snapshot.SizeBytes, SHA256: c.Snapshot.SHA256, Recipient: c.Snapshot.Recipient, Manifest: c.Snapshot.Manifest,
		}
	}
	return claim
}

// sealSSH reads what lets a worker into the machine before the source. It was not
// part of the claim, for few sources have one.
func (a *api) sealSSH(ctx context.Context, c *call, id uuid.UUID) ([]byte, error) {
	stored, err := a.db.JobCredential(ctx, c.ref(), id)
	if err != nil {
		return nil, fmt.Errorf("read the credential for ssh %s: %w", id, err)
	}
	return a.sealTo(c.worker, stored)
}

// errNoIdentity: the catalog was rebuilt without the identity of this key.
var errNoIdentity = errors.New("the tenant's identity is missing: it was not given when the catalog was rebuilt")

// sealIdentity opens a tenant's stored identity and seals it to the worker's own
// recipient. The plaintext never leaves this function.
func (a *api) sealIdentity(w catalog.Worker, k catalog.SealedCredential) ([]byte, error) {
	plaintext, err := a.keyring.Open(k.Ciphertext, k.KeyID, catalog.TenantKeyAD(k.TenantID, k.ID))
	if err != nil {
		return nil, fmt.Errorf("open tenant key %s: %w", k.ID, err)
	}
	defer clear(plaintext)
	if len(plaintext) == 0 {
		return nil, errNoIdentity
	}
	sealed, err := seal.Message(w.AgeRecipient, plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal tenant key %s to worker %s: %w", k.ID, w.ID, err)
	}
	return sealed, nil
}

// sealTo opens a stored credential and seals it to the worker's own recipient.
// The plaintext never leaves this function.
func (a *api) sealTo(w catalog.Worker, c catalog.SealedCredential) ([]byte, error) {
	plaintext, err := a.keyring.Open(c.Ciphertext, c.KeyID, catalog.CredentialAD(c.TenantID, c.ID))
	if err != nil {
		return nil, fmt.Errorf("open credential %s: %w", c.ID, err)
	}
	defer clear(plaintext)
	sealed, err := seal.Message(w.AgeRecipient, plaintext)
	if err != nil {
		return nil, fmt.Errorf("seal credential %s to worker %s: %w", c.ID, w.ID, err)
	}
	return sealed, nil
}

// withoutKey is how long a job rests that met a hub without the key: it may meet
// the same one again.
const withoutKey = 5 * time.Second

// cannotStart ends an attempt whose credential does not open here. A hub that
// lacks the key hands it back, for another may have it; a damaged credential
// fails the job, for no hub can open it.
func (a *api) cannotStart(ctx context.Context, c *call, f catalog.Fence, cause error) error {
	a.log.LogAttrs(ctx, slog.LevelError, "a claimed job's credential or key does not open", attemptAttrs(c, f, slog.Any("error", cause))...)
	if errors.Is(cause, errNoIdentity) {
		failed := job.CompleteRequest{Attempt: f.Attempt, Status: job.Failed, Error: &job.WireError{
			Code: job.ConfigInvalid, Message: "The catalog was rebuilt without the identity that opens this snapshot. Bring the tenant's recovery kit in: xvault hub import --worker W --identity KIT.",
		}}
		if err := a.db.CompleteJob(ctx, f, failed); err != nil {
			return err
		}
		return catalog.ErrGone
	}
	if errors.Is(cause, seal.ErrEnvelope) {
		failed := job.CompleteRequest{Attempt: f.Attempt, Status: job.Failed, Error: &job.WireError{
			Code: job.Internal, Message: "The stored credential of this source, or the tenant's key, is damaged and does not open. A credential can be set again.",
		}}
		if err := a.db.CompleteJob(ctx, f, failed); err != nil {
			return err
		}
		return catalog.ErrGone
	}
	if err := a.db.PostponeJob(ctx, f, withoutKey); err != nil {
		return err
	}
	return cannotOpen()
}

func cannotOpen() error {
	return problem.New(http.StatusServiceUnavailable, problem.Unavailable, "This hub cannot open the credential just now; its log tells why. Try again.")
}

// credential hands out a credential only to a worker that holds a lease on a
// job that uses it.
func (a *api) credential(ctx context.Context, c *call) (job.SealedCredentialResponse, error) {
	id, err := c.pathID()
	if err != nil {
		return job.SealedCredentialResponse{}, err
	}
	stored, err := a.db.JobCredential(ctx, c.ref(), id)
	if err != nil {
		return job.SealedCredentialResponse{}, err
	}
	sealed, err := a.sealTo(c.worker, stored)
	if err != nil {
		a.log.LogAttrs(ctx, slog.LevelError, "a credential does not open", append(callAttrs(c.r), slog.Any("error", err))...)
		return job.SealedCredentialResponse{}, cannotOpen()
	}
	return job.SealedCredentialResponse{SealedCredential: sealed}, nil
}

// publicKey is the recipient that a tenant's backups are sealed to. It is no
// secret, so any worker may ask.
func (a *api) publicKey(ctx context.Context, c *call) (job.PublicKeyResponse, error) {
	id, err := c.pathID()
	if err != nil {
		return job.PublicKeyResponse{}, err
	}
	key, err := a.db.Operator(actor(c.r, c.worker.ID)).ActiveTenantKey(ctx, id)
	if err != nil {
		return job.PublicKeyResponse{}, err
	}
	return job.PublicKeyResponse{ID: key.ID, Algorithm: seal.Algorithm, PublicKey: key.PublicKey}, nil
}
