package scheduler_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/hub/schedule"
	"xvault/hub/scheduler"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// clock is a catalog whose time the test sets, and two hubs that share it.
type clock struct {
	t    testing.TB
	url  string
	raw  *pgxpool.Pool
	hubs []*catalog.DB
}

func newClock(t testing.TB, url string, hubs int) *clock {
	t.Helper()
	raw, err := pgxpool.New(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(raw.Close)
	c := &clock{t: t, url: url, raw: raw}
	for range hubs {
		c.hubs = append(c.hubs, c.open())
	}
	return c
}

func (c *clock) open() *catalog.DB {
	c.t.Helper()
	db, err := catalog.Open(c.t.Context(), catalog.Config{URL: secret.New(c.url), MaxConns: 4})
	c.must(err)
	c.t.Cleanup(db.Close)
	return db
}

func (c *clock) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c *clock) exec(sql string, args ...any) {
	c.t.Helper()
	if _, err := c.raw.Exec(c.t.Context(), sql, args...); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
}

func (c *clock) count(sql string, args ...any) int {
	c.t.Helper()
	var n int
	if err := c.raw.QueryRow(c.t.Context(), sql, args...).Scan(&n); err != nil {
		c.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// set moves the catalog's time.
func (c *clock) set(now time.Time) {
	c.t.Helper()
	c.exec(fmt.Sprintf("CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT '%s'::timestamptz $$",
		now.UTC().Format(time.RFC3339Nano)))
}

// source makes a tenant with one source.
func (c *clock) source() (tenant, source uuid.UUID) {
	c.t.Helper()
	tenant, source = catalog.NewID(), catalog.NewID()
	c.exec("INSERT INTO tenants (id, name) VALUES ($1, 't')", tenant)
	c.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 's', '{}')", source, tenant)
	return tenant, source
}

// schedule makes one, planned as the API does.
func (c *clock) schedule(spec catalog.ScheduleSpec) catalog.Schedule {
	c.t.Helper()
	_, source := c.source()
	now, err := c.hubs[0].Now(c.t.Context())
	c.must(err)
	n := catalog.NewSchedule{ID: catalog.NewID(), SourceID: source, ScheduleSpec: spec, Anchor: now.Truncate(time.Second)}
	n.Enabled, n.RetentionPolicy = true, []byte("{}")
	if n.Timezone == "" {
		n.Timezone = "UTC"
	}
	stored := catalog.Schedule{ScheduleSpec: n.ScheduleSpec, Anchor: n.Anchor}
	parsed, faults := schedule.Parse(scheduler.Spec(stored))
	if len(faults) > 0 {
		c.t.Fatal(faults)
	}
	step := parsed.Plan(n.ID, now)
	n.NextRun = catalog.NextRun{Slot: &step.Next, Due: &step.Due}
	made, err := c.hubs[0].Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "operator"}).CreateSchedule(c.t.Context(), n)
	c.must(err)
	return made
}

// pass has one hub look once.
func (c *clock) pass(hub int) {
	c.t.Helper()
	c.must(c.try(c.t.Context(), c.hubs[hub], 10))
}

func (c *clock) try(ctx context.Context, db *catalog.DB, batch int) error {
	s, err := scheduler.New(scheduler.Config{DB: db, Log: slog.New(slog.DiscardHandler), Batch: batch})
	c.must(err)
	return s.Pass(ctx)
}

// finish ends all jobs.
func (c *clock) finish() {
	c.t.Helper()
	c.exec("UPDATE jobs SET status = 'canceled', finished_at = xvault_now() WHERE status = 'queued'")
}

// slot is what a test looks at in an entry.
type slot struct {
	at, through time.Time
	outcome     string
	job         uuid.UUID
}

// slots are a schedule's entries, the earliest first.
func (c *clock) slots(id uuid.UUID) []slot {
	c.t.Helper()
	rows, err := c.raw.Query(c.t.Context(), `SELECT slot, coalesce(through, slot), outcome, coalesce(job_id, '00000000-0000-0000-0000-000000000000')
		FROM schedule_slots WHERE schedule_id = $1 ORDER BY slot`, id)
	c.must(err)
	defer rows.Close()
	var out []slot
	for rows.Next() {
		var s slot
		c.must(rows.Scan(&s.at, &s.through, &s.outcome, &s.job))
		out = append(out, s)
	}
	c.must(rows.Err())
	return out
}

func at(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t
}
