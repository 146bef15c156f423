package scheduler_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/hub/scheduler"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// rhythmic is a source with a rhythm, due now.
func (c *clock) rhythmic(every, again int) (tenant, source uuid.UUID) {
	c.t.Helper()
	tenant, source = c.source()
	if every > 0 {
		c.exec("UPDATE sources SET verify_every_hours = $2, verify_due = xvault_now() WHERE id = $1", source, every)
	}
	if again > 0 {
		c.exec("UPDATE sources SET reverify_after_hours = $2, reverify_due = xvault_now() WHERE id = $1", source, again)
	}
	return tenant, source
}

// stored makes a good snapshot that is so old.
func (c *clock) stored(tenant, source uuid.UUID, old time.Duration) uuid.UUID {
	c.t.Helper()
	id, jobID, key := catalog.NewID(), catalog.NewID(), catalog.NewID()
	c.exec("INSERT INTO encryption_keys (key_id, kind, canary) VALUES ('k', 'raw', 'x') ON CONFLICT DO NOTHING")
	c.exec(`INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
		VALUES ($1, $2, 'age-x25519', 'age1x', 'x', 'k', 'rotated')`, key, tenant)
	c.exec(`INSERT INTO workers (id, status, age_recipient, token_hash) VALUES ('w1', 'online', 'age1w', 'x') ON CONFLICT DO NOTHING`)
	c.exec(`INSERT INTO jobs (id, tenant_id, source_id, type, status, finished_at) VALUES ($1, $2, $3, 'backup', 'completed', xvault_now())`, jobID, tenant, source)
	c.exec(`INSERT INTO snapshots (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms,
			manifest_json, artifact_sha256, encryption_algorithm, encryption_key_id, encryption_recipient, storage_backend, worker_id, local_path)
		VALUES ($1, $2, $3, $4, 'completed', 7, xvault_now() - make_interval(secs => $6), xvault_now() - make_interval(secs => $6), 3, '{}', repeat('ab', 32),
			'age-x25519', $5, 'age1x', 'local_fs', 'w1', '/srv/x')`, id, tenant, source, jobID, key, old.Seconds())
	return id
}

func (c *clock) verify(hub int) {
	c.t.Helper()
	s, err := scheduler.New(scheduler.Config{DB: c.hubs[hub], Log: slog.New(slog.DiscardHandler)})
	c.must(err)
	c.must(s.Verify(c.t.Context()))
}

// verifying lists the snapshots for which verifications were queued, in order,
// and ends these as passed.
func (c *clock) verifying() []uuid.UUID {
	c.t.Helper()
	rows, err := c.raw.Query(c.t.Context(), `UPDATE jobs SET status = 'completed', finished_at = xvault_now()
		WHERE type = 'verify' AND status = 'queued' RETURNING snapshot_id`)
	c.must(err)
	defer rows.Close()
	var ids []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		c.must(rows.Scan(&id))
		ids = append(ids, id)
	}
	c.must(rows.Err())
	for _, id := range ids {
		c.exec("UPDATE snapshots SET verified_at = xvault_now() WHERE id = $1", id)
	}
	return ids
}

func (c *clock) wantVerifying(when string, want ...uuid.UUID) {
	c.t.Helper()
	got := c.verifying()
	if len(got) != len(want) || len(got) > 0 && got[0] != want[0] {
		c.t.Errorf("%s: %v, want %v", when, got, want)
	}
}

// TestNewestIsVerified in its rhythm, once a time, whatever was missed meanwhile.
func TestNewestIsVerified(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 2)
	begin := at("2026-03-01T00:00:00Z")
	c.set(begin)
	tenant, source := c.rhythmic(24, 0)
	c.verify(0)
	c.wantVerifying("without a snapshot")
	c.set(begin.Add(3 * time.Hour))
	c.stored(tenant, source, time.Hour)
	newest := c.stored(tenant, source, 0)
	suspicious := c.stored(tenant, source, 0)
	c.exec("UPDATE snapshots SET status = 'suspicious' WHERE id = $1", suspicious)
	c.verify(0)
	c.verify(1)
	c.wantVerifying("the first time", newest)
	c.verify(1)
	c.wantVerifying("at once again")
	c.set(begin.Add(10 * 24 * time.Hour)) // nobody looked for days
	c.exec("INSERT INTO jobs (id, tenant_id, source_id, type) VALUES ($1, $2, $3, 'verify')", catalog.NewID(), tenant, source)
	c.verify(0)
	if n := c.count("SELECT count(*) FROM jobs WHERE type = 'verify' AND status = 'queued'"); n != 1 {
		t.Errorf("%d at once of one source", n)
	}
	c.exec("DELETE FROM jobs WHERE type = 'verify' AND status = 'queued'")
	c.set(begin.Add(10*24*time.Hour + 3*time.Hour))
	c.verify(0)
	c.wantVerifying("late", newest)
	c.verify(0)
	c.wantVerifying("missed ones do not pile up")
	c.exec("UPDATE sources SET status = 'disabled'")
	c.set(begin.Add(12 * 24 * time.Hour))
	c.verify(0)
	c.wantVerifying("of a disabled source", newest)
	if n := c.count("SELECT count(*) FROM jobs WHERE type = 'verify' AND (target_worker_id <> 'w1' OR priority <> 0 OR payload ->> 'kind' <> 'quick')"); n != 0 {
		t.Errorf("%d jobs are not as they should be", n)
	}
}

// TestOldOnesAreVerifiedAgain: the one that was not for the longest time first, an
// hour apart, and none twice within the time.
func TestOldOnesAreVerifiedAgain(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 1)
	now := at("2026-03-01T00:00:00Z")
	c.set(now)
	tenant, source := c.rhythmic(0, 30*24)
	older, oldest := c.stored(tenant, source, 40*24*time.Hour), c.stored(tenant, source, 50*24*time.Hour)
	c.stored(tenant, source, 20*24*time.Hour)
	lost := c.stored(tenant, source, 60*24*time.Hour)
	c.exec("UPDATE snapshots SET missing_since = xvault_now() WHERE id = $1", lost)
	c.verify(0)
	c.verify(0)
	c.wantVerifying("first", oldest)
	for _, want := range [][]uuid.UUID{{older}, nil} {
		now = now.Add(61 * time.Minute)
		c.set(now)
		c.verify(0)
		c.wantVerifying("an hour later", want...)
	}
	// One that comes to no verdict does not keep the others from their turn.
	c.exec("UPDATE snapshots SET verified_at = NULL WHERE id = $1", oldest)
	c.exec("UPDATE snapshots SET verified_at = xvault_now() - interval '31 days' WHERE id = $1", older)
	c.set(now.Add(25 * time.Hour))
	for _, want := range []uuid.UUID{oldest, older} {
		c.exec("UPDATE sources SET reverify_due = xvault_now()")
		c.verify(0)
		c.wantVerifying("turns", want)
		c.exec("UPDATE snapshots SET verified_at = NULL WHERE id = $1", oldest)
	}
	// A full rhythm is not content with quick ones.
	c.exec("UPDATE sources SET verify_kind = 'full', reverify_due = xvault_now()")
	c.exec("UPDATE snapshots SET verified_at = xvault_now(), fully_verified_at = xvault_now() WHERE id <> $1", older)
	c.exec("UPDATE snapshots SET verify_asked_at = NULL")
	c.verify(0)
	c.wantVerifying("full", older)
}

// TestTwoHubsVerifyOnce: however many look at once, a time of a source yields one
// job.
func TestTwoHubsVerifyOnce(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 2)
	c.set(at("2026-03-01T00:00:00Z"))
	for range 25 {
		tenant, source := c.rhythmic(24, 24)
		c.stored(tenant, source, 50*time.Hour)
	}
	var wg sync.WaitGroup
	for _, db := range c.hubs {
		for range 3 {
			wg.Go(func() {
				for range 5 {
					if _, _, err := db.TickVerifications(context.Background(), 7); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	if n := c.count("SELECT count(*) FROM jobs WHERE type = 'verify'"); n != 25 {
		t.Errorf("%d jobs of 25 sources", n)
	}
}

// TestRewoundClock: a time that a wrong clock set far ahead comes back.
func TestRewoundClock(t *testing.T) {
	t.Parallel()
	c := newClock(t, testenv.Catalog(t), 1)
	now := at("2026-03-01T00:00:00Z")
	c.set(now)
	c.rhythmic(24, 24)
	c.rhythmic(24, 0)
	c.source()
	c.exec("UPDATE sources SET verify_due = verify_due + interval '1 year' WHERE verify_due IS NOT NULL")
	n, err := c.hubs[0].PullBack(t.Context())
	c.must(err)
	if again, err := c.hubs[0].PullBack(t.Context()); n != 2 || again != 0 || err != nil {
		t.Errorf("%d and %d, %v", n, again, err)
	}
	if n := c.count("SELECT count(*) FROM sources WHERE verify_due <= xvault_now() + interval '1 day' AND (reverify_due IS NULL OR reverify_due <= xvault_now())"); n != 2 {
		t.Errorf("%d are as they should be", n)
	}
}

// BenchmarkIdleVerify looks at 100,000 sources with a rhythm of which none is due.
func BenchmarkIdleVerify(b *testing.B) {
	c := crowd(b, 100_000)
	c.exec("UPDATE sources SET verify_every_hours = 168, verify_due = xvault_now() + random() * interval '7 days' + interval '1 hour', reverify_after_hours = 2160, reverify_due = xvault_now() + interval '2 hours'")
	c.exec("VACUUM ANALYZE")
	s := c.scheduler()
	before := used()
	for b.Loop() {
		c.must(s.Verify(b.Context()))
	}
	b.ReportMetric(float64((used()-before).Microseconds())/1000/float64(b.N), "hub-cpu-ms/op")
}
