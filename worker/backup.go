package worker

import (
	"context"
	"errors"
	"fmt"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/store/blob"
	"xvault/worker/hubclient"
)

// backup reads a source into a sealed artifact and stores it. The steps, each
// of which a process may die at: read, seal, fsync, rename, finalize, complete.
// Nothing is told to the hub before the bytes are durable, and from then on
// nothing removes them but the hub's word.
type backup struct {
	w        *Worker
	a        *attempt
	key      blob.Key
	version  string            // of the connector
	software *archive.Software // that the source is of, where it tells
	archive  *archive.Writer
	first    *job.Error // the first entry's that could not be read whole

	vanished      int64
	vanishedPaths []string // escaped, the first maxNamed
}

func (w *Worker) backup(ctx context.Context, a *attempt) outcome {
	c := a.claim
	if c.Source == nil || c.TenantKey == nil || c.TenantKey.Algorithm != seal.Algorithm {
		return outcome{err: job.Errorf(job.ConfigInvalid, "The tenant has no active key that this worker can seal to.")}
	}
	b := &backup{w: w, a: a, key: blob.Key{TenantID: c.TenantID, SourceID: c.Source.ID, SnapshotID: c.SnapshotID}}
	store, err := w.storage.current()
	if err != nil {
		return outcome{err: storageError(err)}
	}
	return b.run(ctx, store)
}

func (b *backup) run(ctx context.Context, store blob.Store) (out outcome) {
	b.a.progress.enter(phaseConnecting)
	hooks, err := b.w.hooksOf(b.a)
	if err != nil {
		return outcome{err: err}
	}
	defer func() {
		hooks.after(ctx)
		out.result = hooks.report(out.result)
		if list := b.a.warnings.List(); len(list) > 0 {
			out.result = withField(out.result, "warnings", list)
		}
	}()
	if err := hooks.before(ctx); err != nil {
		return outcome{err: err}
	}
	source, version, err := b.w.openSource(b.a)
	if err != nil {
		return outcome{err: err}
	}
	b.version = version
	defer b.w.closeSource(ctx, b.a, source)()

	staged, err := store.Stage(b.key)
	if err != nil {
		return outcome{err: storageError(err)}
	}
	defer func() {
		if err := staged.Discard(); err != nil {
			b.a.log.Error("an unfinished artifact could not be removed; the next start does", "error", err)
		}
	}()
	summary, err := b.seal(ctx, source, staged)
	hooks.after(ctx) // nothing more is read
	if err != nil {
		return outcome{err: b.classify(ctx, err), result: b.missing(summary)}
	}
	b.software = softwareOf(source)
	return b.store(ctx, store, staged, summary)
}

// seal reads the source into the archive.
func (b *backup) seal(ctx context.Context, source connectors.Source, staged blob.Staged) (archive.Summary, error) {
	aw, err := archive.NewWriter(staged, archive.WriterConfig{
		Recipients: []string{b.a.claim.TenantKey.PublicKey},
		Budget:     b.w.budget,
	})
	if err != nil {
		return archive.Summary{}, err
	}
	defer aw.Abort()
	b.archive = aw
	b.a.progress.counts(aw.Progress)
	err = source.Read(ctx, func(item connectors.Item) error { return b.visit(ctx, item) })
	if err != nil {
		return archive.Summary{}, err
	}
	if ctx.Err() != nil {
		return archive.Summary{}, context.Cause(ctx)
	}
	b.a.progress.enter(phaseSealing)
	summary, err := aw.Close()
	if err != nil {
		return archive.Summary{}, err
	}
	return summary, b.checkContent(summary)
}

// visit puts one entry into the archive.
func (b *backup) visit(ctx context.Context, item connectors.Item) error {
	if err := failpoint.Hit("backup.read"); err != nil {
		return err
	}
	b.a.progress.enter(phaseReading)
	if item.Vanished {
		b.vanish(item.Path)
		return nil
	}
	if item.Err != nil {
		b.note(item.Err)
		return b.archive.Unreadable(item.Header, item.Err.Code, item.Err)
	}
	switch item.Kind {
	case entry.Device, entry.FIFO, entry.Socket:
		return b.archive.Skip(item.Header)
	}
	stored, err := b.archive.Add(ctx, item.Header, item.Body)
	if err == nil && stored.Err != nil {
		b.note(contentError(stored.Err))
	}
	return err
}

// vanish notes what was there when the source was listed and is not in the
// backup: no failure, and nothing to keep silent about.
func (b *backup) vanish(path string) {
	b.vanished++
	if len(b.vanishedPaths) < maxNamed {
		b.vanishedPaths = append(b.vanishedPaths, b.sourcePath(archive.Escape(path)))
	}
}

func (b *backup) note(err *job.Error) {
	if b.first == nil {
		b.first = err
	}
}

// contentError gives the code of a content that came short.
func contentError(err error) *job.Error {
	code := job.SourceChanged
	if c, ok := errors.AsType[*entry.ContentError](err); ok && job.Code(c.Code).Valid() {
		code = job.Code(c.Code)
	}
	return &job.Error{Code: code, Message: "its content came short", Err: err}
}

// checkContent refuses what holds nothing: a backup of nothing must not look
// like one.
func (b *backup) checkContent(s archive.Summary) error {
	if s.Content.Files+s.Content.Links > 0 {
		return nil
	}
	if s.Content.Errors > 0 {
		return b.incomplete(s, false)
	}
	return job.Errorf(job.SourceEmpty, "The source holds no file at all: its paths were found, but there is nothing below them (or all of it is excluded). "+
		"No snapshot was made. Check the paths, and whether a disk is not mounted on the source.")
}

// store makes the artifact durable and tells the hub that it is.
func (b *backup) store(ctx context.Context, store blob.Store, staged blob.Staged, summary archive.Summary) outcome {
	b.a.progress.enter(phaseStoring)
	record, files, err := b.describe(store, summary)
	if err != nil {
		return outcome{err: err}
	}
	release, err := b.w.unconfirmed.add(record.ID)
	if err != nil {
		return outcome{err: err}
	}
	b.a.after = release
	if err := staged.Commit(ctx, files); err != nil {
		return outcome{err: b.classify(ctx, err)}
	}
	if err := b.finalize(ctx); err != nil {
		return outcome{err: err}
	}
	out := outcome{snapshot: record, result: b.missing(summary)}
	if !summary.Complete() {
		out.err = b.incomplete(summary, true)
	}
	return out
}

// finalize says that the bytes are durable. Whatever comes back, they stay.
func (b *backup) finalize(ctx context.Context) error {
	if err := failpoint.Hit("backup.finalize"); err != nil {
		return err
	}
	c := b.a.claim
	err := b.a.insist(ctx, func(ctx context.Context) error { return b.w.hub.Finalize(ctx, c.JobID, c.Attempt) })
	if hubclient.LeaseLost(err) {
		return fmt.Errorf("%w: %w", errFenced, err)
	}
	if err != nil {
		return fmt.Errorf("finalize: %w", err)
	}
	return failpoint.Hit("backup.finalize.after")
}

// classify finds out whose failure it is: the storage's, the source's, or that
// of whoever ended the context.
func (b *backup) classify(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*blob.Error](err); ok && ctx.Err() == nil {
		return storageError(err)
	}
	if _, ok := errors.AsType[*job.Error](err); ok {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// storageError gives a failure of the storage its code and says what to do.
func storageError(err error) error {
	e := &job.Error{Code: job.StorageFailed, Err: err}
	switch {
	case errors.Is(err, blob.ErrFull):
		e.Code = job.StorageFull
		e.Message = "The worker's storage is full; nothing of this backup was kept. Free space there, enlarge it, or delete snapshots."
	case errors.Is(err, blob.ErrMissing), errors.Is(err, blob.ErrForeign), errors.Is(err, blob.ErrInUse):
		e.Message = "The worker's storage is not there or is another one; nothing of this backup was kept. Check that its disk is mounted."
	case errors.Is(err, blob.ErrMismatch):
		e.Message = "The worker's storage does not hold what was written to it; nothing of this backup was kept. Check the disk and the memory of that machine."
	default:
		e.Message = "The worker's storage failed; nothing of this backup was kept. The worker's log tells more under this job's id."
	}
	return e
}
