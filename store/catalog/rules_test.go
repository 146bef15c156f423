package catalog_test

import (
	"errors"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/internal/job"
)

// TestRowsFit has the catalog itself refuse rows that cannot be, whatever the
// code above it does.
func TestRowsFit(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
	running, _ := l.running()
	queued := l.post(ofKind(job.Probe))
	refused := func(sql string, args ...any) {
		t.Helper()
		_, err := l.raw.Exec(t.Context(), sql, args...)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "23514" && pg.Code != "23502" {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, set := range []string{
		"type = 'other'", "status = 'other'", "status = NULL", "priority = 10", "priority = -1", "payload = '[]'", "attempt = -1",
		"failures = -1", "max_attempts = 0", "attempt_outcome = 'other'", "status = 'running'", "status = 'completed'",
		"lease_expires_at = xvault_now()", "finished_at = xvault_now()", "error_message = repeat('x', 4001)",
	} {
		refused("UPDATE jobs SET "+set+" WHERE id = $1", queued.ID)
	}
	for _, set := range []string{
		"worker_id = NULL", "worker_incarnation = NULL", "claim_id = NULL", "started_at = NULL", "attempt_outcome = 'lost'",
		"lease_expires_at = NULL", "status = 'queued'", "status = 'finalizing', cancel_requested = true", "finished_at = xvault_now()",
	} {
		refused("UPDATE jobs SET "+set+" WHERE id = $1", running.JobID)
	}
	for _, set := range []string{
		"status = 'other'", "size_bytes = -1", "duration_ms = -1", "manifest_json = '1'", "artifact_sha256 = repeat('A', 64)",
		"artifact_sha256 = repeat('a', 64) || E'\\n'", "encryption_algorithm = 'none'", "encryption_recipient = 'x'",
		"storage_backend = 'other'", "storage_backend = 's3'", "worker_id = NULL", "local_path = 'relative'", "note = repeat('x', 2001)",
		"suspicion = repeat('x', 1001)", "deleting_from = 'deleted'", "delete_cause = 'other'",
	} {
		refused("UPDATE snapshots SET "+set+" WHERE id = $1", c.SnapshotID)
	}
	refused("INSERT INTO jobs (id, tenant_id, source_id, type) SELECT gen_random_uuid(), tenant_id, source_id, 'other' FROM jobs LIMIT 1")
	l.exec("UPDATE jobs SET error_message = repeat('x', 4000), attempt_outcome = 'released' WHERE id = $1", queued.ID)
	l.exec("UPDATE snapshots SET storage_backend = 's3', bucket = 'b', object_key = 'k' WHERE id = $1", c.SnapshotID)
}
