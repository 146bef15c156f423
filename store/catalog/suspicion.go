package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// baselineSize is how many good snapshots a new one is compared with.
const baselineSize = 7

// bulk is how much there is in a snapshot. files and bytes are -1 where its
// manifest does not say.
type bulk struct {
	artifact int64 // sealed
	files    int64
	bytes    int64 // of the files
}

func bulkOf(artifact int64, content json.RawMessage) bulk {
	b := bulk{artifact: artifact, files: -1, bytes: -1}
	var c struct{ Files, Bytes *int64 }
	if json.Unmarshal(content, &c) != nil {
		return b // a manifest of another version
	}
	if c.Files != nil {
		b.files = *c.Files
	}
	if c.Bytes != nil {
		b.bytes = *c.Bytes
	}
	return b
}

// suspect says why a snapshot is suspicious beside the good ones before it;
// empty: it is not. It is when there is no file in it, unless that is how it
// always was, or less than half of the files, of their bytes or of the sealed
// bytes that there are in the median.
func suspect(b bulk, good []bulk) string {
	files := median(good, func(g bulk) int64 { return g.files })
	if b.files == 0 && files != 0 {
		return "It holds no file."
	}
	for _, m := range []struct {
		what        string
		now, before int64
	}{
		{"files", b.files, files},
		{"bytes in files", b.bytes, median(good, func(g bulk) int64 { return g.bytes })},
		{"bytes in the artifact", b.artifact, median(good, func(g bulk) int64 { return g.artifact })},
	} {
		if m.now >= 0 && m.before > 0 && m.now < m.before-m.now {
			return fmt.Sprintf("It holds %d %s; the last %d good snapshots hold %d in the median.", m.now, m.what, len(good), m.before)
		}
	}
	return ""
}

// median is the lower one of an even number; -1 where nothing is known.
func median(good []bulk, of func(bulk) int64) int64 {
	var values []int64
	for _, g := range good {
		if v := of(g); v >= 0 {
			values = append(values, v)
		}
	}
	if len(values) == 0 {
		return -1
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// suspicion looks whether the snapshot that a report brings is as large as its
// like. The baseline is read before the report is committed: backups of one
// source do not run side by side, and a deletion changes nothing about it.
// awaited: that a snapshot of the source is good would be news to somebody.
func (db *DB) suspicion(ctx context.Context, jobID uuid.UUID, s *job.SnapshotRecord) (reason string, awaited bool, err error) {
	if s.Status != string(SnapshotCompleted) {
		return "", false, nil
	}
	rows, err := db.q().SnapshotBaseline(ctx, query.SnapshotBaselineParams{JobID: jobID, MaxRows: baselineSize})
	if err != nil {
		return "", false, fmt.Errorf("look up earlier snapshots: %w", err)
	}
	var good []bulk
	for _, row := range rows {
		awaited = row.Awaited
		if row.SizeBytes >= 0 {
			good = append(good, bulkOf(row.SizeBytes, row.Content))
		}
	}
	var manifest struct{ Content json.RawMessage }
	if err := json.Unmarshal(s.Manifest, &manifest); err != nil {
		return "", false, invalidReport("the manifest is not what a manifest is")
	}
	return suspect(bulkOf(s.SizeBytes, manifest.Content), good), awaited, nil
}

// withSuspicion adds the reason to a job's result, which a worker made and
// which is an object or nothing.
func withSuspicion(result json.RawMessage, suspicion string) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{}
	if len(result) > 0 {
		if err := json.Unmarshal(result, &fields); err != nil {
			return nil, invalidReport("the result is not a JSON object")
		}
	}
	reason, err := json.Marshal(suspicion)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	fields["suspicion"] = reason
	encoded, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("encode result: %w", err)
	}
	return encoded, nil
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
