package cmd

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var scheduleView = view[apiclient.Schedule]{
	heading: []string{"ID", "SOURCE", "ENABLED", "NEXT", "WHEN"},
	row: func(s apiclient.Schedule) []string {
		return []string{s.ID, s.SourceID, yes(s.Enabled), nextRun(s), s.Words}
	},
	fields: func(s apiclient.Schedule) []string {
		interval := ""
		if s.IntervalMinutes > 0 {
			interval = strconv.Itoa(s.IntervalMinutes) + " min"
		}
		pairs := []string{
			"id", s.ID, "when", s.Words, "tenant", s.TenantID, "source", s.SourceID, "enabled", yesNo(s.Enabled),
			"cron", s.Cron, "interval", interval, "timezone", s.Timezone, "jitter", jitterOf(s), "window", s.Window,
			"retention", retentionOf(s.RetentionPolicy), "created", when(s.CreatedAt),
		}
		for i, run := range s.NextRuns {
			label := ""
			if i == 0 {
				label = "next runs"
			}
			pairs = append(pairs, label, whenIn(run, s.Timezone))
		}
		return pairs
	},
}

var slotView = view[apiclient.Slot]{
	heading: []string{"TIME", "OUTCOME", "JOB", "UNTIL"},
	row: func(s apiclient.Slot) []string {
		return []string{when(s.Slot), s.Outcome, s.JobID, whenMaybe(s.Through)}
	},
}

func newScheduleCommand() *cobra.Command {
	resource := (*apiclient.Client).Schedules
	return noun("schedule", "When sources are backed up", `A schedule has a source backed up again and again: at the times of a cron
expression, read in a time zone, or a number of minutes apart. A source may have
several.`,
		newScheduleCreateCommand(),
		listCommand("List schedules", resource, scheduleView,
			filter{flag: "source", parameter: "source_id", usage: "only those of this source", what: "source", list: sources}),
		showCommand("schedule", scheds, resource, scheduleView),
		newScheduleSetCommand(),
		scheduleSwitch("enable", "Let a schedule make backups again", true),
		scheduleSwitch("disable", "Keep a schedule, but have it make no backups", false),
		newScheduleSlotsCommand(),
		removeCommand("schedule", scheds, resource, "Remove a schedule; the source and its snapshots stay"),
	)
}

// scheduleBody is the body of a schedule; what is not said is not sent.
type scheduleBody struct {
	SourceID        string         `json:"source_id,omitempty"`
	Cron            *string        `json:"cron,omitempty"`
	IntervalMinutes *int           `json:"interval_minutes,omitempty"`
	Timezone        *string        `json:"timezone,omitempty"`
	Enabled         *bool          `json:"enabled,omitempty"`
	JitterSeconds   *int           `json:"jitter_seconds,omitempty"`
	Window          *string        `json:"window,omitempty"`
	RetentionPolicy map[string]any `json:"retention_policy,omitempty"`
}

// scheduleOptions are the flags that make or change a schedule.
type scheduleOptions struct {
	clientOptions
	cron, timezone, window, retention string
	every, jitter                     time.Duration
	keep                              map[string]*int
	keepWithin                        string
	disabled                          bool
}

func (o *scheduleOptions) addFlags(c *cobra.Command) {
	o.clientOptions.addFlags(c)
	f := c.Flags()
	f.StringVar(&o.cron, "cron", "", `five fields ("30 2 * * *") or @hourly, @daily, @weekly, @monthly, @yearly`)
	f.DurationVar(&o.every, "every", 0, "instead of --cron: how far apart, in whole minutes (90m, 6h)")
	f.StringVar(&o.timezone, "timezone", "UTC", `the zone that cron, window and retention are read in ("Europe/Berlin")`)
	f.DurationVar(&o.jitter, "jitter", 0, "how much later than planned a backup may begin (10m)")
	f.StringVar(&o.window, "window", "", `hours of the day in which backups begin ("22:00-06:00")`)
	f.StringVar(&o.retention, "retention", "", `the retention policy as JSON, from a file or "-"; the flags below win over it`)
	o.keep = map[string]*int{}
	for _, k := range keepFlags() {
		o.keep[k.field] = new(int)
		f.IntVar(o.keep[k.field], k.flag, 0, k.usage)
	}
	f.StringVar(&o.keepWithin, "keep-within", "", `keep all that are younger than this, before the newest ("30d")`)
}

type keepFlag struct{ field, flag, usage string }

func keepFlags() []keepFlag {
	return []keepFlag{
		{"keep_last", "keep-last", "keep this many snapshots"},
		{"keep_hourly", "keep-hourly", "keep one for each of this many hours"},
		{"keep_daily", "keep-daily", "keep one for each of this many days"},
		{"keep_weekly", "keep-weekly", "keep one for each of this many weeks"},
		{"keep_monthly", "keep-monthly", "keep one for each of this many months"},
		{"keep_yearly", "keep-yearly", "keep one for each of this many years"},
		{"min_keep", "min-keep", "never keep fewer good ones than this"},
	}
}

// build makes the body of what was said; before is the policy that keep flags
// change.
func (o *scheduleOptions) build(c *cobra.Command, before json.RawMessage) (scheduleBody, error) {
	var body scheduleBody
	changed := c.Flags().Changed
	if changed("cron") {
		body.Cron = &o.cron
	}
	if changed("every") {
		if o.every <= 0 || o.every%time.Minute != 0 {
			return body, usagef("--every is %s: it must be whole minutes", o.every)
		}
		minutes := int(o.every / time.Minute)
		body.IntervalMinutes = &minutes
	}
	if changed("timezone") {
		body.Timezone = &o.timezone
	}
	if changed("jitter") {
		seconds := int(o.jitter / time.Second)
		body.JitterSeconds = &seconds
	}
	if changed("window") {
		body.Window = &o.window
	}
	var err error
	body.RetentionPolicy, err = o.policy(c, before)
	return body, err
}

// policy is nil where nothing was said of it.
func (o *scheduleOptions) policy(c *cobra.Command, before json.RawMessage) (map[string]any, error) {
	policy, said := map[string]any{}, false
	switch {
	case o.retention != "":
		raw, err := readInput(c, o.retention)
		if err != nil {
			return nil, err
		}
		if err := decodeObject(raw, &policy); err != nil {
			return nil, usagef("%s is not a JSON object: %w", o.retention, err)
		}
		said = true
	case before != nil:
		if err := decodeObject(before, &policy); err != nil {
			return nil, usagef("the schedule's retention policy is not a JSON object: %w", err)
		}
	}
	for _, k := range keepFlags() {
		if c.Flags().Changed(k.flag) {
			policy[k.field], said = *o.keep[k.field], true
		}
	}
	if c.Flags().Changed("keep-within") {
		policy["keep_within"], said = o.keepWithin, true
	}
	if !said {
		return nil, nil
	}
	return policy, nil
}

func newScheduleCreateCommand() *cobra.Command {
	var opts scheduleOptions
	c := &cobra.Command{
		Use: "create SOURCE", Short: "Have a source backed up by schedule", Args: cobra.ExactArgs(1),
		Example: `  xvault schedule create web1 --cron "30 2 * * *" --timezone Europe/Berlin --jitter 10m --keep-daily 14 --keep-monthly 12
  xvault schedule create web1 --every 6h --window 20:00-08:00`,
		ValidArgsFunction: opts.completion(sources),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		body, err := opts.build(c, nil)
		if err != nil {
			return err
		}
		if body.SourceID, err = s.resolve(ctx, "source", sources, args[0]); err != nil {
			return err
		}
		if opts.disabled {
			body.Enabled = new(bool)
		}
		item, err := s.Schedules().Create(ctx, body)
		if err != nil {
			return err
		}
		return printItem(s.out, scheduleView, item)
	})
	opts.addFlags(c)
	c.Flags().BoolVar(&opts.disabled, "disabled", false, "make no backups yet")
	return c
}

func newScheduleSetCommand() *cobra.Command {
	var opts scheduleOptions
	c := &cobra.Command{
		Use: "set SCHEDULE", Aliases: []string{"update"}, Short: "Change a schedule", Args: cobra.ExactArgs(1),
		Long: `Changes what is given and leaves the rest. --cron takes the place of --every, and
the other way round; an empty --window lifts it.`,
		Example: `  xvault schedule set 0199a1b2 --cron "0 4 * * *"
  xvault schedule set 0199a1b2 --keep-daily 30`,
		ValidArgsFunction: opts.completion(scheds),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		id, err := s.resolve(ctx, "schedule", scheds, args[0])
		if err != nil {
			return err
		}
		current, err := s.Schedules().Get(ctx, id)
		if err != nil {
			return err
		}
		body, err := opts.build(c, current.Value.RetentionPolicy)
		if err != nil {
			return err
		}
		item, err := s.Schedules().Patch(ctx, id, body)
		if err != nil {
			return err
		}
		return printItem(s.out, scheduleView, item)
	})
	opts.addFlags(c)
	return c
}

func scheduleSwitch(verb, short string, enabled bool) *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: verb + " SCHEDULE", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: opts.completion(scheds),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, "schedule", scheds, args[0])
			if err != nil {
				return err
			}
			item, err := s.Schedules().Patch(ctx, id, scheduleBody{Enabled: &enabled})
			if err != nil {
				return err
			}
			return printItem(s.out, scheduleView, item)
		}),
	}
	opts.addFlags(c)
	return c
}

var slotOutcomes = []string{"job", "missed", "skipped_overlap", "skipped_disabled"}

func newScheduleSlotsCommand() *cobra.Command {
	var opts clientOptions
	var outcome string
	var limit int
	c := &cobra.Command{
		Use: "slots SCHEDULE", Short: "List what became of the times of a schedule, newest first", Args: cobra.ExactArgs(1),
		Long: `Lists what became of each time of a schedule: a job, or why there was none.

  job               a backup was queued
  missed            no hub was up; a later time stands for it
  skipped_overlap   the backup before had not ended
  skipped_disabled  the source was disabled`,
		Example:           `  xvault schedule slots 0199a1b2 --outcome missed`,
		ValidArgsFunction: opts.completion(scheds),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, "schedule", scheds, args[0])
			if err != nil {
				return err
			}
			query := map[string][]string{}
			if outcome != "" {
				query["outcome"] = []string{outcome}
			}
			items, err := s.Slots(id).List(ctx, query, limit)
			if err != nil {
				return err
			}
			return printList(s.out, slotView, items)
		}),
	}
	opts.addFlags(c)
	c.Flags().StringVar(&outcome, "outcome", "", "only those that ended so")
	c.Flags().IntVarP(&limit, "limit", "n", defaultListed, "how many; 0: all")
	mustComplete(c, "outcome", cobra.FixedCompletions(slotOutcomes, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func nextRun(s apiclient.Schedule) string {
	if len(s.NextRuns) == 0 {
		return ""
	}
	return when(s.NextRuns[0])
}

// whenIn shows a time as the schedule's own zone does, and as this machine does
// where it does not know the zone.
func whenIn(t time.Time, timezone string) string {
	zone, err := time.LoadLocation(timezone)
	if err != nil {
		return when(t)
	}
	return t.In(zone).Format("Mon 2006-01-02 15:04:05 MST")
}

func jitterOf(s apiclient.Schedule) string {
	if s.JitterSeconds == 0 {
		return ""
	}
	return "up to " + (time.Duration(s.JitterSeconds) * time.Second).String()
}

// retentionOf shows a policy in one line.
func retentionOf(raw json.RawMessage) string {
	pairs := configFields(raw)
	var parts []string
	for i := 0; i+1 < len(pairs); i += 2 {
		parts = append(parts, pairs[i]+" "+pairs[i+1])
	}
	if len(parts) == 0 {
		return "keep everything"
	}
	return strings.Join(parts, ", ")
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
