package catalog

import (
	"context"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// Reconcile compares the snapshots on a worker's storage with the catalog.
//
// Unknown is what stands for nothing: no snapshot row that is not deleted, of
// whichever worker, and no attempt that may still become one. That is wide on
// purpose, for a worker may delete what is unknown: a disk that was moved to a
// worker of another name keeps its snapshots. Deleted are those of them that the
// catalog knows to have been deleted.
//
// Missing is answered only where the listing is complete. A storage that is
// not the one registered gets no answer at all: neither are its contents ours
// to judge, nor is anything missing because a disk is not mounted. What is
// missing is noted on the snapshot, which does not count as good until it is
// found again.
func (db *DB) Reconcile(ctx context.Context, w WorkerRef, req job.ReconcileRequest) (job.ReconcileResponse, error) {
	res := job.ReconcileResponse{Unknown: []uuid.UUID{}, Missing: []uuid.UUID{}}
	err := pgx.BeginTxFunc(ctx, db.pool, reconcileTx, func(tx pgx.Tx) error {
		q := query.New(tx)
		row, err := q.Worker(ctx, w.ID)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && row.Incarnation != w.Incarnation {
			return ErrSuperseded
		}
		if err != nil {
			return fmt.Errorf("look up worker %s: %w", w.ID, err)
		}
		if !ownStorage(row, req.StorageID) {
			return nil
		}
		res.Compared = true
		if res.Unknown, err = unknownSnapshots(ctx, q, req.Snapshots); err != nil {
			return err
		}
		if res.Deleted, err = q.DeletedSnapshots(ctx, res.Unknown); err != nil {
			return fmt.Errorf("look for deleted snapshots: %w", err)
		}
		if !req.Complete {
			return nil
		}
		res.Missing, err = q.MissingSnapshots(ctx, query.MissingSnapshotsParams{
			WorkerID: &w.ID, StorageID: &req.StorageID, Ids: nonNil(req.Snapshots),
		})
		if err != nil {
			return fmt.Errorf("look for missing snapshots: %w", err)
		}
		return nil
	})
	if err != nil {
		return res, err
	}
	return res, db.noteMissing(ctx, req, res.Missing)
}

// noteMissing writes to the snapshots whether their files are there. A worker
// that does not tell how long ago it listed its storage only gets the answer: in
// between something may have been stored.
func (db *DB) noteMissing(ctx context.Context, req job.ReconcileRequest, missing []uuid.UUID) error {
	if len(req.Snapshots) > 0 {
		_, err := db.q().MarkFound(ctx, query.MarkFoundParams{Ids: req.Snapshots, StorageID: &req.StorageID})
		if err != nil {
			return fmt.Errorf("note found snapshots: %w", err)
		}
	}
	if len(missing) == 0 || req.ListingMS <= 0 {
		return nil
	}
	_, err := db.q().MarkMissing(ctx, query.MarkMissingParams{Ids: missing, ListingSeconds: float64(req.ListingMS) / 1000})
	if err != nil {
		return fmt.Errorf("note missing snapshots: %w", err)
	}
	return nil
}

// KeepSweep records what a worker's comparison of its storage found. Errors:
// ErrSuperseded.
func (db *DB) KeepSweep(ctx context.Context, w WorkerRef, r job.SweepReport) error {
	n, err := db.q().KeepSweep(ctx, query.KeepSweepParams{
		ID: w.ID, Incarnation: w.Incarnation, SweepSnapshots: max(r.Snapshots, 0),
		SweepOrphans: max(r.Orphans, 0), SweepOrphanBytes: max(r.OrphanBytes, 0), SweepMissing: max(r.Missing, 0),
		SweepRemoved: max(r.Removed, 0), SweepRemovedBytes: max(r.RemovedBytes, 0), SweepKept: max(r.Kept, 0),
	})
	if err != nil {
		return fmt.Errorf("keep the sweep's result: %w", err)
	}
	if n == 0 {
		return ErrSuperseded
	}
	return nil
}

// reconcileTx gives all statements one view: an attempt that completes between
// them must not look as if it were neither running nor stored.
var reconcileTx = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

func ownStorage(w query.Worker, shown uuid.UUID) bool {
	return w.StorageState == job.StorageOK && w.StorageID != nil && *w.StorageID == shown
}

func unknownSnapshots(ctx context.Context, q *query.Queries, ids []uuid.UUID) ([]uuid.UUID, error) {
	known, err := q.KnownSnapshots(ctx, nonNil(ids))
	if err != nil {
		return nil, fmt.Errorf("look up snapshots: %w", err)
	}
	seen := make(map[uuid.UUID]bool, len(known))
	for _, id := range known {
		seen[id] = true
	}
	unknown := []uuid.UUID{}
	for _, id := range ids {
		if !seen[id] {
			seen[id] = true
			unknown = append(unknown, id)
		}
	}
	return unknown, nil
}

// nonNil keeps an empty list from becoming NULL, with which nothing compares.
func nonNil(ids []uuid.UUID) []uuid.UUID {
	if ids == nil {
		return []uuid.UUID{}
	}
	return ids
}
