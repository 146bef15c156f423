package sftp

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"xvault/connectors/sftp/shell"
	"xvault/connectors/sshconn"
)

// tarFetch has small files read by tars, in batches.
type tarFetch struct {
	r     *reader
	last  *tarLane  // that was asked last
	now   *tarBatch // that more files go into
	waits waits     // of the visits, for what tars bring
	// again bounds the files that are read over SFTP after all; a handle of theirs
	// is not counted among the reader's.
	again *semaphore.Weighted
	// room bounds, in bytes, what the tars owe together, so that what the first cannot
	// bring soon is left for others; nil where there is never more than one.
	room *semaphore.Weighted

	mu       sync.Mutex
	tars     []*tarLane
	finished bool // no more files are wanted
}

// tarLane is one tar.
type tarLane struct {
	*shell.Tar
	conn     *sshconn.Conn
	owes     atomic.Int64     // bytes that it was asked for and that are not settled
	waits    waits            // of the visits, for what this one brings
	patience sshconn.Patience // of the guard
}

func newTarLane(t *shell.Tar, conn *sshconn.Conn) *tarLane {
	return &tarLane{Tar: t, conn: conn, waits: newWaits()}
}

// stalled is for how long it has kept a visit waiting without a word; 0 where none
// waits. What nobody waits for may stay in it, however long a visit takes: a record
// that is not full, and a batch that there is no room to end.
func (t *tarLane) stalled() time.Duration { return min(t.waits.present(), t.Silent()) }

// tarBatch is a batch of one tar.
type tarBatch struct {
	*shell.Batch
	tar   *tarLane
	files int
	bytes int64
	held  atomic.Int32 // slots that still hold it, and one while more may come
}

const (
	batchFiles = 64
	batchBytes = 256 << 10
	maxAgain   = 16
	// tarBusy is what a tar owes at least before another is asked: a tar that is
	// asked for nothing more holds back the end of what it has.
	tarBusy = laneWindow / 2
	// tarRoom is what all tars together may owe for each that was started, where there
	// may be several: more than one round trip brings, so that none waits for names.
	// It stays where a tar has ended, and what one of them owes is not bounded by it.
	tarRoom = 3 * laneWindow
)

func newTarFetch(r *reader, first *tarLane) *tarFetch {
	f := &tarFetch{r: r, tars: []*tarLane{first}, again: semaphore.NewWeighted(maxAgain), waits: newWaits()}
	if !r.s.near() {
		f.room = semaphore.NewWeighted(allTars * tarRoom)
		f.room.TryAcquire((allTars - 1) * tarRoom) // until there are more
	}
	return f
}

// owed is what a file counts among what a tar owes.
func owed(w *shell.Want) int64 { return min(w.Size+tarHeader, tarRoom) }

const tarHeader = 512

// add asks for a file; false where no tar is left.
func (f *tarFetch) add(sl *slot) bool {
	sl.want = shell.Want{Path: sl.path, Size: sl.item.Size, ModTime: sl.item.ModTime.Unix(), Owner: sl}
	if f.room != nil && f.room.Acquire(f.r.ctx, owed(&sl.want)) != nil {
		return false // the reading is over
	}
	for range 2 + 2*allTars {
		if f.now == nil && !f.begin() {
			break
		}
		if f.into(f.now, sl) {
			return true
		}
		f.drop() // whoever visits wanted it to end, or the tar is over
	}
	if f.room != nil {
		f.room.Release(owed(&sl.want))
	}
	return false
}

// into adds a file to a batch; false where that takes no more.
func (f *tarFetch) into(b *tarBatch, sl *slot) bool {
	b.held.Add(1)
	b.tar.owes.Add(owed(&sl.want))
	sl.batch = b
	if !b.tar.Add(b.Batch, &sl.want) {
		sl.batch = nil
		b.tar.owes.Add(-owed(&sl.want))
		b.held.Add(-1)
		return false
	}
	b.files++
	b.bytes += sl.want.Size
	if b.files == batchFiles || b.bytes >= batchBytes {
		b.tar.Seal(b.Batch)
		f.drop()
	}
	return true
}

// begin begins a batch with the tar that was asked last, while that has little to do,
// or else with the one that has the least.
func (f *tarFetch) begin() bool {
	t := f.last
	if t == nil || t.Over() || t.owes.Load() >= tarBusy {
		t = f.lightest()
	}
	if f.last = t; t == nil {
		return false
	}
	b := &tarBatch{tar: t}
	b.Batch = shell.NewBatch(func(*shell.Batch) { f.settled(b) })
	b.held.Add(1)
	f.now = b
	return true
}

// lightest gives the tar that owes the least; nil where all are over.
func (f *tarFetch) lightest() (best *tarLane) {
	for _, t := range f.all() {
		if !t.Over() && (best == nil || t.owes.Load() < best.owes.Load()) {
			best = t
		}
	}
	return best
}

// all gives the tars that there are, the first of them first.
func (f *tarFetch) all() []*tarLane {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.tars)
}

// take takes one more tar into use; false where it is not wanted any more.
func (f *tarFetch) take(t *tarLane) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finished {
		return false
	}
	f.tars = append(f.tars, t)
	if f.room != nil {
		f.room.Release(tarRoom)
	}
	return true
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
	f.mu.Lock()
	f.finished = true
	f.mu.Unlock()
	for _, t := range f.all() {
		t.Finish()
	}
}

// settled has those files read over SFTP that tar did not bring as they were
// listed.
func (f *tarFetch) settled(b *tarBatch) {
	var came int64
	for _, w := range b.Wants {
		came += owed(w)
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
	b.tar.owes.Add(-came)
	if f.room != nil {
		f.room.Release(came)
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
	f.waits.start()
	defer f.waits.stop()
	b.tar.waits.start()
	defer b.tar.waits.stop()
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
		// What comes of that takes a round trip.
		patience = max(min(patience*4, maxHurry), 2*f.r.s.conn.RoundTrip())
	}
}

const (
	hurryAfter = time.Millisecond
	maxHurry   = 250 * time.Millisecond
)
