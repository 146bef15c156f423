package catalog

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// The states of a worker.
const (
	WorkerOnline   = "online"
	WorkerOffline  = "offline"
	WorkerDraining = "draining"
)

// Worker is a process that does jobs. Its storage is usable only while
// StorageState is job.StorageOK.
type Worker struct {
	ID              string
	Name            string
	Version         string
	Status          string
	DrainRequested  bool
	Capabilities    job.Capabilities
	StorageBasePath string
	StorageID       *uuid.UUID // nil until the worker first showed a storage
	StorageState    string
	AgeRecipient    string
	PublicURL       string
	Incarnation     int64
	Slots           int
	SlotsBusy       int
	DiskFreeBytes   int64
	DiskTotalBytes  int64
	// SweptAt is when the worker last compared its storage with the catalog, and
	// Sweep what it found; nil: never yet.
	SweptAt    *time.Time
	Sweep      job.SweepReport
	LastSeenAt time.Time
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

func workerOf(r query.Worker) (Worker, error) {
	w := Worker{
		ID: r.ID, Name: r.Name, Version: r.Version, Status: r.Status, DrainRequested: r.DrainRequested,
		StorageBasePath: r.StorageBasePath, StorageID: r.StorageID, StorageState: r.StorageState,
		AgeRecipient: r.AgeRecipient, PublicURL: r.PublicUrl, Incarnation: r.Incarnation,
		Slots: int(r.Slots), SlotsBusy: int(r.SlotsBusy),
		DiskFreeBytes: r.DiskFreeBytes, DiskTotalBytes: r.DiskTotalBytes,
		SweptAt: r.SweptAt, Sweep: job.SweepReport{
			Snapshots: r.SweepSnapshots, Orphans: r.SweepOrphans, OrphanBytes: r.SweepOrphanBytes, Kept: r.SweepKept, Missing: r.SweepMissing,
			Removed: r.SweepRemoved, RemovedBytes: r.SweepRemovedBytes,
		},
		LastSeenAt: r.LastSeenAt, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if err := json.Unmarshal(r.Capabilities, &w.Capabilities); err != nil {
		return Worker{}, fmt.Errorf("read capabilities of worker %s: %w", r.ID, err)
	}
	return w, nil
}

// Heartbeat records that this incarnation of a worker lives and tells whether
// the operator wants it to drain, and for which listing of its storage, if any.
// ErrSuperseded: a later incarnation has begun.
func (db *DB) Heartbeat(ctx context.Context, w WorkerRef, hb job.Heartbeat) (drain bool, list uuid.UUID, err error) {
	row, err := db.q().Heartbeat(ctx, query.HeartbeatParams{
		ID: w.ID, Incarnation: w.Incarnation, Status: hb.Status,
		Slots: int32(hb.Slots), SlotsBusy: int32(hb.SlotsBusy),
		DiskFreeBytes: hb.DiskFreeBytes, DiskTotalBytes: hb.DiskTotalBytes,
		StorageID: optionalID(hb.StorageID), StorageState: hb.StorageState,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, uuid.Nil, ErrSuperseded
	}
	if err != nil {
		return false, uuid.Nil, fmt.Errorf("record heartbeat of worker %s: %w", w.ID, err)
	}
	return row.DrainRequested, row.List, nil
}

// MarkSilentWorkers turns workers offline that were silent for
// job.OfflineAfter, writes the events, and returns their ids. Their leases are
// the reaper's.
func (db *DB) MarkSilentWorkers(ctx context.Context) ([]string, error) {
	ids, err := db.markSilent(ctx, job.OfflineAfter)
	if err != nil {
		return nil, fmt.Errorf("mark silent workers: %w", err)
	}
	return ids, nil
}

// Worker finds one worker. Workers belong to the operator: in a tenant's scope
// there is none.
func (s Scope) Worker(ctx context.Context, id string) (Worker, error) {
	if s.tenant != nil {
		return Worker{}, ErrNotFound
	}
	row, err := s.db.q().Worker(ctx, id)
	if err != nil {
		return Worker{}, notFound(err)
	}
	return workerOf(row)
}

// Workers lists workers, newest first, from behind a cursor of WorkerCursor.
func (s Scope) Workers(ctx context.Context, limit int, cursor string) ([]Worker, error) {
	if s.tenant != nil {
		return nil, ErrNotFound
	}
	created, id, err := decodeWorkerCursor(cursor)
	if err != nil {
		return nil, err
	}
	rows, err := s.db.pool.Query(ctx, `SELECT * FROM workers
		WHERE $1::timestamptz IS NULL OR (created_at, id) < ($1, $2)
		ORDER BY created_at DESC, id DESC LIMIT $3`, created, id, limit)
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[query.Worker])
	if err != nil {
		return nil, fmt.Errorf("list workers: %w", err)
	}
	workers := make([]Worker, len(found))
	for i, row := range found {
		if workers[i], err = workerOf(row); err != nil {
			return nil, err
		}
	}
	return workers, nil
}

// WorkerCursor makes the opaque cursor behind a worker: ids of workers are
// names, so the time goes along.
func WorkerCursor(w Worker) string {
	return base64.RawURLEncoding.EncodeToString(
		[]byte(strconv.FormatInt(w.CreatedAt.UnixMicro(), 10) + ":" + w.ID))
}

func decodeWorkerCursor(cursor string) (*time.Time, string, error) {
	if cursor == "" {
		return nil, "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return nil, "", ErrBadCursor
	}
	micros, id, ok := strings.Cut(string(b), ":")
	n, err := strconv.ParseInt(micros, 10, 64)
	if !ok || err != nil || n < 0 || n > time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro() || !job.ValidWorkerID(id) {
		return nil, "", ErrBadCursor
	}
	created := time.UnixMicro(n)
	return &created, id, nil
}

// SetDrain asks a worker to take no new job, or to take them again. It learns
// of it with its next heartbeat; repeating it is harmless.
func (s Scope) SetDrain(ctx context.Context, id string, drain bool) (Worker, error) {
	if s.tenant != nil {
		return Worker{}, ErrNotFound
	}
	action := "worker.resume"
	if drain {
		action = "worker.drain"
	}
	var row query.Worker
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) (err error) {
		row, err = q.SetWorkerDrain(ctx, query.SetWorkerDrainParams{ID: id, DrainRequested: drain})
		if err != nil {
			return notFound(err)
		}
		return s.audit(ctx, q, Event{Action: action, ObjectType: "worker", ObjectID: id})
	})
	if err != nil {
		return Worker{}, err
	}
	return workerOf(row)
}

// RemoveWorker forgets a worker: its token is dead at once, its leases end,
// and what only it could do fails with worker_removed. Its snapshots stay.
func (s Scope) RemoveWorker(ctx context.Context, id string) error {
	if s.tenant != nil {
		return ErrNotFound
	}
	return s.db.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error {
		if _, err := q.LockWorker(ctx, id); err != nil {
			return notFound(err)
		}
		if err := q.DeleteWorker(ctx, id); err != nil {
			return fmt.Errorf("remove worker %s: %w", id, err)
		}
		if err := s.failRemovedWorkersJobs(ctx, tx, q, id); err != nil {
			return err
		}
		return s.audit(ctx, q, Event{Action: "worker.remove", ObjectType: "worker", ObjectID: id})
	})
}

// optionalID maps the zero id of a message to NULL.
func optionalID(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}
