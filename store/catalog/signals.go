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

// The kinds of events that someone may be notified of.
const (
	EventJobFailed         = "job_failed"
	EventSuspicious        = "snapshot_suspicious"
	EventCorrupt           = "snapshot_corrupt"
	EventSlotMissed        = "slot_missed"
	EventSlotSkipped       = "slot_skipped"
	EventRecovered         = "recovered"
	EventSucceeded         = "backup_succeeded"
	EventMaxAgeExceeded    = "max_age_exceeded"
	EventMaxAgeOK          = "max_age_ok"
	EventWorkerOffline     = "worker_offline"
	EventWorkerBack        = "worker_back"
	EventStorageNearlyFull = "storage_nearly_full"
	EventStorageOK         = "storage_ok"
)

// alertMaxAge is the kind of the alert of a source whose objective is exceeded.
const alertMaxAge = "max_age"

// tellFailed writes the events of those of the jobs that failed for good, in
// the transaction that failed them.
func tellFailed(ctx context.Context, q *query.Queries, jobs ...uuid.UUID) error {
	if len(jobs) == 0 {
		return nil
	}
	if err := q.TellJobsFailed(ctx, jobs); err != nil {
		return fmt.Errorf("write events of failed jobs: %w", err)
	}
	return nil
}

// tellBad writes the event of a snapshot that is EventSuspicious or
// EventCorrupt, as a job found, in the transaction that marked it.
func tellBad(ctx context.Context, q *query.Queries, snapshot, job uuid.UUID, kind, reason string) error {
	if err := q.TellSnapshot(ctx, query.TellSnapshotParams{SnapshotID: snapshot, JobID: job, Kind: kind, Reason: reason}); err != nil {
		return fmt.Errorf("write event of snapshot: %w", err)
	}
	return nil
}

// tellGood ends the alerts of the source of a snapshot that turned out good, in
// the transaction that made it so. fresh: a backup has just made it.
func tellGood(ctx context.Context, q *query.Queries, snapshot uuid.UUID, fresh bool) error {
	if err := q.TellGood(ctx, query.TellGoodParams{SnapshotID: snapshot, Fresh: fresh}); err != nil {
		return fmt.Errorf("write event of snapshot: %w", err)
	}
	return nil
}

// Outcomes of slots that someone should know of.
const (
	SlotMissed         = "missed"
	SlotSkippedOverlap = "skipped_overlap"
)

// emptySlots collects the slots of one tick that yield no job and of which
// someone should know.
type emptySlots struct{ query.TellSlotsParams }

// add takes what was decided of a schedule. All missed slots of a pass are one
// event, and so are all slots that one long backup takes up.
func (e *emptySlots) add(d DueSchedule, slots []SlotRecord) error {
	var missed []SlotRecord
	for _, s := range slots {
		switch s.Outcome {
		case SlotMissed:
			missed = append(missed, s)
		case SlotSkippedOverlap:
			about := s.Slot.UTC().Format(time.RFC3339Nano)
			if d.LastJobID != nil {
				about = d.LastJobID.String()
			}
			if err := e.append(d.ID, EventSlotSkipped, about, map[string]any{"slot": s.Slot, "running_job_id": d.LastJobID}); err != nil {
				return err
			}
		}
	}
	if len(missed) == 0 {
		return nil
	}
	first, last := missed[0], missed[len(missed)-1]
	through := last.Slot
	if !last.Through.IsZero() {
		through = last.Through
	}
	return e.append(d.ID, EventSlotMissed, first.Slot.UTC().Format(time.RFC3339Nano), map[string]any{"slot": first.Slot, "through": through})
}

func (e *emptySlots) append(schedule uuid.UUID, kind, about string, detail map[string]any) error {
	encoded, err := json.Marshal(detail)
	if err != nil {
		return fmt.Errorf("encode event: %w", err)
	}
	e.ScheduleIds = append(e.ScheduleIds, schedule)
	e.Kinds = append(e.Kinds, kind)
	e.Abouts = append(e.Abouts, about)
	e.Details = append(e.Details, encoded)
	return nil
}

func (e *emptySlots) tell(ctx context.Context, q *query.Queries) error {
	if len(e.Kinds) == 0 {
		return nil
	}
	if err := q.TellSlots(ctx, e.TellSlotsParams); err != nil {
		return fmt.Errorf("write events of slots: %w", err)
	}
	return nil
}

// handOutLock keeps hubs from handing the same events out at once, and so from
// waiting for each other's channels crosswise.
const handOutLock = 0x78766e6f // "xvno"

// HandOutEvents makes the notifications of up to limit new events, one for each
// channel that wants it, and returns how many events there were. Of several
// hubs one does it at a time.
func (db *DB) HandOutEvents(ctx context.Context, limit int) (int, error) {
	n := 0
	err := db.inBriefTx(ctx, func(q *query.Queries) error {
		mine, err := q.TryHandOutLock(ctx, handOutLock)
		if err != nil || !mine {
			return err
		}
		row, err := q.HandOutEvents(ctx, int32(min(limit, 1<<20)))
		n = int(row.Events)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("hand out events: %w", err)
	}
	return n, nil
}

// DropOldEvents forgets up to limit events that are older than age, and their
// notifications, and returns how many.
func (db *DB) DropOldEvents(ctx context.Context, age time.Duration, limit int) (int, error) {
	now, err := db.Now(ctx)
	if err != nil {
		return 0, fmt.Errorf("drop old events: %w", err)
	}
	n, err := db.q().DropOldEvents(ctx, query.DropOldEventsParams{Before: firstID(now.Add(-age)), MaxRows: int32(min(limit, 1<<20))})
	if err != nil {
		return 0, fmt.Errorf("drop old events: %w", err)
	}
	return int(n), nil
}

// markSilent turns workers offline and writes their events, in one transaction.
func (db *DB) markSilent(ctx context.Context, silence time.Duration) (ids []string, err error) {
	err = db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		if ids, err = q.MarkSilentWorkers(ctx, silence.Seconds()); err != nil || len(ids) == 0 {
			return err
		}
		_, err = q.TellSilentWorkers(ctx)
		return err
	})
	return ids, err
}
