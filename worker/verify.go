package worker

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/store/blob"
	"xvault/worker/artifact"
)

const phaseVerifying = "verifying"

// verify reads a stored snapshot and holds it against what is known of it. It
// changes nothing and writes nothing down. Only what was seen twice, on the
// storage that the snapshot was put on, is called damaged: a disk that is not
// there, that cannot be read, or that gives other bytes the second time proves
// nothing, and the job is tried again.
func (w *Worker) verify(ctx context.Context, a *attempt) outcome {
	a.progress.enter(phaseVerifying)
	v, err := w.newVerification(a)
	if err != nil {
		return outcome{err: err}
	}
	err = v.look(ctx)
	if ctx.Err() == nil && job.CodeOf(err).ProvesDamage() {
		err = v.lookAgain(ctx, err)
	}
	if ctx.Err() != nil {
		return outcome{err: context.Cause(ctx)}
	}
	if err := failpoint.Hit("verify.read.after"); err != nil {
		return outcome{err: err}
	}
	if err == nil && v.payload.Kind == job.VerifyDrill {
		v.drilled, err = w.drill(ctx, v)
		if ctx.Err() != nil {
			return outcome{err: context.Cause(ctx)}
		}
	}
	return v.outcome(err)
}

// verification is one attempt at a verify job.
type verification struct {
	w       *Worker
	a       *attempt
	payload job.VerifyPayload
	request artifact.CheckRequest
	read    atomic.Int64 // bytes, of the artifact or of what is in it
	found   artifact.Found
	drilled *job.DrillResult // of a drill; nil before it
}

func (w *Worker) newVerification(a *attempt) (*verification, error) {
	c := a.claim
	payload, err := job.DecodeVerify(c.Payload)
	if err != nil || !payload.Kind.Valid() {
		return nil, job.Errorf(job.ConfigInvalid, "This worker cannot verify in that way; update it.")
	}
	full := payload.Kind.Opens()
	if c.Source == nil || c.Snapshot == nil || full && len(c.SealedIdentity) == 0 {
		return nil, job.Errorf(job.ConfigInvalid, "The hub did not say which snapshot to verify, or how to open it. If hub and worker are of different versions, update the older one.")
	}
	v := &verification{w: w, a: a, payload: payload}
	v.request = artifact.CheckRequest{
		Request: artifact.Request{
			Key:      blob.Key{TenantID: c.TenantID, SourceID: c.Source.ID, SnapshotID: c.SnapshotID},
			Snapshot: *c.Snapshot, Sealed: c.SealedIdentity, Worker: w.identity, Budget: w.budget,
		},
		Full: full, Total: a.progress.expects, Read: v.read.Store,
	}
	a.progress.counts(func() (int64, int64) { return 0, v.read.Load() })
	return v, nil
}

// look reads everything once.
func (v *verification) look(ctx context.Context) error {
	store, err := v.store()
	if err != nil {
		return err
	}
	if err := failpoint.Hit("verify.read"); err != nil {
		return err
	}
	if v.found, err = artifact.Check(ctx, store, v.request); err == nil {
		return nil
	}
	if !job.CodeOf(err).ProvesDamage() {
		return err
	}
	// The disk may have gone in between.
	if again, storageErr := v.store(); storageErr != nil {
		return storageErr
	} else if again != store {
		return job.Errorf(job.StorageFailed, "The worker's storage was taken away and came back while the snapshot was verified; it is tried again.")
	}
	return err
}

// store gives the storage if it is there and is the one that the snapshot is on.
func (v *verification) store() (blob.Store, error) {
	store, err := v.w.storage.current()
	if err == nil {
		err = store.Check()
	}
	if err != nil {
		return nil, artifact.Explain(err)
	}
	return store, onStorage(v.payload.StorageID, store.ID(), "nothing is concluded about the snapshot")
}

// lookAgain confirms a damage.
func (v *verification) lookAgain(ctx context.Context, first error) error {
	v.a.log.Warn("the snapshot looks damaged; it is read once more", "snapshot_id", v.request.Key.SnapshotID, "error", first)
	second := v.look(ctx)
	if second != nil {
		return second
	}
	return &job.Error{
		Code: job.StorageFailed, Err: first,
		Message: "The snapshot was damaged when it was read first, and was not the second time, so that nothing is concluded about it. " +
			"Check the disk, its cable and the memory of the worker's machine.",
	}
}

// outcome tells the verdict, or that there is none.
func (v *verification) outcome(err error) outcome {
	code := job.CodeOf(err)
	if err != nil && !code.ProvesDamage() && v.drilled == nil {
		return outcome{err: err}
	}
	result := job.VerifyResult{
		Kind: v.payload.Kind, OK: err == nil, Files: v.found.Files, Bytes: v.found.Bytes, SizeBytes: v.found.SizeBytes,
		DurationMS: v.a.now().Sub(v.a.began).Milliseconds(),
	}
	if e, ok := errors.AsType[*job.Error](err); ok {
		result.Code, result.Problem = e.Code, cutText(e.Message, maxProblemText)
		v.a.log.Error("the snapshot is damaged, or could not be proven good", "snapshot_id", v.request.Key.SnapshotID, "code", code, "error", err)
	}
	result.Drill = v.drilled
	encoded, encodeErr := encodeVerified(result)
	if encodeErr != nil {
		return outcome{err: fmt.Errorf("encode result: %w", encodeErr)}
	}
	return outcome{result: encoded, err: err}
}

// maxProblemText is what a result says of a damage at most, in bytes.
const maxProblemText = 8 << 10
