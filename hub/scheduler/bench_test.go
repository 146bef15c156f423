package scheduler_test

import (
	"log/slog"
	"syscall"
	"testing"
	"time"

	"xvault/hub/scheduler"
	"xvault/internal/testenv"
)

// crowd is a catalog with fsync on and this many schedules, of 1,000 tenants with
// many sources each, none of them due.
func crowd(b *testing.B, schedules int) *clock {
	b.Helper()
	pg := testenv.NewPostgres(b, testenv.PostgresOptions{Durable: true})
	c := newClock(b, pg.Catalog("bench"), 1)
	c.set(at("2026-06-01T00:00:00Z"))
	c.exec(`INSERT INTO tenants (id, name) SELECT ('01900000-0000-7000-a000-' || lpad(to_hex(g), 12, '0'))::uuid, 't' FROM generate_series(0, 999) g`)
	c.exec(`INSERT INTO sources (id, tenant_id, type, name, config)
		SELECT ('01900000-0000-7000-b000-' || lpad(to_hex(g), 12, '0'))::uuid,
		       ('01900000-0000-7000-a000-' || lpad(to_hex(g % 1000), 12, '0'))::uuid, 'sftp', 's', '{"host":"h"}' FROM generate_series(1, $1::integer) g`, schedules)
	// Spread over ten hours in six zones.
	c.exec(`INSERT INTO schedules (id, tenant_id, source_id, cron, timezone, jitter_seconds)
		SELECT id, tenant_id, id, (g % 60) || ' ' || (10 + g % 10) || ' * * *',
		       (ARRAY['Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe', 'America/Sao_Paulo', 'Africa/Cairo', 'Asia/Kolkata'])[1 + g % 6], 300
		FROM (SELECT s.*, row_number() OVER (ORDER BY id) AS g FROM sources s) x`)
	c.exec("VACUUM ANALYZE")
	return c
}

func (c *clock) scheduler() *scheduler.Scheduler {
	c.t.Helper()
	s, err := scheduler.New(scheduler.Config{DB: c.hubs[0], Log: slog.New(slog.DiscardHandler)})
	c.must(err)
	return s
}

// used is the processor's time that this process took; Postgres's comes on top.
func used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkIdleTick looks at 100,000 schedules of which none is due.
func BenchmarkIdleTick(b *testing.B) {
	c := crowd(b, 100_000)
	s := c.scheduler()
	c.must(s.Pass(b.Context())) // plans them all
	before := used()
	for b.Loop() {
		c.must(s.Pass(b.Context()))
	}
	b.ReportMetric(float64((used()-before).Microseconds())/1000/float64(b.N), "hub-cpu-ms/op")
	if n := c.count("SELECT count(*) FROM jobs"); n != 0 {
		b.Errorf("%d jobs", n)
	}
}

// BenchmarkDueSlots enqueues the slots of 20,000 schedules that are due at once,
// with fsync on.
func BenchmarkDueSlots(b *testing.B) {
	const schedules = 20_000
	c := crowd(b, schedules)
	s := c.scheduler()
	c.must(s.Pass(b.Context()))
	var took time.Duration
	day := 0
	for b.Loop() {
		c.exec("UPDATE schedules SET last_job_id = NULL")
		c.exec("VACUUM ANALYZE")
		day++
		c.set(at("2026-06-01T23:59:59Z").AddDate(0, 0, day))
		c.exec("UPDATE schedules SET next_due = xvault_now()")
		begin := time.Now()
		c.must(s.Pass(b.Context()))
		took += time.Since(begin)
	}
	b.ReportMetric(float64(schedules*b.N)/took.Seconds(), "slots/s")
	if n := c.count("SELECT count(*) FROM jobs"); n != schedules*b.N {
		b.Errorf("%d jobs in %d rounds", n, b.N)
	}
}
