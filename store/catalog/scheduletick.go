package catalog

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// ScheduledPriority is that of jobs that schedules make: below what a person
// asks for, within a tenant.
const ScheduledPriority = DefaultPriority - 1

// DueSchedule is a schedule whose next slot is due.
type DueSchedule struct {
	Schedule
	Running  bool // the job of its last slot has not ended
	Disabled bool // its source is not to be backed up
}

// SlotRecord is a slot and what becomes of it. A RunAfter makes it a job's.
type SlotRecord struct {
	Slot     time.Time
	Through  time.Time // zero: the entry stands for one slot
	Outcome  string
	RunAfter time.Time // zero: no job
}

// Advance is what was decided of a schedule: what to record, and the next slot.
type Advance struct {
	Slots []SlotRecord
	NextRun
}

// Ticked is what one look at the schedules did.
type Ticked struct {
	Schedules int // that were due; as many as the limit: there may be more
	Jobs      int
	Slots     int // recorded, jobs included
}

// TickSchedules takes up to limit schedules that are due, has decide say what
// becomes of their slots, and stores that: in one transaction, with the
// schedules locked against other hubs. A slot that is recorded already
// makes no second job.
func (db *DB) TickSchedules(ctx context.Context, limit int, decide func(d DueSchedule, now time.Time) Advance) (Ticked, error) {
	var ticked Ticked
	err := db.inBriefTx(ctx, func(q *query.Queries) error {
		rows, err := q.TakeDueSchedules(ctx, int32(min(limit, 1<<20)))
		if err != nil || len(rows) == 0 {
			return err
		}
		params := recordParams()
		var empty emptySlots
		for _, r := range rows {
			due := DueSchedule{Schedule: scheduleOf(r.Schedule), Running: r.Running, Disabled: !r.SourceActive}
			advance := decide(due, r.Now)
			addAdvance(&params, due.ID, advance)
			if err := empty.add(due, advance.Slots); err != nil {
				return err
			}
		}
		recorded, err := q.RecordSlots(ctx, params)
		if err != nil {
			return err
		}
		ticked = Ticked{Schedules: len(rows), Jobs: int(recorded.Jobs), Slots: int(recorded.Slots)}
		return empty.tell(ctx, q)
	})
	if err != nil {
		return Ticked{}, fmt.Errorf("act on schedules: %w", err)
	}
	if ticked.Jobs > 0 {
		db.queueChanged()
	}
	return ticked, nil
}

// PlanSchedules has plan work out the next slot of up to limit schedules for
// which that was never done, or at a time that is yet to come: then the clock
// went back, and what was recorded of slots ahead of it, but for jobs, is
// forgotten. It returns how many there were.
func (db *DB) PlanSchedules(ctx context.Context, limit int, plan func(c Schedule, now time.Time) NextRun) (int, error) {
	n := 0
	err := db.inBriefTx(ctx, func(q *query.Queries) error {
		rows, err := q.TakeUnplannedSchedules(ctx, int32(min(limit, 1<<20)))
		if err != nil || len(rows) == 0 {
			return err
		}
		params := recordParams()
		for _, r := range rows {
			c := scheduleOf(r.Schedule)
			addAdvance(&params, c.ID, Advance{NextRun: plan(c, r.Now)})
		}
		if err := q.ForgetFutureSlots(ctx, params.PlannedIds); err != nil {
			return err
		}
		n = len(rows)
		_, err = q.RecordSlots(ctx, params)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("plan schedules: %w", err)
	}
	return n, nil
}

// standStill is how long a hub may stop in the middle of looking at schedules
// before Postgres ends its transaction, so that another hub takes them.
const standStill = "10s"

func (db *DB) inBriefTx(ctx context.Context, fn func(q *query.Queries) error) error {
	return db.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error {
		if _, err := tx.Exec(ctx, "SET LOCAL idle_in_transaction_session_timeout = '"+standStill+"'"); err != nil {
			return err
		}
		return fn(q)
	})
}

func recordParams() query.RecordSlotsParams {
	// Not nil: an array of no length is not NULL.
	return query.RecordSlotsParams{
		Ids: []uuid.UUID{}, ScheduleIds: []uuid.UUID{}, Slots: []time.Time{}, Throughs: []time.Time{}, Outcomes: []string{},
		JobIds: []uuid.UUID{}, RunAfters: []time.Time{}, PlannedIds: []uuid.UUID{}, NextSlots: []time.Time{}, NextDues: []time.Time{},
		Priority: ScheduledPriority, MaxAttempts: job.MaxAttempts,
	}
}

func addAdvance(p *query.RecordSlotsParams, schedule uuid.UUID, a Advance) {
	for _, s := range a.Slots {
		var jobID uuid.UUID
		if !s.RunAfter.IsZero() {
			jobID = NewID()
		}
		p.Ids = append(p.Ids, NewID())
		p.ScheduleIds = append(p.ScheduleIds, schedule)
		p.Slots = append(p.Slots, s.Slot)
		p.Throughs = append(p.Throughs, s.Through)
		p.Outcomes = append(p.Outcomes, s.Outcome)
		p.JobIds = append(p.JobIds, jobID)
		p.RunAfters = append(p.RunAfters, s.RunAfter)
	}
	p.PlannedIds = append(p.PlannedIds, schedule)
	p.NextSlots = append(p.NextSlots, orZero(a.Slot))
	p.NextDues = append(p.NextDues, orZero(a.Due))
}

func orZero(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// DropOldSlots forgets up to limit entries of slots that are older than age, and
// returns how many.
func (db *DB) DropOldSlots(ctx context.Context, age time.Duration, limit int) (int, error) {
	now, err := db.Now(ctx)
	if err != nil {
		return 0, fmt.Errorf("drop old slots: %w", err)
	}
	n, err := db.q().DropOldSlots(ctx, query.DropOldSlotsParams{Before: firstID(now.Add(-age)), MaxRows: int32(min(limit, 1<<20))})
	if err != nil {
		return 0, fmt.Errorf("drop old slots: %w", err)
	}
	return int(n), nil
}

// firstID is before every UUIDv7 that is made from t on.
func firstID(t time.Time) uuid.UUID {
	var id uuid.UUID
	binary.BigEndian.PutUint64(id[:8], uint64(max(t.UnixMilli(), 0))<<16)
	return id
}
