package sftp

import (
	"context"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"xvault/connectors/sftp/shell"
)

// tarFetch has small files read by tars, in batches that take turns.
type tarFetch struct {
	r    *reader
	tars []*shell.Tar
	turn int
	now  *tarBatch // that more files go into
	// again bounds the files that are read over SFTP after all; a handle of theirs
	// is not counted among the reader's.
	again *semaphore.Weighted
}

// tarBatch is a batch of one tar.
type tarBatch struct {
	*shell.Batch
	tar   *shell.Tar
	files int
	bytes int64
	held  atomic.Int32 // slots that still hold it, and one while more may come
}

const (
	batchFiles = 64
	batchBytes = 256 << 10
	maxAgain   = 16
)

// add asks for a file; false where no tar is left.
func (f *tarFetch) add(sl *slot) bool {
	sl.want = shell.Want{Path: sl.path, Size: sl.item.Size, ModTime: sl.item.ModTime.Unix(), Owner: sl}
	for range 2 + 2*len(f.tars) {
		if f.now == nil && !f.begin() {
			return false
		}
		b := f.now
		b.held.Add(1)
		sl.batch = b
		if b.tar.Add(b.Batch, &sl.want) {
			b.files++
			b.bytes += sl.want.Size
			if b.files == batchFiles || b.bytes >= batchBytes {
				b.tar.Seal(b.Batch)
				f.drop()
			}
			return true
		}
		sl.batch = nil
		b.held.Add(-1)
		f.drop() // whoever visits wanted it to end, or the tar is over
	}
	return false
}

// begin begins a batch with the next tar that is not over.
func (f *tarFetch) begin() bool {
	for range f.tars {
		f.turn = (f.turn + 1) % len(f.tars)
		if t := f.tars[f.turn]; !t.Over() {
			f.now = &tarBatch{Batch: shell.NewBatch(f.settled), tar: t}
			f.now.held.Add(1)
			return true
		}
	}
	return false
}

// drop lets go of the batch that more files went into.
func (f *tarFetch) drop() {
	if f.now != nil && f.now.held.Add(-1) == 0 && f.now.files > 0 {
		f.now.tar.Release(f.now.Batch)
	}
	f.now = nil
}

// finish says that there are no more files.
func (f *tarFetch) finish() {
	if f == nil {
		return
	}
	f.drop()
	for _, t := range f.tars {
		t.Finish()
	}
}

// settled has those files read over SFTP that tar did not bring as they were
// listed.
func (f *tarFetch) settled(b *shell.Batch) {
	for _, w := range b.Wants {
		if w.Good {
			continue
		}
		sl := w.Owner.(*slot) //nolint:errcheck // holds nothing else
		sl.ready = make(chan struct{})
		f.r.running.Go(func() {
			defer close(sl.ready)
			if err := f.again.Acquire(f.r.ctx, 1); err != nil {
				sl.fatal = context.Cause(f.r.ctx)
				return
			}
			f.r.fetchSmall(sl, f.again)
		})
	}
}

// release gives up a slot's part of its batch.
func (b *tarBatch) release() {
	if b.held.Add(-1) == 0 {
		b.tar.Release(b.Batch)
	}
}

// await waits for a batch, and hurries it where it would be held back.
func (f *tarFetch) await(b *tarBatch) error {
	select {
	case <-b.Done:
		return nil
	default:
	}
	patience, unsaid := hurryAfter, time.Duration(0)
	for again := false; ; again = true {
		timer := time.NewTimer(patience)
		select {
		case <-b.Done:
			timer.Stop()
			return nil
		case <-f.r.ctx.Done():
			timer.Stop()
			return context.Cause(f.r.ctx)
		case <-timer.C:
		}
		if unsaid += patience; !b.tar.Unsaid(b.Batch) {
			unsaid = 0
		} else if unsaid > f.r.options.StallAfter/6 {
			b.tar.Stop() // what it says does not come; all that it owes is read again
		}
		b.tar.Hurry(b.Batch, again)
		patience = min(patience*4, maxHurry)
	}
}

const (
	hurryAfter = time.Millisecond
	maxHurry   = 250 * time.Millisecond
)
