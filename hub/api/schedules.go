package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/hub/retention"
	"xvault/hub/schedule"
	"xvault/hub/scheduler"
	"xvault/store/catalog"
)

// Schedule says when a source is backed up.
type Schedule struct {
	ID              uuid.UUID `json:"id" format:"uuid"`
	TenantID        uuid.UUID `json:"tenant_id" format:"uuid"`
	SourceID        uuid.UUID `json:"source_id" format:"uuid"`
	Cron            *string   `json:"cron" doc:"Five fields, or a word such as @daily"`
	IntervalMinutes *int      `json:"interval_minutes" doc:"Or: how far apart"`
	Timezone        string    `json:"timezone" doc:"IANA name"`
	Enabled         bool      `json:"enabled"`
	JitterSeconds   int       `json:"jitter_seconds" doc:"How much later than planned a backup may begin"`
	Window          *string   `json:"window" doc:"Hours of the day in which backups begin, as in 22:00-06:00"`
	RetentionPolicy Object    `json:"retention_policy"`
	Words           string    `json:"words" doc:"The schedule in a sentence"`
	NextRuns        []Time    `json:"next_runs" nullable:"false" doc:"The next five; jitter comes on top. Empty while not enabled"`
	CreatedAt       Time      `json:"created_at"`
	UpdatedAt       Time      `json:"updated_at"`
}

// nextRuns is how many of them are shown.
const nextRuns = 5

// scheduleView shows schedules as they look at one time.
type scheduleView struct {
	parser *schedule.Parser
	now    time.Time
}

func (v scheduleView) of(c catalog.Schedule) Schedule {
	out := Schedule{
		ID: c.ID, TenantID: c.TenantID, SourceID: c.SourceID, Timezone: c.Timezone, Enabled: c.Enabled,
		JitterSeconds: c.JitterSeconds, RetentionPolicy: Object{c.RetentionPolicy}, NextRuns: []Time{},
		CreatedAt: Time{c.CreatedAt}, UpdatedAt: Time{c.UpdatedAt},
	}
	if c.Cron != "" {
		out.Cron = &c.Cron
	}
	if c.IntervalMinutes != 0 {
		out.IntervalMinutes = &c.IntervalMinutes
	}
	if c.Window != "" {
		out.Window = &c.Window
	}
	parsed, faults := v.parser.Parse(scheduler.Spec(c))
	if len(faults) > 0 { // stored by another release
		out.Words = "This hub cannot read it: " + faults[0].Field + ": " + faults[0].Message + "."
		return out
	}
	out.Words = parsed.Words()
	if c.Enabled {
		for _, run := range parsed.NextRuns(v.now, nextRuns) {
			out.NextRuns = append(out.NextRuns, Time{run})
		}
	}
	return out
}

// viewSchedules takes the catalog's time, by which schedules are acted on.
func (s *server) viewSchedules(ctx context.Context) (scheduleView, error) {
	now, err := s.db.Now(ctx)
	return scheduleView{&s.schedules, now}, err
}

func (s *server) registerSchedules(api huma.API) {
	tags := []string{"schedules"}
	register(s, api, huma.Operation{
		OperationID: "create-schedule", Method: http.MethodPost, Path: "/schedules", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Have a source backed up by schedule", Description: "A source may have several.",
	}, s.createSchedule)
	register(s, api, huma.Operation{
		OperationID: "list-schedules", Method: http.MethodGet, Path: "/schedules", Tags: tags, Summary: "List schedules",
	}, s.listSchedules)
	register(s, api, huma.Operation{
		OperationID: "get-schedule", Method: http.MethodGet, Path: "/schedules/{id}", Tags: tags, Summary: "Get a schedule",
	}, s.getSchedule)
	register(s, api, huma.Operation{
		OperationID: "update-schedule", Method: http.MethodPatch, Path: "/schedules/{id}", Tags: tags, Summary: "Change a schedule",
		Description: "cron takes the place of interval_minutes and the other way round; an empty window lifts it; retention_policy is replaced as a whole.",
	}, s.updateSchedule)
	register(s, api, huma.Operation{
		OperationID: "delete-schedule", Method: http.MethodDelete, Path: "/schedules/{id}", Tags: tags,
		Summary: "Delete a schedule; the source, its jobs and its snapshots stay",
	}, s.deleteSchedule)
	register(s, api, huma.Operation{
		OperationID: "list-schedule-slots", Method: http.MethodGet, Path: "/schedules/{id}/slots", Tags: tags,
		Summary: "List what became of the times of a schedule: a job each, or why there was none",
	}, s.listSlots)
}

type createScheduleInput struct {
	TenantQuery
	Body struct {
		TenantID        uuid.UUID `json:"tenant_id,omitempty" format:"uuid" doc:"The source says whose the schedule is; a different one is refused"`
		SourceID        uuid.UUID `json:"source_id" format:"uuid"`
		Cron            *string   `json:"cron,omitempty" nullable:"true" doc:"Five fields, or @hourly, @daily, @weekly, @monthly, @yearly"`
		IntervalMinutes *int      `json:"interval_minutes,omitempty" nullable:"true" doc:"Instead of cron"`
		Timezone        string    `json:"timezone,omitempty" doc:"IANA name. Default: UTC"`
		Enabled         *bool     `json:"enabled,omitempty" doc:"Default: true"`
		JitterSeconds   int       `json:"jitter_seconds,omitempty" doc:"0 to 86400"`
		Window          *string   `json:"window,omitempty" nullable:"true" doc:"Hours of the day, as in 22:00-06:00"`
		RetentionPolicy *Object   `json:"retention_policy,omitempty" doc:"Default: nothing is ever removed"`
	}
}

func (s *server) createSchedule(ctx context.Context, in *createScheduleInput) (*Body[Schedule], error) {
	tenant, err := oneTenant(in.TenantID, in.Body.TenantID)
	if err != nil {
		return nil, err
	}
	view, err := s.viewSchedules(ctx)
	if err != nil {
		return nil, err
	}
	c := catalog.Schedule{
		ID: catalog.NewID(), SourceID: in.Body.SourceID, Anchor: view.now.Truncate(time.Second),
		ScheduleSpec: catalog.ScheduleSpec{
			Cron: strings.TrimSpace(deref(in.Body.Cron)), IntervalMinutes: derefInt(in.Body.IntervalMinutes), Timezone: in.Body.Timezone,
			Enabled: in.Body.Enabled == nil || *in.Body.Enabled, JitterSeconds: in.Body.JitterSeconds, Window: deref(in.Body.Window),
		},
	}
	if c.Timezone == "" {
		c.Timezone = "UTC"
	}
	var policy json.RawMessage
	if in.Body.RetentionPolicy != nil {
		policy = in.Body.RetentionPolicy.RawMessage
	}
	if err := s.planSchedule(&c, policy, view.now); err != nil {
		return nil, err
	}
	created, err := s.scope(ctx).CreateSchedule(ctx, catalog.NewSchedule{
		ID: c.ID, TenantID: optional(tenant), SourceID: c.SourceID, ScheduleSpec: c.ScheduleSpec, Anchor: c.Anchor, NextRun: c.NextRun,
	})
	if err != nil {
		return nil, err
	}
	return &Body[Schedule]{view.of(created)}, nil
}

// planSchedule checks what a person said, names every field that is wrong, and
// works out the next slot. A policy of nil is left as it is.
func (s *server) planSchedule(c *catalog.Schedule, policy json.RawMessage, now time.Time) error {
	var errs []problem.FieldError
	parsed, faults := s.schedules.Parse(scheduler.Spec(*c))
	for _, fault := range faults {
		errs = append(errs, problem.FieldError{Location: "body." + fault.Field, Message: fault.Message})
	}
	if policy != nil || c.RetentionPolicy == nil {
		canonical, policyErrs := retentionPolicy(policy)
		errs = append(errs, policyErrs...)
		c.RetentionPolicy = canonical
	}
	if len(errs) > 0 {
		return problem.Validation(errs...)
	}
	c.NextRun = catalog.NextRun{}
	if step := parsed.Plan(c.ID, now); c.Enabled && !step.Next.IsZero() {
		c.NextRun = catalog.NextRun{Slot: &step.Next, Due: &step.Due}
	}
	return nil
}

// retentionPolicy gives the policy's canonical form, or what is wrong with it.
func retentionPolicy(raw json.RawMessage) (json.RawMessage, []problem.FieldError) {
	const location = "body.retention_policy"
	policy, err := retention.ParsePolicy(raw)
	if err == nil {
		canonical, err := json.Marshal(policy)
		if err == nil {
			return canonical, nil
		}
	}
	var faults retention.PolicyError
	if !errors.As(err, &faults) {
		return nil, []problem.FieldError{{Location: location, Message: "it is not valid"}}
	}
	errs := make([]problem.FieldError, len(faults))
	for i, fault := range faults {
		errs[i] = problem.FieldError{Location: location, Message: fault.Message}
		if fault.Field != "" {
			errs[i].Location += "." + fault.Field
		}
	}
	return nil, errs
}

type listSchedulesInput struct {
	TenantQuery
	SourceID uuid.UUID `query:"source_id" format:"uuid" doc:"Of this source only"`
	PageQuery
}

func (s *server) listSchedules(ctx context.Context, in *listSchedulesInput) (*Body[List[Schedule]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).Schedules(ctx, catalog.ScheduleFilter{TenantID: in.tenant(), SourceID: optional(in.SourceID)}, page)
	if err != nil {
		return nil, err
	}
	view, err := s.viewSchedules(ctx)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, view.of, func(c catalog.Schedule) uuid.UUID { return c.ID }), nil
}

func (s *server) getSchedule(ctx context.Context, in *IDPath) (*Body[Schedule], error) {
	found, err := s.scope(ctx).Schedule(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	view, err := s.viewSchedules(ctx)
	if err != nil {
		return nil, err
	}
	return &Body[Schedule]{view.of(found)}, nil
}

type updateScheduleInput struct {
	IDPath
	Body struct {
		Cron            *string `json:"cron,omitempty" nullable:"true"`
		IntervalMinutes *int    `json:"interval_minutes,omitempty" nullable:"true"`
		Timezone        *string `json:"timezone,omitempty"`
		Enabled         *bool   `json:"enabled,omitempty"`
		JitterSeconds   *int    `json:"jitter_seconds,omitempty"`
		Window          *string `json:"window,omitempty" nullable:"true" doc:"Empty: any hour"`
		RetentionPolicy *Object `json:"retention_policy,omitempty" doc:"The whole policy"`
	}
}

func (s *server) updateSchedule(ctx context.Context, in *updateScheduleInput) (*Body[Schedule], error) {
	view := scheduleView{parser: &s.schedules}
	updated, err := s.scope(ctx).UpdateSchedule(ctx, in.ID, func(c *catalog.Schedule, now time.Time) ([]string, error) {
		view.now = now
		changed, timing := in.apply(c)
		if c.IntervalMinutes != 0 && timing {
			c.Anchor = now.Truncate(time.Second)
		}
		var policy json.RawMessage
		if in.Body.RetentionPolicy != nil {
			policy, changed = in.Body.RetentionPolicy.RawMessage, append(changed, "retention_policy")
		}
		return changed, s.replan(c, policy, timing, now)
	})
	if err != nil {
		return nil, err
	}
	return &Body[Schedule]{view.of(updated)}, nil
}

// replan keeps the next slot where nothing was said of times, and one that has
// passed and that no hub has acted on yet.
func (s *server) replan(c *catalog.Schedule, policy json.RawMessage, timing bool, now time.Time) error {
	planned := c.NextRun
	err := s.planSchedule(c, policy, now)
	if err == nil && c.Enabled && planned.Slot != nil && (!timing || !planned.Slot.After(now)) {
		c.NextRun = planned
	}
	return err
}

// apply changes the schedule and names what it changed; timing: its slots with it.
func (in *updateScheduleInput) apply(c *catalog.Schedule) (changed []string, timing bool) {
	changed = []string{}
	b := &in.Body
	if b.Cron != nil && *b.Cron != "" {
		c.Cron, changed = strings.TrimSpace(*b.Cron), append(changed, "cron")
		if b.IntervalMinutes == nil {
			c.IntervalMinutes = 0
		}
	}
	if b.IntervalMinutes != nil && *b.IntervalMinutes != 0 {
		c.IntervalMinutes, changed = *b.IntervalMinutes, append(changed, "interval_minutes")
		if b.Cron == nil || *b.Cron == "" {
			c.Cron = ""
		}
	}
	if b.Timezone != nil {
		c.Timezone, changed = *b.Timezone, append(changed, "timezone")
	}
	if b.Enabled != nil && *b.Enabled != c.Enabled {
		c.Enabled, changed = *b.Enabled, append(changed, "enabled")
	}
	if b.JitterSeconds != nil {
		c.JitterSeconds, changed = *b.JitterSeconds, append(changed, "jitter_seconds")
	}
	if b.Window != nil {
		c.Window, changed = *b.Window, append(changed, "window")
	}
	return changed, len(changed) > 0
}

func (s *server) deleteSchedule(ctx context.Context, in *IDPath) (*Empty, error) {
	return &Empty{}, s.scope(ctx).DeleteSchedule(ctx, in.ID)
}

// Slot is what became of a time of a schedule.
type Slot struct {
	ID        uuid.UUID  `json:"id" format:"uuid"`
	Slot      Time       `json:"slot" doc:"The planned time"`
	Through   *Time      `json:"through" nullable:"true" doc:"The entry stands for all times from slot to here, missed in a long absence"`
	Outcome   string     `json:"outcome" enum:"job,missed,skipped_overlap,skipped_disabled" doc:"missed: no hub was up, and a later time stands for it; skipped_overlap: the backup before had not ended; skipped_disabled: the source was disabled"`
	JobID     *uuid.UUID `json:"job_id" format:"uuid" nullable:"true"`
	CreatedAt Time       `json:"created_at"`
}

func slotOf(c catalog.Slot) Slot {
	return Slot{c.ID, Time{c.Slot}, optionalTime(c.Through), c.Outcome, c.JobID, Time{c.CreatedAt}}
}

type listSlotsInput struct {
	IDPath
	Outcome string `query:"outcome" enum:"job,missed,skipped_overlap,skipped_disabled" doc:"With this outcome only"`
	PageQuery
}

func (s *server) listSlots(ctx context.Context, in *listSlotsInput) (*Body[List[Slot]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).ScheduleSlots(ctx, in.ID, in.Outcome, page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, slotOf, func(c catalog.Slot) uuid.UUID { return c.ID }), nil
}

func derefInt(n *int) int {
	if n == nil {
		return 0
	}
	return *n
}
