// Package artifact opens stored snapshots with the identity that the hub gave
// for that one reading. The identity is forgotten as soon as the artifact's
// header is open: what stays, for as long as the artifact is open, is the key of
// this one file.
package artifact

import (
	"context"
	"errors"
	"fmt"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/blob"
)

// Request is an artifact, and the means to open it.
type Request struct {
	Key blob.Key
	// Snapshot is what the catalog knows of it.
	Snapshot job.ClaimSnapshot
	// Sealed is the tenant's identity, sealed to Worker.
	Sealed []byte
	// Worker is this worker's own identity.
	Worker secret.Text
	// KeepIdentity is for a full check, which opens the seal a second time.
	KeepIdentity bool
	// Budget bounds what is read ahead, of all artifacts together. Nil: each
	// reading has memory of its own.
	Budget *archive.Budget
}

// Artifact is an open one. Close it.
type Artifact struct {
	*archive.Reader
	object blob.Object
}

// maxIdentity is more than an age identity's length in bytes.
const maxIdentity = 4 << 10

// Open opens an artifact. That its header, its last chunk and its directory are
// sound is checked, and that it is of the size that the catalog knows. Errors
// are *job.Error with the codes artifact_missing, artifact_corrupt and
// storage_failed, or without a code.
func Open(ctx context.Context, store blob.Store, req Request) (*Artifact, error) {
	identity, err := unseal(req)
	if err != nil {
		return nil, err
	}
	object, err := store.Open(ctx, req.Key)
	if err != nil {
		return nil, Explain(err)
	}
	a, err := open(object, req, identity)
	if err != nil {
		return nil, errors.Join(Explain(err), object.Close())
	}
	return a, nil
}

func unseal(req Request) (secret.Text, error) {
	plaintext, err := seal.OpenMessage(req.Worker, req.Sealed, maxIdentity)
	if err != nil {
		return secret.Text{}, fmt.Errorf("open the tenant's identity: %w", err)
	}
	defer clear(plaintext)
	identity := secret.New(string(plaintext))
	recipient, err := seal.Recipient(identity)
	if err != nil {
		return secret.Text{}, fmt.Errorf("open the tenant's identity: %w", err)
	}
	if recipient != req.Snapshot.Recipient {
		return secret.Text{}, errors.New("the hub gave another identity than the one that the snapshot is sealed to")
	}
	return identity, nil
}

func open(object blob.Object, req Request, identity secret.Text) (*Artifact, error) {
	if err := rightSize(object, req.Snapshot); err != nil {
		return nil, err
	}
	reader, err := archive.Open(object, object.Size(), identity)
	if err != nil {
		return nil, err
	}
	reader.Share(req.Budget)
	if !req.KeepIdentity {
		reader.Forget()
	}
	return &Artifact{reader, object}, nil
}

// Close gives back what is open.
func (a *Artifact) Close() error { return a.object.Close() }

// Explain gives a failure to read an artifact its code and says what it means.
// What has a code already is returned as it is.
func Explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*job.Error](err); ok {
		return err
	}
	e := &job.Error{Err: err}
	_, storage := errors.AsType[*blob.Error](err)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		e.Code, e.Message = job.ArtifactMissing, "The artifact is not on the worker's storage any more."
	case errors.Is(err, archive.ErrNotFound):
		e.Code, e.Message = job.PathNotFound, "A path is not in the snapshot: "+err.Error()
	case errors.Is(err, archive.ErrNotStored):
		e.Code, e.Message = job.PathNotFound, "A path is known to the snapshot by its name only, for it could not be read, or is no file: "+err.Error()
	case storage: // whatever else it looks like: what was not read is not damaged
		e.Code, e.Message = job.StorageFailed, "The worker's storage could not be read, or is not there. Check that its disk is mounted and sound."
	case errors.Is(err, seal.ErrWrongIdentity), errors.Is(err, seal.ErrNotSealed):
		e.Code, e.Message = job.ArtifactCorrupt, "The artifact does not open with its tenant's key: its header is damaged, or it is not the one that was put there."
	case errors.Is(err, seal.ErrCorrupt), errors.Is(err, archive.ErrCorrupt):
		e.Code, e.Message = job.ArtifactCorrupt, "The artifact is damaged: "+err.Error()
	default:
		return err
	}
	return e
}
