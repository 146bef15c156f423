package notify_test

import (
	"slices"
	"testing"
	"time"

	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func wantKinds(t *testing.T, h *hook, want ...string) {
	t.Helper()
	got := h.kinds(t)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("told of %v, want %v", got, want)
	}
}

// What happens to a source: it fails, is suspicious, recovers. Each is told once,
// an ordinary success not at all.
func TestSourceEvents(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h, ops := newHook(t, nil), newHook(t, nil)
	d.channel("webhook", webhookTo(h))
	d.channel("webhook", webhookTo(ops), ofOperator)
	d.notifier()
	d.succeed(1000)
	if n := d.count("SELECT count(*) FROM notification_events"); n != 0 {
		t.Fatalf("an ordinary success is %d events", n)
	}
	d.fail("The password was refused.")
	d.fail("The password was refused.")
	d.succeed(1000) // recovered
	d.succeed(1000)
	d.succeed(10)   // suspicious
	d.succeed(1000) // recovered
	d.settled()
	for _, hook := range []*hook{h, ops} {
		wantKinds(t, hook, "job_failed", "job_failed", "recovered", "snapshot_suspicious", "recovered")
	}
}

// A probe that fails tells nobody; a partial snapshot is a failed job.
func TestFailedJobs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c, f := d.begin(job.Probe)
	d.must(d.db.CompleteJob(t.Context(), f, job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: job.AuthFailed, Message: "no"},
	}))
	// One that is tried again is not for good; losing its last lease is.
	c, f = d.begin(job.Backup)
	d.must(d.db.CompleteJob(t.Context(), f, job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: job.ConnectFailed, Message: "no"},
	}))
	if n := d.count("SELECT count(*) FROM notification_events"); n != 0 {
		t.Fatalf("%d events of what nobody needs to know", n)
	}
	d.exec("UPDATE jobs SET max_attempts = 1, run_after = xvault_now() WHERE id = $1", c.JobID)
	_, err := d.db.ClaimJob(t.Context(), d.worker, job.ClaimRequest{JobID: c.JobID, ClaimID: catalog.NewID()})
	d.must(err)
	d.exec("UPDATE jobs SET lease_expires_at = xvault_now() - interval '1 second' WHERE id = $1", c.JobID)
	_, err = d.db.ReapExpired(t.Context(), 10)
	d.must(err)
	if n := d.count("SELECT count(*) FROM notification_events WHERE kind = 'job_failed' AND job_id = $1", c.JobID); n != 1 {
		t.Errorf("%d events of a lost job", n)
	}
	if n := d.count("SELECT count(*) FROM alerts WHERE kind = 'backup' AND source_id = $1", d.source); n != 1 {
		t.Errorf("%d alerts", n)
	}
}

// Somebody who accepts a suspicious snapshot ends the alert.
func TestAcceptingRecovers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.succeed(1000)
	id := d.succeed(10)
	j, err := d.operator().Job(t.Context(), id)
	d.must(err)
	_, err = d.operator().AcceptSnapshot(t.Context(), *j.SnapshotID)
	d.must(err)
	if n := d.count("SELECT count(*) FROM notification_events WHERE kind = 'recovered'"); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// Slots without a job: one event for all that were missed, one for each backup
// that takes others' time, none for disabled sources. Looking twice tells once.
func TestSlots(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	schedule, last := catalog.NewID(), catalog.NewID()
	d.exec(`INSERT INTO schedules (id, tenant_id, source_id, cron, next_slot, next_due, planned_at, last_job_id)
		VALUES ($1, $2, $3, '@hourly', xvault_now() - interval '3 h', xvault_now() - interval '3 h', xvault_now(), $4)`, schedule, d.tenant, d.source, last)
	at := time.Now().UTC().Truncate(time.Hour)
	slots := []catalog.SlotRecord{
		{Slot: at.Add(-3 * time.Hour), Outcome: "missed"}, {Slot: at.Add(-2 * time.Hour), Outcome: "missed"},
		{Slot: at.Add(-time.Hour), Outcome: "skipped_overlap"}, {Slot: at, Outcome: "skipped_overlap"}, {Slot: at.Add(-4 * time.Hour), Outcome: "skipped_disabled"},
	}
	for range 2 {
		ticked, err := d.db.TickSchedules(t.Context(), 10, func(catalog.DueSchedule, time.Time) catalog.Advance {
			due := time.Now().Add(-time.Minute)
			return catalog.Advance{Slots: slots, NextRun: catalog.NextRun{Slot: &due, Due: &due}}
		})
		d.must(err)
		if ticked.Schedules != 1 {
			t.Fatalf("ticked %+v", ticked)
		}
	}
	for kind, want := range map[string]int{"slot_missed": 1, "slot_skipped": 1} {
		if n := d.count("SELECT count(*) FROM notification_events WHERE kind = $1 AND detail ? 'schedule_id'", kind); n != want {
			t.Errorf("%d events %s, want %d", n, kind, want)
		}
	}
	if n := d.count("SELECT count(*) FROM notification_events"); n != 2 {
		t.Errorf("%d events in all", n)
	}
}

// A worker that comes and goes is told of once, until it has been back for a
// while; likewise a storage at the edge. Tenants learn of neither.
func TestWorkerEpisodes(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h, tenants := newHook(t, nil), newHook(t, nil)
	d.channel("webhook", webhookTo(h), ofOperator)
	d.channel("webhook", webhookTo(tenants))
	d.notifier()
	calm := func() int { return d.count("SELECT count(*) FROM alerts WHERE calm_since IS NOT NULL") }
	for range 3 {
		d.exec("UPDATE workers SET last_seen_at = xvault_now() - interval '1 h', disk_free_bytes = 50000000000")
		// The storage's may come first: it is as full before the worker counts as away. While
		// that is written the worker is passed over.
		d.wait("the worker has no alert", func() bool {
			_, err := d.db.MarkSilentWorkers(t.Context())
			d.must(err)
			return d.count("SELECT count(*) FROM alerts WHERE kind = 'worker_offline' AND calm_since IS NULL") == 1
		})
		d.exec("UPDATE workers SET status = 'online', last_seen_at = xvault_now()")
		d.wait("the storage has no alert", func() bool { return d.count("SELECT count(*) FROM alerts") == 2 })
		d.exec("UPDATE workers SET disk_free_bytes = 400000000000")
		d.wait("not calm", func() bool { return calm() == 2 })
		d.settled()
		wantKinds(t, h, "worker_offline", "storage_nearly_full")
	}
	d.ahead(6 * time.Minute)
	d.exec("UPDATE workers SET last_seen_at = xvault_now()")
	d.wait("not over", func() bool { return d.count("SELECT count(*) FROM alerts") == 0 })
	d.settled()
	wantKinds(t, h, "worker_offline", "storage_nearly_full", "worker_back", "storage_ok")
	if n := len(tenants.seen()); n != 0 {
		t.Errorf("a tenant was told %d times of workers", n)
	}
	// A person who drains a worker knows that it goes.
	_, err := d.operator().SetDrain(t.Context(), "w1", true)
	d.must(err)
	d.exec("UPDATE workers SET last_seen_at = xvault_now() - interval '1 h'")
	d.wait("the worker is not away", func() bool {
		ids, err := d.db.MarkSilentWorkers(t.Context())
		d.must(err)
		return len(ids) == 1
	})
	if n := d.count("SELECT count(*) FROM notification_events WHERE kind = 'worker_offline'"); n != 1 {
		t.Errorf("told %d times", n)
	}
}

// Nothing has succeeded for longer than the objective: told once, and once when
// it is over, whichever way the clock goes meanwhile.
func TestMaxAge(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	h := newHook(t, nil)
	d.channel("webhook", webhookTo(h))
	d.notifier()
	hours := int32(24)
	scope := d.operator()
	_, err := scope.UpdateSource(t.Context(), d.source, catalog.SourceChange{MaxAgeHours: &hours})
	d.must(err)
	looked := func() { // once more, after this moment
		d.t.Helper()
		d.exec("UPDATE sources SET max_age_check = xvault_now() - interval '1 second'")
		d.wait("nobody looks", func() bool { return d.count("SELECT count(*) FROM sources WHERE max_age_check > xvault_now()") == 1 })
	}
	looked()
	d.succeed(1000)
	d.ahead(23 * time.Hour)
	looked()
	wantKinds(t, h)
	d.ahead(25 * time.Hour)
	d.wait("not exceeded", func() bool { return d.count("SELECT count(*) FROM alerts WHERE kind = 'max_age'") == 1 })
	looked()
	d.settled()
	wantKinds(t, h, "max_age_exceeded")
	d.succeed(1000)
	d.settled()
	wantKinds(t, h, "max_age_exceeded", "max_age_ok")
	// A disabled source worries nobody, and begins anew when it is enabled.
	off, on := catalog.SourceDisabled, catalog.SourceActive
	_, err = scope.UpdateSource(t.Context(), d.source, catalog.SourceChange{Status: &off})
	d.must(err)
	d.ahead(90 * time.Hour)
	_, err = scope.UpdateSource(t.Context(), d.source, catalog.SourceChange{Status: &on})
	d.must(err)
	looked()
	d.settled()
	wantKinds(t, h, "max_age_exceeded", "max_age_ok")
	// The clock was far ahead, and is right again.
	d.exec("UPDATE sources SET max_age_check = xvault_now() + interval '1 year'")
	n, err := d.db.ReplanMaxAges(t.Context())
	d.must(err)
	if n != 1 {
		t.Errorf("%d sources were planned anew", n)
	}
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return d.count("SELECT count(*) FROM sources WHERE max_age_check < xvault_now() + interval '25 h'") == 1
	}, "not planned anew")
}
