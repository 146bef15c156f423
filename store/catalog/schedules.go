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

// Schedule says when a source is to be backed up. What its fields mean is
// decided outside of the catalog, which keeps the next slot that follows.
type Schedule struct {
	ID       uuid.UUID
	TenantID uuid.UUID
	SourceID uuid.UUID
	ScheduleSpec
	Anchor time.Time // where intervals count from
	NextRun
	LastJobID *uuid.UUID // of the last slot that yielded one
	CreatedAt time.Time
	UpdatedAt time.Time
}

// ScheduleSpec is what a person says of a schedule, validated.
type ScheduleSpec struct {
	Cron            string // empty: an interval
	IntervalMinutes int    // 0: cron
	Timezone        string
	Enabled         bool
	JitterSeconds   int
	Window          string // empty: none
	RetentionPolicy json.RawMessage
}

// NextRun is the next slot and when to act on it; nil: there is none, or the
// schedule is not enabled.
type NextRun struct{ Slot, Due *time.Time }

// NewSchedule is a schedule to be made.
type NewSchedule struct {
	ID       uuid.UUID
	TenantID *uuid.UUID // nil: whose the source is
	SourceID uuid.UUID
	ScheduleSpec
	Anchor time.Time
	NextRun
}

// CreateSchedule stores a schedule. ErrNotFound: the source is outside the scope.
func (s Scope) CreateSchedule(ctx context.Context, n NewSchedule) (Schedule, error) {
	tenant, ok := s.confine(n.TenantID)
	if !ok {
		return Schedule{}, ErrNotFound
	}
	var created Schedule
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.InsertSchedule(ctx, query.InsertScheduleParams{
			ID: n.ID, TenantID: tenant, SourceID: n.SourceID, Cron: optionalText(n.Cron), IntervalMinutes: optionalInt(n.IntervalMinutes),
			Timezone: n.Timezone, Enabled: n.Enabled, JitterSeconds: int32(n.JitterSeconds), RunWindow: optionalText(n.Window),
			RetentionPolicy: n.RetentionPolicy, Anchor: n.Anchor, NextSlot: n.Slot, NextDue: n.Due,
		})
		if err != nil {
			return notFound(err)
		}
		created = scheduleOf(row)
		return s.audit(ctx, q, scheduleEvent("schedule.create", created, nil))
	})
	return created, err
}

// Schedule gives one schedule.
func (s Scope) Schedule(ctx context.Context, id uuid.UUID) (Schedule, error) {
	row, err := s.db.q().ScheduleByID(ctx, query.ScheduleByIDParams{ID: id, TenantID: s.tenant})
	if err != nil {
		return Schedule{}, notFound(err)
	}
	return scheduleOf(row), nil
}

// ScheduleFilter narrows a list; zero fields do not.
type ScheduleFilter struct {
	TenantID *uuid.UUID // the operator's choice; a tenant's scope implies its own
	SourceID *uuid.UUID
}

// Schedules lists schedules of the scope, newest first.
func (s Scope) Schedules(ctx context.Context, f ScheduleFilter, p Page) ([]Schedule, error) {
	var where filter
	if !where.tenant("tenant_id", s, f.TenantID) {
		return []Schedule{}, nil
	}
	if f.SourceID != nil {
		if s.tenant == nil && f.TenantID == nil {
			// The index of a source's schedules begins with its tenant.
			where.add("tenant_id = (SELECT tenant_id FROM sources WHERE id = ?)", *f.SourceID)
		}
		where.add("source_id = ?", *f.SourceID)
	}
	sql, args := where.newestFirst("SELECT * FROM schedules", "id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[query.Schedule])
	if err != nil {
		return nil, fmt.Errorf("list schedules: %w", err)
	}
	schedules := make([]Schedule, len(found))
	for i, row := range found {
		schedules[i] = scheduleOf(row)
	}
	return schedules, nil
}

// UpdateSchedule has change edit a schedule, with the catalog's time at hand, while
// no hub acts on it. change names the fields that it changed.
func (s Scope) UpdateSchedule(ctx context.Context, id uuid.UUID, change func(c *Schedule, now time.Time) ([]string, error)) (Schedule, error) {
	var updated Schedule
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.LockSchedule(ctx, query.LockScheduleParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		c := scheduleOf(row.Schedule)
		changed, err := change(&c, row.Now)
		if err != nil {
			return err
		}
		stored, err := q.UpdateSchedule(ctx, query.UpdateScheduleParams{
			ID: id, Cron: optionalText(c.Cron), IntervalMinutes: optionalInt(c.IntervalMinutes), Timezone: c.Timezone, Enabled: c.Enabled,
			JitterSeconds: int32(c.JitterSeconds), RunWindow: optionalText(c.Window), RetentionPolicy: c.RetentionPolicy,
			Anchor: c.Anchor, NextSlot: c.Slot, NextDue: c.Due,
		})
		if err != nil {
			return fmt.Errorf("update schedule: %w", err)
		}
		updated = scheduleOf(stored)
		return s.audit(ctx, q, scheduleEvent("schedule.update", updated, map[string]any{"changed": changed}))
	})
	return updated, err
}

// DeleteSchedule removes a schedule and what is known of its slots. Jobs and
// snapshots that came of it stay.
func (s Scope) DeleteSchedule(ctx context.Context, id uuid.UUID) error {
	return s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.DeleteSchedule(ctx, query.DeleteScheduleParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		return s.audit(ctx, q, scheduleEvent("schedule.delete", scheduleOf(row), nil))
	})
}

// Slot is what became of a slot of a schedule.
type Slot struct {
	ID        uuid.UUID
	Slot      time.Time
	Through   *time.Time // the last of those that the entry stands for; nil: one
	Outcome   string     // "job", "missed", "skipped_overlap", "skipped_disabled"
	JobID     *uuid.UUID
	CreatedAt time.Time
}

// ScheduleSlots lists what became of a schedule's slots, the latest recorded
// first; outcome narrows the list.
func (s Scope) ScheduleSlots(ctx context.Context, schedule uuid.UUID, outcome string, p Page) ([]Slot, error) {
	if _, err := s.Schedule(ctx, schedule); err != nil {
		return nil, err
	}
	var where filter
	where.add("schedule_id = ?", schedule)
	if outcome != "" {
		where.add("outcome = ?", outcome)
	}
	sql, args := where.newestFirst("SELECT id, slot, through, outcome, job_id, created_at FROM schedule_slots", "id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list slots: %w", err)
	}
	slots, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Slot])
	if err != nil {
		return nil, fmt.Errorf("list slots: %w", err)
	}
	return slots, nil
}

func scheduleEvent(action string, c Schedule, detail map[string]any) Event {
	if detail == nil {
		detail = map[string]any{}
	}
	detail["source_id"] = c.SourceID
	return Event{TenantID: &c.TenantID, Action: action, ObjectType: "schedule", ObjectID: c.ID.String(), Detail: detail}
}

func scheduleOf(r query.Schedule) Schedule {
	c := Schedule{
		ID: r.ID, TenantID: r.TenantID, SourceID: r.SourceID,
		ScheduleSpec: ScheduleSpec{
			Timezone: r.Timezone, Enabled: r.Enabled, JitterSeconds: int(r.JitterSeconds), RetentionPolicy: r.RetentionPolicy,
		},
		Anchor: r.Anchor, NextRun: NextRun{Slot: r.NextSlot, Due: r.NextDue},
		LastJobID: r.LastJobID, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt,
	}
	if r.Cron != nil {
		c.Cron = *r.Cron
	}
	if r.IntervalMinutes != nil {
		c.IntervalMinutes = int(*r.IntervalMinutes)
	}
	if r.RunWindow != nil {
		c.Window = *r.RunWindow
	}
	return c
}

func optionalText(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func optionalInt(n int) *int32 {
	if n == 0 {
		return nil
	}
	narrow := int32(n)
	return &narrow
}
