package worker

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"xvault/archive"
	"xvault/internal/entry"
	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/store/blob"
	"xvault/worker/artifact"
)

const phaseChecking = "checking"

// restore does a restore of either kind. Of one for downloading it makes sure that what
// was asked for can be had: the artifact is there, opens with the tenant's key, and
// holds the paths. The bytes go out later, when someone comes with the ticket. It
// leaves nothing behind.
func (w *Worker) restore(ctx context.Context, a *attempt) outcome {
	a.progress.enter(phaseChecking)
	if err := failpoint.Hit("restore.check"); err != nil {
		return outcome{err: err}
	}
	payload, err := job.DecodeRestore(a.claim.Payload)
	if err == nil && payload.Destination == job.DestinationSource {
		return w.restoreToSource(ctx, a, payload)
	}
	if err != nil || payload.Destination != job.DestinationDownload || !payload.Format.Valid() {
		return outcome{err: job.Errorf(job.ConfigInvalid, "This worker cannot restore in that way; update it.")}
	}
	opened, err := w.openClaimed(ctx, a)
	if err != nil {
		return outcome{err: err}
	}
	result, err := measure(ctx, opened.Reader, payload)
	if closeErr := opened.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return outcome{err: artifact.Explain(err)}
	}
	if err := failpoint.Hit("restore.check.after"); err != nil {
		return outcome{err: err}
	}
	encoded, err := json.Marshal(result)
	if err != nil {
		return outcome{err: fmt.Errorf("encode result: %w", err)}
	}
	return outcome{result: encoded}
}

// openClaimed opens the snapshot that a claim is about.
func (w *Worker) openClaimed(ctx context.Context, a *attempt) (*artifact.Artifact, error) {
	c := a.claim
	if c.Source == nil || c.Snapshot == nil || len(c.SealedIdentity) == 0 {
		return nil, job.Errorf(job.ConfigInvalid, "The hub did not say which snapshot to read, or how to open it. If hub and worker are of different versions, update the older one.")
	}
	store, err := w.storage.current()
	if err != nil {
		return nil, artifact.Explain(err)
	}
	sourceID := c.Source.ID
	if c.Snapshot.SourceID != uuid.Nil {
		sourceID = c.Snapshot.SourceID // restored to another source than its own
	}
	return artifact.Open(ctx, store, artifact.Request{
		Key:      blob.Key{TenantID: c.TenantID, SourceID: sourceID, SnapshotID: c.SnapshotID},
		Snapshot: *c.Snapshot, Sealed: c.SealedIdentity, Worker: w.identity, Budget: w.budget,
	})
}

// restoreResult is the result of a restore for downloading; the hub adds where.
type restoreResult struct {
	Format job.RestoreFormat `json:"format"`
	archive.Content
	// SizeBytes is the length of the download, where it is settled beforehand.
	SizeBytes int64 `json:"size_bytes,omitempty"`
}

// openOnly opens what must be a file.
func openOnly(ctx context.Context, r *archive.Reader, path string) (*archive.File, error) {
	e, err := r.Lookup(path)
	if err != nil {
		return nil, err
	}
	if e.Kind != entry.File && e.Kind != entry.Hardlink {
		return nil, job.Errorf(job.PathNotFound, "%s is no file; the formats tar, tar.zst and zip take folders and links.", "/"+archive.Escape(path))
	}
	return r.OpenFile(ctx, path)
}

// measure finds out what will be in a download. A path that is not there fails
// it.
func measure(ctx context.Context, r *archive.Reader, p job.RestorePayload) (restoreResult, error) {
	if p.Format == job.FormatFile {
		f, err := openOnly(ctx, r, p.Members()[0])
		if err != nil {
			return restoreResult{}, err
		}
		size := f.Entry.Size
		return restoreResult{Format: p.Format, Content: archive.Content{Files: 1, Bytes: size}, SizeBytes: size}, f.Close()
	}
	x, err := r.Export(ctx, p.Members(), archive.ExportOptions{Zstd: p.Format == job.FormatTarZst})
	if err != nil {
		return restoreResult{}, err
	}
	result := restoreResult{Format: p.Format, Content: x.Content}
	if p.Format != job.FormatZip {
		result.SizeBytes = x.Size()
	}
	return result, nil
}
