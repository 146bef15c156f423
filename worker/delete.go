package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/google/uuid"

	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/store/blob"
	"xvault/worker/hubclient"
)

const phaseDeleting = "deleting"

// deleteSnapshot removes a snapshot's files. Which ones follows from ids alone.
// The hub is asked once more right before: the job is this attempt's, nobody took
// the deletion back, and from then on nobody can. What is not there any more, on
// the storage that it was put on, is deleted.
func (w *Worker) deleteSnapshot(ctx context.Context, a *attempt) outcome {
	a.progress.enter(phaseDeleting)
	c := a.claim
	if c.Source == nil || c.SnapshotID == uuid.Nil {
		return outcome{err: job.Errorf(job.ConfigInvalid, "The job names no snapshot to delete.")}
	}
	store, err := w.storage.current()
	if err == nil {
		err = store.Check()
	}
	if err != nil {
		return outcome{err: deleteError(err)}
	}
	if err := rightStorage(c.Payload, store.ID()); err != nil {
		return outcome{err: err}
	}
	key := blob.Key{TenantID: c.TenantID, SourceID: c.Source.ID, SnapshotID: c.SnapshotID}
	size, err := sizeOf(ctx, store, key)
	if err != nil {
		return outcome{err: deleteError(err)}
	}
	if err := w.stillToDelete(ctx, a); err != nil {
		return outcome{err: err}
	}
	// Decided: a half-removed snapshot is of use to nobody, so nothing stops it.
	err = store.Remove(context.WithoutCancel(ctx), key)
	missing := errors.Is(err, blob.ErrNotFound)
	if err != nil && !missing {
		return outcome{err: deleteError(err)}
	}
	a.log.Info("snapshot deleted", "snapshot_id", c.SnapshotID, "bytes", size, "missing", missing)
	result, err := json.Marshal(job.DeleteResult{FreedBytes: size, Missing: missing})
	if err != nil {
		return outcome{err: fmt.Errorf("encode result: %w", err)}
	}
	return outcome{result: result}
}

// stillToDelete has the hub confirm the attempt at the last moment.
func (w *Worker) stillToDelete(ctx context.Context, a *attempt) error {
	if err := failpoint.Hit("delete.finalize"); err != nil {
		return err
	}
	err := a.insist(ctx, func(ctx context.Context) error { return a.hub.Finalize(ctx, a.claim.JobID, a.claim.Attempt) })
	switch {
	case hubclient.LeaseLost(err):
		return fmt.Errorf("%w: %w", errFenced, err)
	case err != nil:
		return fmt.Errorf("confirm the deletion: %w", err)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return failpoint.Hit("delete.finalize.after")
}

// rightStorage refuses to call missing what was put on another storage.
func rightStorage(payload json.RawMessage, here uuid.UUID) error {
	var p job.DeletePayload
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &p); err != nil {
			return job.Errorf(job.ConfigInvalid, "The job's payload is not one of a deletion: %w", err)
		}
	}
	return onStorage(p.StorageID, here, "nothing was deleted")
}

// onStorage compares where a snapshot was put with what this worker has.
func onStorage(put, here uuid.UUID, so string) error {
	if put != uuid.Nil && put != here {
		return job.Errorf(job.StorageFailed, "The snapshot is on another storage than the one that this worker has (%s, not %s). Mount that one; %s.", put, here, so)
	}
	return nil
}

// sizeOf is the size of the artifact; 0 where there is none.
func sizeOf(ctx context.Context, store blob.Store, key blob.Key) (int64, error) {
	object, err := store.Open(ctx, key)
	if errors.Is(err, blob.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return object.Size(), object.Close()
}

// deleteError gives a failure of the storage its code and says what to do.
func deleteError(err error) error {
	message := "The worker's storage failed while the snapshot was deleted; it is tried again. The worker's log tells more under this job's id."
	if errors.Is(err, blob.ErrMissing) || errors.Is(err, blob.ErrForeign) {
		message = "The worker's storage is not there or is another one; nothing was deleted. Check that its disk is mounted."
	}
	return &job.Error{Code: job.StorageFailed, Message: message, Err: err}
}
