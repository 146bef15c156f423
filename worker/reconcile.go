package worker

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/blob"
)

// reconcileBatch is how many snapshots one question names. Only where all fit
// can the hub tell which are missing.
const reconcileBatch = 100_000

// clockTolerance is by how much the hub's clock may be behind the worker's.
const clockTolerance = 10 * time.Minute

// madeAt reads the time in an id; the zero time where there is none.
func madeAt(id uuid.UUID) time.Time {
	if id.Version() != 7 {
		return time.Time{}
	}
	return time.Unix(id.Time().UnixTime())
}

// keepReconciling compares storage and catalog at the start and then every so
// often, sooner while something waits for its grace to end.
func (w *Worker) keepReconciling(ctx context.Context) {
	memory, err := w.state.orphans()
	if err != nil {
		w.log.Warn("what earlier comparisons found is lost; unknown snapshots stay for another grace time", "error", err)
	}
	for {
		err := w.reconcile(ctx, memory)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("storage and catalog could not be compared; it is tried again", "error", err)
		}
		pause := w.cfg.ReconcileEvery
		if len(memory.UnknownMS) > 0 || err != nil {
			pause = min(pause, max(w.cfg.OrphanGrace, time.Second), 10*time.Minute)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// sweep is one comparison of the storage with the catalog.
type sweep struct {
	w       *Worker
	store   blob.Store
	memory  *orphans
	began   time.Time
	report  job.SweepReport
	asked   map[uuid.UUID]bool // unknown in this comparison, and to be removed some time
	partial bool               // more than fit in one question
	// marked are those of which only this worker knows, as far as it knows, when
	// the comparison began.
	marked map[uuid.UUID]bool
	doubt  map[uuid.UUID]bool // of those marked, unknown in this comparison
	silent bool               // the hub did not say that it compared
}

// reconcile asks about everything on the storage, removes what has been unknown
// for long enough, and tells the hub what it found.
func (w *Worker) reconcile(ctx context.Context, memory *orphans) error {
	if !w.storage.ready() {
		return nil // nothing can be said about what is on it
	}
	store, err := w.storage.current()
	if err != nil {
		return err
	}
	memory.of(store.ID())
	marked, err := w.unconfirmed.list()
	if err != nil {
		return err
	}
	s := &sweep{
		w: w, store: store, memory: memory, began: w.cfg.Now(), asked: make(map[uuid.UUID]bool),
		marked: marked, doubt: make(map[uuid.UUID]bool),
	}
	kept := len(memory.UnknownMS)
	if err := s.all(ctx); err != nil {
		return err
	}
	for id := range memory.UnknownMS {
		if !s.asked[id] {
			delete(memory.UnknownMS, id) // known again, or gone
		}
	}
	if err := s.settle(); err != nil {
		return err
	}
	if s.report.Kept > 0 {
		w.log.Warn("snapshots on the storage are unknown to the hub and may be the only copies; they are left alone, "+
			"and `xvault hub import` takes them into its catalog", "snapshots", s.report.Kept)
	}
	memory.compared = s.began
	if kept+len(memory.UnknownMS) > 0 {
		if err := w.state.keepOrphans(memory); err != nil {
			return err
		}
	}
	s.report.StorageID, s.report.Removed, s.report.RemovedBytes = memory.StorageID, memory.Removed, memory.RemovedBytes
	return w.hub.Sweep(ctx, s.report)
}

// settle takes the marks from snapshots that the hub knows, and from those that
// are not on the storage: of them there is nothing to remove.
func (s *sweep) settle() error {
	if s.silent {
		return nil
	}
	for id := range s.marked {
		if s.doubt[id] {
			continue
		}
		if err := s.w.unconfirmed.confirm(id); err != nil {
			return err
		}
	}
	return nil
}

// all goes through the storage in batches.
func (s *sweep) all(ctx context.Context) error {
	var batch []blob.Key
	ask := func() error {
		defer func() { batch = batch[:0] }()
		return s.ask(ctx, batch)
	}
	err := s.store.List(ctx, func(f blob.Found) error {
		if len(batch) == reconcileBatch {
			s.partial = true
			if err := ask(); err != nil {
				return err
			}
		}
		batch = append(batch, f.Key)
		return nil
	})
	if err != nil {
		return err
	}
	return ask()
}

// ask asks the hub about some snapshots.
func (s *sweep) ask(ctx context.Context, keys []blob.Key) error {
	ids := make([]uuid.UUID, len(keys))
	byID := make(map[uuid.UUID]blob.Key, len(keys))
	for i, key := range keys {
		ids[i], byID[key.SnapshotID] = key.SnapshotID, key
	}
	s.report.Snapshots += int64(len(ids))
	// The disk may have gone away while it was listed: what it did not show then
	// is not missing.
	if err := s.store.Check(); err != nil {
		return err
	}
	res, err := s.w.hub.Reconcile(ctx, job.ReconcileRequest{
		StorageID: s.store.ID(), Snapshots: ids, Complete: !s.partial,
		ListingMS: max(1, s.w.cfg.Now().Sub(s.began).Milliseconds()),
	})
	if err != nil {
		return err
	}
	s.silent = s.silent || !res.Compared
	if len(res.Missing) > 0 {
		s.report.Missing = int64(len(res.Missing))
		s.w.log.Error("snapshots that the catalog has are not on the storage",
			"count", len(res.Missing), "first", snapshotIDs(res.Missing, 5))
	}
	deleted := make(map[uuid.UUID]bool, len(res.Deleted))
	for _, id := range res.Deleted {
		deleted[id] = true
	}
	for _, id := range res.Unknown {
		key, asked := byID[id]
		if !asked {
			continue // an answer about something else is not taken
		}
		if err := s.orphan(ctx, key, deleted[id]); err != nil {
			return err
		}
	}
	return nil
}

// orphan removes a snapshot that is unknown to the hub, once its grace is over,
// if there is a reason for it beside that: this worker put it there and nobody
// ever took it into the catalog, or the hub knows that it was deleted. All else
// stays, whatever the hub says: an empty catalog knows nothing, and one that was
// restored from last week does not know this week. So does what is older than
// the hub's acquaintance with this worker.
func (s *sweep) orphan(ctx context.Context, key blob.Key, deleted bool) error {
	size, err := sizeOf(ctx, s.store, key)
	if err != nil {
		return err
	}
	s.report.Orphans++
	s.report.OrphanBytes += size
	s.doubt[key.SnapshotID] = s.marked[key.SnapshotID]
	log := s.w.log.With("snapshot_id", key.SnapshotID, "bytes", size)
	removable, err := s.removable(key.SnapshotID, deleted)
	if err != nil {
		return err
	}
	if !removable {
		s.report.Kept++
		log.Debug("a snapshot is unknown to the hub, and left alone")
		return nil
	}
	s.asked[key.SnapshotID] = true
	since, again := s.memory.unknown(key.SnapshotID, s.began)
	if !again {
		log.Warn("a snapshot on the storage is unknown to the hub; it is removed unless that changes", "after", s.w.cfg.OrphanGrace.String())
		return nil
	}
	if since < s.w.cfg.OrphanGrace {
		return nil
	}
	return s.remove(ctx, key, size)
}

// removable tells whether a snapshot that the hub does not know is nobody's for
// certain.
func (s *sweep) removable(id uuid.UUID, deleted bool) (bool, error) {
	if deleted {
		return true, nil
	}
	joined, err := s.w.state.joinedAt()
	if err != nil {
		return false, err
	}
	return s.marked[id] && !joined.IsZero() && !madeAt(id).Before(joined.Add(-clockTolerance)), nil
}

func (s *sweep) remove(ctx context.Context, key blob.Key, size int64) error {
	if err := s.store.Remove(ctx, key); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	delete(s.memory.UnknownMS, key.SnapshotID)
	delete(s.doubt, key.SnapshotID)
	s.report.Orphans--
	s.report.OrphanBytes -= size
	s.memory.Removed++
	s.memory.RemovedBytes += size
	s.w.log.Info("removed a snapshot that is unknown to the hub", "snapshot_id", key.SnapshotID, "bytes", size)
	return nil
}
