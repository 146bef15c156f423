package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// baselineSize is how many good snapshots a new one is compared with.
const baselineSize = 7

// contentOf gives the number of files and of their bytes that a manifest tells
// of; nil where it tells none.
func contentOf(manifest json.RawMessage) (files, size *int64, err error) {
	var m struct{ Content json.RawMessage }
	if json.Unmarshal(manifest, &m) != nil {
		return nil, nil, invalidReport("the manifest is not what a manifest is")
	}
	var content struct{ Files, Bytes *int64 }
	// What is not as it is today is the manifest of another version.
	if json.Unmarshal(m.Content, &content) == nil {
		files, size = notNegative(content.Files), notNegative(content.Bytes)
	}
	return files, size, nil
}

func notNegative(n *int64) *int64 {
	if n != nil && *n < 0 {
		return nil
	}
	return n
}

// AcceptSnapshot says that a suspicious snapshot is good after all: it counts
// from now on, and later ones are compared with it and not with what was before.
// Errors: ErrNotFound, *Conflict "snapshot_not_suspicious".
func (s Scope) AcceptSnapshot(ctx context.Context, id uuid.UUID) (Snapshot, error) {
	return s.changeSnapshot(ctx, id, func(q *query.Queries, row query.Snapshot) (query.Snapshot, error) {
		if row.Status != string(SnapshotSuspicious) {
			return row, &Conflict{"snapshot_not_suspicious", "The snapshot is " + row.Status + ", not suspicious; there is nothing to accept."}
		}
		row, err := q.AcceptSnapshot(ctx, id)
		if err != nil {
			return row, fmt.Errorf("accept snapshot: %w", err)
		}
		if err := tellGood(ctx, q, row.ID, false); err != nil {
			return row, err
		}
		return row, s.audit(ctx, q, snapshotEvent("snapshot.accept", row, map[string]any{"suspicion": row.Suspicion}))
	})
}

// changeSnapshot runs change on a locked row of the scope.
func (s Scope) changeSnapshot(ctx context.Context, id uuid.UUID, change func(*query.Queries, query.Snapshot) (query.Snapshot, error)) (Snapshot, error) {
	var row query.Snapshot
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) (err error) {
		if row, err = q.LockSnapshot(ctx, query.LockSnapshotParams{ID: id, TenantID: s.tenant}); err != nil {
			return notFound(err)
		}
		row, err = change(q, row)
		return err
	})
	if err != nil {
		return Snapshot{}, err
	}
	return snapshotOf(row), nil
}
