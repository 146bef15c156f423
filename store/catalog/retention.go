package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// RetentionView is all that a decision about a source's snapshots rests on.
type RetentionView struct {
	SourceID uuid.UUID
	TenantID uuid.UUID
	Now      time.Time       // the catalog's
	Rules    []RetentionRule // of all schedules of the source, the oldest first
	// Snapshots are those that are there and those that retention marked before
	// and no worker has begun to delete, newest first.
	Snapshots []RetainedSnapshot
}

// RetentionRule is a schedule's policy, as it is stored, and its time zone.
type RetentionRule struct {
	Policy   json.RawMessage
	Timezone string
}

// RetainedSnapshot is a snapshot that retention has a say in. Of one that it has
// marked, Status is what it was before.
type RetainedSnapshot struct {
	ID        uuid.UUID
	StartedAt time.Time
	SizeBytes int64
	Status    SnapshotStatus
	Marked    bool // by an earlier run
	Hold      bool
	Missing   bool // its files are not on its storage
	InUse     bool // a restore or a verify of it waits or runs
}

// RetentionPlan is what is to become of a source's snapshots. What is in
// neither list is left as it is.
type RetentionPlan struct {
	Remove   []uuid.UUID // to be marked as deleting
	TakeBack []uuid.UUID // marked before, and to stay after all
}

// Retention is what a run did.
type Retention struct{ Removed, TakenBack []uuid.UUID }

// RetentionView shows what a run on a source of the scope would look at.
func (s Scope) RetentionView(ctx context.Context, source uuid.UUID) (RetentionView, error) {
	found, err := s.Source(ctx, source)
	if err != nil {
		return RetentionView{}, err
	}
	var view RetentionView
	err = pgx.BeginTxFunc(ctx, s.db.pool, reconcileTx, func(tx pgx.Tx) (err error) {
		view, err = retentionView(ctx, tx, query.New(tx), found.TenantID, source)
		return err
	})
	return view, err
}

func retentionView(ctx context.Context, tx pgx.Tx, q *query.Queries, tenant, source uuid.UUID) (RetentionView, error) {
	view := RetentionView{SourceID: source, TenantID: tenant}
	if err := tx.QueryRow(ctx, "SELECT xvault_now()").Scan(&view.Now); err != nil {
		return view, fmt.Errorf("ask for the time: %w", err)
	}
	rules, err := q.RetentionRules(ctx, query.RetentionRulesParams{TenantID: tenant, SourceID: source})
	if err != nil {
		return view, fmt.Errorf("look up retention policies: %w", err)
	}
	for _, r := range rules {
		view.Rules = append(view.Rules, RetentionRule{Policy: r.RetentionPolicy, Timezone: r.Timezone})
	}
	rows, err := q.RetainedSnapshots(ctx, query.RetainedSnapshotsParams{TenantID: tenant, SourceID: source})
	if err != nil {
		return view, fmt.Errorf("look up snapshots: %w", err)
	}
	for _, r := range rows {
		view.Snapshots = append(view.Snapshots, RetainedSnapshot{
			ID: r.ID, StartedAt: r.StartedAt, SizeBytes: r.SizeBytes, Status: SnapshotStatus(r.Status),
			Marked: r.Marked, Hold: r.Hold, Missing: r.Missing, InUse: r.InUse,
		})
	}
	return view, nil
}

// Retain has decide look at a source and carries its plan out, in one
// transaction that nothing of the source's snapshots changes beside. What is to
// be removed is marked as deleting, with the grace time before it.
func (db *DB) Retain(ctx context.Context, source uuid.UUID, grace time.Duration, decide func(RetentionView) (RetentionPlan, error)) (Retention, error) {
	var done Retention
	err := db.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error {
		row, err := q.LockSourceForRetention(ctx, source)
		if err != nil {
			return notFound(err)
		}
		if err := q.LockRetainedSnapshots(ctx, query.LockRetainedSnapshotsParams{TenantID: row.TenantID, SourceID: source}); err != nil {
			return fmt.Errorf("lock snapshots: %w", err)
		}
		view, err := retentionView(ctx, tx, q, row.TenantID, source)
		if err != nil {
			return err
		}
		plan, err := decide(view)
		if err != nil {
			return err
		}
		if done, err = carryOut(ctx, q, view, plan, grace); err != nil {
			return err
		}
		if err := q.SetRetained(ctx, source); err != nil {
			return fmt.Errorf("note retention: %w", err)
		}
		return db.auditRetention(ctx, q, view, done, grace)
	})
	return done, err
}

func carryOut(ctx context.Context, q *query.Queries, view RetentionView, plan RetentionPlan, grace time.Duration) (Retention, error) {
	var done Retention
	if len(plan.Remove) > 0 {
		removed, err := q.RetireSnapshots(ctx, query.RetireSnapshotsParams{
			Ids: plan.Remove, TenantID: view.TenantID, SourceID: view.SourceID, GraceSeconds: grace.Seconds(),
		})
		if err != nil {
			return done, fmt.Errorf("mark snapshots as deleting: %w", err)
		}
		done.Removed = removed
	}
	for _, id := range plan.TakeBack {
		row, err := q.LockSnapshot(ctx, query.LockSnapshotParams{ID: id, TenantID: &view.TenantID})
		if err != nil {
			return done, fmt.Errorf("look up snapshot %s: %w", id, err)
		}
		if _, err := takeBack(ctx, q, row); err != nil {
			if _, begun := isConflict(err); begun {
				continue // a worker was faster
			}
			return done, err
		}
		done.TakenBack = append(done.TakenBack, id)
	}
	return done, nil
}

func (db *DB) auditRetention(ctx context.Context, q *query.Queries, view RetentionView, done Retention, grace time.Duration) error {
	if len(done.Removed)+len(done.TakenBack) == 0 {
		return nil
	}
	hub := db.Operator(Actor{Type: ActorHub, ID: "retention"})
	return hub.audit(ctx, q, Event{
		TenantID: &view.TenantID, Action: "source.retention", ObjectType: "source", ObjectID: view.SourceID.String(),
		Detail: map[string]any{"removed": nonNil(done.Removed), "taken_back": nonNil(done.TakenBack), "grace_seconds": int64(grace.Seconds())},
	})
}

// SourcesToRetain lists up to limit sources that retention should look at, in
// the order of their ids from behind the one given.
func (db *DB) SourcesToRetain(ctx context.Context, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	ids, err := db.q().SourcesToRetain(ctx, query.SourcesToRetainParams{After: after, MaxRows: int32(min(limit, 1<<20))})
	if err != nil {
		return nil, fmt.Errorf("look for sources to retain: %w", err)
	}
	return ids, nil
}

// SourcesWithDueDeletions lists up to limit sources of which retention marked
// snapshots whose grace time is over.
func (db *DB) SourcesWithDueDeletions(ctx context.Context, limit int) ([]uuid.UUID, error) {
	ids, err := db.q().SourcesWithDueDeletions(ctx, int32(min(limit, 1<<20)))
	if err != nil {
		return nil, fmt.Errorf("look for sources with due deletions: %w", err)
	}
	return ids, nil
}

// maxStored bounds how many backups wait to be told of; who is told of fewer
// looks for himself now and then.
const maxStored = 1024

// Stored tells of backups that were stored through this DB: the ids of their
// sources, where a schedule has a retention policy. It may miss some.
func (db *DB) Stored() <-chan uuid.UUID { return db.stored }

func (db *DB) tellStored(sourceID uuid.UUID) {
	select {
	case db.stored <- sourceID:
	default:
	}
}
