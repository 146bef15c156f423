-- name: LockSourceForRetention :one
-- Of two runs on one source the second waits. New jobs and snapshots of the
-- source are not held up.
SELECT id, tenant_id FROM sources WHERE id = $1 FOR NO KEY UPDATE;

-- name: RetentionRules :many
SELECT s.retention_policy, s.timezone FROM schedules s
WHERE s.tenant_id = $1 AND s.source_id = $2
ORDER BY s.created_at, s.id;

-- name: LockRetainedSnapshots :exec
-- What the decision rests on stands still while it is carried out.
SELECT 1 FROM snapshots WHERE tenant_id = $1 AND source_id = $2 AND status <> 'deleted' ORDER BY id FOR UPDATE;

-- name: RetainedSnapshots :many
-- All that retention has a say in: what is there, and what it marked before and
-- nobody has begun to delete. in_use: a restore or a verify waits or runs.
SELECT s.id, s.started_at, s.size_bytes, s.hold, (s.missing_since IS NOT NULL)::boolean AS missing,
       (CASE WHEN s.status = 'deleting' THEN coalesce(s.deleting_from, 'suspicious') ELSE s.status END)::text AS status,
       (s.status = 'deleting')::boolean AS marked,
       EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot_id = s.id AND j.type IN ('restore', 'verify') AND j.type <> 'backup'
               AND j.status IN ('queued', 'running', 'finalizing')) AS in_use
FROM snapshots s
WHERE s.tenant_id = $1 AND s.source_id = $2
  AND (s.status NOT IN ('deleting', 'deleted')
       OR s.status = 'deleting' AND s.delete_cause = 'retention'
          AND NOT EXISTS (SELECT 1 FROM jobs d WHERE d.snapshot_id = s.id AND d.type = 'delete_snapshot' AND d.type <> 'backup' AND d.attempt > 0))
ORDER BY s.started_at DESC, s.id DESC;

-- name: RetireSnapshots :many
UPDATE snapshots
SET deleting_from = status, status = 'deleting', delete_cause = 'retention',
    delete_after = xvault_now() + make_interval(secs => sqlc.arg(grace_seconds)::float8), updated_at = xvault_now()
WHERE id = ANY(sqlc.arg(ids)::uuid[]) AND tenant_id = sqlc.arg(tenant_id) AND source_id = sqlc.arg(source_id)
  AND status IN ('completed', 'partial', 'failed') AND NOT hold
RETURNING id;

-- name: SetRetained :exec
UPDATE sources SET retained_at = xvault_now() WHERE id = $1;

-- name: SourcesToRetain :many
-- Sources with a policy about which something changed since retention looked at
-- them last, and once a day every one: keep_within follows the newest snapshot,
-- and what is dated ahead comes due.
SELECT s.id FROM sources s
WHERE s.id > sqlc.arg(after)
  AND (EXISTS (SELECT 1 FROM schedules c WHERE c.tenant_id = s.tenant_id AND c.source_id = s.id AND c.retention_policy <> '{}')
       OR EXISTS (SELECT 1 FROM snapshots d WHERE d.tenant_id = s.tenant_id AND d.source_id = s.id
                  AND d.status = 'deleting' AND d.delete_cause = 'retention'))
  AND (s.retained_at IS NULL OR s.retained_at < xvault_now() - interval '1 day'
       OR EXISTS (SELECT 1 FROM schedules c WHERE c.tenant_id = s.tenant_id AND c.source_id = s.id AND c.updated_at > s.retained_at)
       OR EXISTS (SELECT 1 FROM snapshots n WHERE n.tenant_id = s.tenant_id AND n.source_id = s.id AND n.updated_at > s.retained_at))
ORDER BY s.id LIMIT sqlc.arg(max_rows);

-- name: SourcesWithDueDeletions :many
-- Of what retention marked: the grace is over, and no job deletes it yet.
SELECT DISTINCT s.source_id FROM snapshots s
WHERE s.status = 'deleting' AND s.delete_cause = 'retention' AND s.delete_after <= xvault_now()
  AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot_id = s.id AND j.type = 'delete_snapshot' AND j.type <> 'backup'
                  AND (j.status IN ('queued', 'running', 'finalizing') OR j.finished_at > xvault_now() - interval '1 hour'))
LIMIT sqlc.arg(max_rows);

-- name: AcceptSnapshot :one
UPDATE snapshots SET status = 'completed', accepted_at = xvault_now(), drill_from = NULL, updated_at = xvault_now()
WHERE id = $1 AND status = 'suspicious'
RETURNING *;
