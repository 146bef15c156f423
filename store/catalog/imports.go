package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// ErrNotListing says that nobody asked this worker for the listing that a page
// belongs to, or not any more.
var ErrNotListing = errors.New("nobody asks for this listing")

// Import is an operator's question to a worker what is on its storage, and how
// far the answer is.
type Import struct {
	ID        uuid.UUID
	WorkerID  string
	StorageID *uuid.UUID // that was listed; nil: nothing came yet
	Found     int64
	Listed    bool // all of the answer is there
	Problem   string
	UpdatedAt time.Time
}

// StartImport asks a worker to list its storage; it hears of that with its next
// heartbeat. What was asked of the same worker before is forgotten. Errors:
// ErrNotFound.
func (s Scope) StartImport(ctx context.Context, workerID string) (Import, error) {
	if s.tenant != nil {
		return Import{}, ErrNotFound
	}
	var row query.Import
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		if _, err := q.LockWorker(ctx, workerID); err != nil {
			return notFound(err)
		}
		if err := q.DeleteImportsOfWorker(ctx, workerID); err != nil {
			return fmt.Errorf("forget the last import: %w", err)
		}
		var err error
		if row, err = q.InsertImport(ctx, query.InsertImportParams{ID: NewID(), WorkerID: workerID}); err != nil {
			return fmt.Errorf("ask for a listing: %w", err)
		}
		return s.audit(ctx, q, Event{
			Action: "worker.list_storage", ObjectType: "worker", ObjectID: workerID, Detail: map[string]any{"import_id": row.ID},
		})
	})
	return importOf(row), err
}

// ImportByID tells how far it is. ErrNotFound: another one took its place.
func (s Scope) ImportByID(ctx context.Context, id uuid.UUID) (Import, error) {
	if s.tenant != nil {
		return Import{}, ErrNotFound
	}
	row, err := s.db.q().ImportByID(ctx, id)
	if err != nil {
		return Import{}, notFound(err)
	}
	return importOf(row), nil
}

// EndImport forgets what the worker told.
func (s Scope) EndImport(ctx context.Context, id uuid.UUID) error {
	if s.tenant != nil {
		return ErrNotFound
	}
	return s.db.q().DeleteImport(ctx, id)
}

// PruneImports forgets imports whose command died a day ago.
func (db *DB) PruneImports(ctx context.Context) (int64, error) { return db.q().PruneImports(ctx) }

func importOf(r query.Import) Import {
	return Import{
		ID: r.ID, WorkerID: r.WorkerID, StorageID: r.StorageID, Found: r.Found, Listed: r.ListedAt != nil,
		Problem: r.Problem, UpdatedAt: r.UpdatedAt,
	}
}

// KeepFound takes a page of a listing from the worker that was asked for it. It
// is only kept: what becomes of it the operator's import decides. Errors:
// ErrNotListing; ErrSuperseded.
func (db *DB) KeepFound(ctx context.Context, w WorkerRef, page job.FoundPage) error {
	return db.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error {
		worker, err := q.Worker(ctx, w.ID)
		if errors.Is(err, pgx.ErrNoRows) || err == nil && worker.Incarnation != w.Incarnation {
			return ErrSuperseded
		}
		if err != nil {
			return fmt.Errorf("look up worker %s: %w", w.ID, err)
		}
		row, err := q.LockOpenImport(ctx, query.LockOpenImportParams{ID: page.ImportID, WorkerID: w.ID})
		if errors.Is(err, pgx.ErrNoRows) || err == nil && !ownStorage(worker, page.StorageID) {
			return ErrNotListing
		}
		if err != nil {
			return fmt.Errorf("look up import: %w", err)
		}
		if row.ListingID == nil || *row.ListingID != page.ListingID {
			if err := q.DeleteImportItems(ctx, row.ID); err != nil {
				return fmt.Errorf("forget an earlier listing: %w", err)
			}
			row.Found, row.Bytes = 0, 0
		}
		return keepPage(ctx, tx, q, row, page)
	})
}

func keepPage(ctx context.Context, tx pgx.Tx, q *query.Queries, row query.Import, page job.FoundPage) error {
	last, problem := page.Last, page.Problem
	for _, f := range page.Items {
		row.Bytes += f.Bytes()
	}
	if row.Found+int64(len(page.Items)) > job.MaxFoundItems || row.Bytes > job.MaxFoundBytes {
		last, problem = true, "there is more on this storage than one import takes: import again when this one is done"
		page.Items = nil
	}
	kept, err := keepItems(ctx, tx, row.ID, page.Items)
	if err != nil {
		return err
	}
	err = q.SetImportProgress(ctx, query.SetImportProgressParams{
		ID: row.ID, ListingID: &page.ListingID, StorageID: &page.StorageID, Found: row.Found + kept, Bytes: row.Bytes,
		Problem: cleanText(problem, job.MaxPlace), Listed: last,
	})
	if err != nil {
		return fmt.Errorf("keep what was found: %w", err)
	}
	return nil
}

const insertItem = `INSERT INTO import_items (import_id, place, tenant_id, source_id, snapshot_id, unconfirmed, artifact_bytes, meta, manifest, problem)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING`

// keepItems sends all rows at once. Those of a page that came before are there.
func keepItems(ctx context.Context, tx pgx.Tx, id uuid.UUID, items []job.Found) (kept int64, err error) {
	var batch pgx.Batch
	for _, f := range items {
		batch.Queue(insertItem, id, cleanText(f.Place, job.MaxPlace), optionalID(f.TenantID), optionalID(f.SourceID), optionalID(f.SnapshotID),
			f.Unconfirmed, f.ArtifactBytes, f.Meta, f.Manifest, cleanText(f.Problem, job.MaxPlace)).
			Exec(func(tag pgconn.CommandTag) error {
				kept += tag.RowsAffected()
				return nil
			})
	}
	if err := tx.SendBatch(ctx, &batch).Close(); err != nil {
		return 0, fmt.Errorf("keep what was found: %w", err)
	}
	return kept, nil
}

// FoundItems gives up to limit items behind a place, in the order of places:
// those that a hub once took, or the others.
func (s Scope) FoundItems(ctx context.Context, id uuid.UUID, unconfirmed []bool, after string, limit int) ([]job.Found, error) {
	if s.tenant != nil {
		return nil, ErrNotFound
	}
	rows, err := s.db.q().ImportItems(ctx, query.ImportItemsParams{ImportID: id, After: after, Unconfirmed: unconfirmed, MaxRows: int32(limit)})
	if err != nil {
		return nil, fmt.Errorf("read what was found: %w", err)
	}
	found := make([]job.Found, len(rows))
	for i, r := range rows {
		found[i] = job.Found{
			Place: r.Place, TenantID: idOrNil(r.TenantID), SourceID: idOrNil(r.SourceID), SnapshotID: idOrNil(r.SnapshotID),
			Unconfirmed: r.Unconfirmed, ArtifactBytes: r.ArtifactBytes, Meta: r.Meta, Manifest: r.Manifest, Problem: r.Problem,
		}
	}
	return found, nil
}

func idOrNil(id *uuid.UUID) uuid.UUID {
	if id == nil {
		return uuid.Nil
	}
	return *id
}

// importLock is the class of the advisory locks that keep imports of one worker
// apart.
const importLock = 0x78760001

// LockImports keeps other imports of this worker out until unlock; the end of
// this process unlocks as well. ErrImportRuns: there is one.
func (db *DB) LockImports(ctx context.Context, workerID string) (unlock func(), err error) {
	conn, err := db.pool.Acquire(ctx)
	if err != nil {
		return nil, fmt.Errorf("reach catalog: %w", err)
	}
	var got bool
	err = conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1, hashtext($2))", importLock, workerID).Scan(&got)
	if err == nil && !got {
		err = ErrImportRuns
	}
	if err != nil {
		conn.Release()
		return nil, err
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
		defer cancel()
		// The server ends a closed connection when it gets to it, and the next import
		// may come before that. Where this fails the lock ends with the connection, which
		// is therefore closed and not given back.
		_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock($1, hashtext($2))", importLock, workerID)
		_ = conn.Hijack().Close(ctx)
	}, nil
}

// ErrImportRuns means that another import of the same worker is at work.
var ErrImportRuns = errors.New("another import of this worker is running")
