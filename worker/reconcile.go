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

// orphans remembers since when the hub has called a snapshot unknown. An answer
// that was wrong once, such as that of a catalog restored from last week, thus
// deletes nothing before someone had the time to notice.
type orphans map[uuid.UUID]time.Time

// keepReconciling compares storage and catalog at the start and then every so
// often, sooner while something waits for its grace to end.
func (w *Worker) keepReconciling(ctx context.Context) {
	since := make(orphans)
	for {
		err := w.reconcile(ctx, since)
		if err != nil && ctx.Err() == nil {
			w.log.Warn("storage and catalog could not be compared; it is tried again", "error", err)
		}
		pause := w.cfg.ReconcileEvery
		if len(since) > 0 || err != nil {
			pause = min(pause, max(w.cfg.OrphanGrace, time.Second), 10*time.Minute)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

// reconcile asks about everything on the storage and removes what has been
// unknown for long enough.
func (w *Worker) reconcile(ctx context.Context, since orphans) error {
	if !w.storage.ready() {
		return nil // nothing can be said about what is on it
	}
	store, err := w.storage.current()
	if err != nil {
		return err
	}
	var batch []blob.Key
	asked, full := make(map[uuid.UUID]bool), true
	ask := func() error {
		defer func() { batch = batch[:0] }()
		return w.reconcileBatch(ctx, store, batch, full, since, asked)
	}
	err = store.List(ctx, func(f blob.Found) error {
		if len(batch) == reconcileBatch {
			full = false
			if err := ask(); err != nil {
				return err
			}
		}
		batch = append(batch, f.Key)
		return nil
	})
	if err == nil {
		err = ask()
	}
	if err != nil {
		return err
	}
	for id := range since {
		if !asked[id] {
			delete(since, id) // known again, or gone
		}
	}
	return nil
}

// reconcileBatch asks about some snapshots; unknown marks those that are.
func (w *Worker) reconcileBatch(ctx context.Context, store blob.Store, keys []blob.Key, complete bool, since orphans, unknown map[uuid.UUID]bool) error {
	ids := make([]uuid.UUID, len(keys))
	byID := make(map[uuid.UUID]blob.Key, len(keys))
	for i, key := range keys {
		ids[i], byID[key.SnapshotID] = key.SnapshotID, key
	}
	res, err := w.hub.Reconcile(ctx, job.ReconcileRequest{StorageID: store.ID(), Snapshots: ids, Complete: complete})
	if err != nil {
		return err
	}
	if len(res.Missing) > 0 {
		w.log.Error("snapshots that the catalog has are not on the storage",
			"count", len(res.Missing), "first", snapshotIDs(res.Missing, 5))
	}
	for _, id := range res.Unknown {
		key, asked := byID[id]
		if !asked {
			continue // an answer about something else is not taken
		}
		unknown[id] = true
		if err := w.orphan(ctx, store, key, since); err != nil {
			return err
		}
	}
	return nil
}

// orphan removes a snapshot whose grace is over. One that is older than the
// hub's acquaintance with this worker stays: it was made under another catalog,
// or by another worker, and may be all that is left of it.
func (w *Worker) orphan(ctx context.Context, store blob.Store, key blob.Key, since orphans) error {
	now := w.cfg.Now()
	joined, err := w.state.joinedAt()
	if err != nil {
		return err
	}
	if joined.IsZero() || madeAt(key.SnapshotID).Before(joined.Add(-clockTolerance)) {
		w.log.Warn("a snapshot that may be from before this worker joined is unknown to the hub; it is left alone", "snapshot_id", key.SnapshotID)
		return nil
	}
	first, told := since[key.SnapshotID]
	if !told {
		since[key.SnapshotID] = now
		w.log.Warn("a snapshot on the storage is unknown to the hub; it is removed unless that changes",
			"snapshot_id", key.SnapshotID, "after", w.cfg.OrphanGrace.String())
		return nil
	}
	if now.Sub(first) < w.cfg.OrphanGrace {
		return nil
	}
	if err := store.Remove(ctx, key); err != nil && !errors.Is(err, blob.ErrNotFound) {
		return err
	}
	delete(since, key.SnapshotID)
	w.log.Info("removed a snapshot that is unknown to the hub", "snapshot_id", key.SnapshotID)
	return nil
}
