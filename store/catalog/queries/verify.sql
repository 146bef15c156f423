-- name: WorkerWithSnapshot :one
-- Who has the snapshot's files: the worker that made them or, where that one
-- was removed, the one that now works on the same storage.
SELECT o.id FROM snapshots s JOIN workers o ON o.id = s.worker_id OR o.storage_id = s.storage_id
WHERE s.id = $1 AND s.storage_backend = 'local_fs'
ORDER BY o.id = s.worker_id DESC, o.last_seen_at DESC LIMIT 1;

-- name: EndVerify :exec
-- A verification that passed. The caller has locked the attempt.
UPDATE jobs
SET status = 'completed', attempt_outcome = 'completed', lease_expires_at = NULL, result = sqlc.narg(result),
    error_code = NULL, error_message = NULL, finished_at = xvault_now(), updated_at = xvault_now()
WHERE id = sqlc.arg(job_id) AND lease_expires_at IS NOT NULL;

-- name: WorkerHasStorageOf :one
-- Whether the worker's storage is there and is the one that the snapshot is on.
SELECT EXISTS (SELECT 1 FROM snapshots s JOIN workers w ON w.id = sqlc.arg(worker_id)
               WHERE s.id = sqlc.arg(snapshot_id) AND w.storage_state = 'ok'
                 AND (s.storage_id IS NULL OR s.storage_id = w.storage_id));

-- name: SetVerdict :one
-- The caller has locked the row and decided what it is now.
UPDATE snapshots
SET status = sqlc.arg(status), deleting_from = sqlc.narg(deleting_from), corrupt_from = sqlc.narg(corrupt_from),
    drill_from = sqlc.narg(drill_from), suspicion = sqlc.arg(suspicion),
    verified_at = xvault_now(), verify_result = sqlc.arg(verify_result)::jsonb,
    fully_verified_at = CASE WHEN sqlc.arg(full_pass)::boolean THEN xvault_now() ELSE fully_verified_at END,
    drilled_at = CASE WHEN sqlc.arg(drill_pass)::boolean THEN xvault_now() ELSE drilled_at END,
    missing_since = CASE WHEN sqlc.arg(passed)::boolean THEN NULL ELSE missing_since END, updated_at = xvault_now()
WHERE id = sqlc.arg(id) AND status <> 'deleted'
RETURNING *;

-- name: InsertBackupOnce :one
-- A backup of an active source, unless one waits or runs. The caller has locked
-- the source, so that of two only one is made.
INSERT INTO jobs (id, tenant_id, source_id, type, priority, max_attempts)
SELECT sqlc.arg(job_id)::uuid, s.tenant_id, s.id, 'backup', sqlc.arg(priority)::smallint, sqlc.arg(max_attempts)::integer
FROM sources s
WHERE s.id = sqlc.arg(source_id)::uuid AND s.status = 'active'
  AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.tenant_id = s.tenant_id AND j.source_id = s.id AND j.type = 'backup'
                  AND j.status IN ('queued', 'running', 'finalizing') AND NOT j.cancel_requested)
RETURNING id;

-- name: TakeSourcesToVerify :many
-- sources_to_verify serves it. Locked against other hubs; a source that is being
-- changed is left for the next time.
SELECT s.id FROM sources s
WHERE least(s.verify_due, s.reverify_due) <= xvault_now()
ORDER BY least(s.verify_due, s.reverify_due) LIMIT sqlc.arg(max_rows)
FOR NO KEY UPDATE OF s SKIP LOCKED;

-- name: QueueVerifications :one
-- For each of these sources, which the caller has locked, at most one job: for
-- its newest good snapshot or, where that is not due, for the good one that was
-- verified longest ago, if that is too long ago. What was asked for within a day
-- and came to no verdict is not asked for again. Then the times at which to look
-- next: what could not be done is looked at again within hours, and old
-- snapshots are verified one an hour. A snapshot was read when it was made.
WITH looked AS MATERIALIZED (
    SELECT s.id, s.tenant_id, s.verify_kind, s.verify_due, s.reverify_due, s.verify_every_hours, s.reverify_after_hours,
           coalesce(s.verify_due <= xvault_now(), false) AS due, coalesce(s.reverify_due <= xvault_now(), false) AS again_due,
           EXISTS (SELECT 1 FROM jobs j WHERE j.source_id = s.id AND j.type = 'verify'
                   AND j.status IN ('queued', 'running', 'finalizing')) AS busy
    FROM sources s WHERE s.id = ANY(sqlc.arg(source_ids)::uuid[])
), picked AS MATERIALIZED (
    SELECT l.*, coalesce(newest.id, oldest.id) AS snapshot_id, newest.id IS NOT NULL AS is_newest
    FROM looked l
    LEFT JOIN LATERAL (
        SELECT x.id FROM snapshots x
        WHERE x.tenant_id = l.tenant_id AND x.source_id = l.id AND x.status = 'completed' AND x.missing_since IS NULL
        ORDER BY x.id DESC LIMIT 1) newest ON l.due AND NOT l.busy
    LEFT JOIN LATERAL (
        SELECT x.id FROM (
            SELECT y.id, y.verify_asked_at,
                   greatest(y.finished_at, CASE l.verify_kind WHEN 'drill' THEN y.drilled_at WHEN 'full' THEN y.fully_verified_at ELSE y.verified_at END) AS verified
            FROM snapshots y
            WHERE y.tenant_id = l.tenant_id AND y.source_id = l.id AND y.status = 'completed' AND y.missing_since IS NULL) x
        WHERE x.verified < xvault_now() - make_interval(hours => l.reverify_after_hours)
          AND (x.verify_asked_at IS NULL OR x.verify_asked_at < xvault_now() - interval '1 day')
        ORDER BY x.verified, x.id LIMIT 1) oldest ON l.again_due AND NOT l.busy AND newest.id IS NULL
), locked AS MATERIALIZED (
    -- Of marking it as deleting and asking for a job that reads it one comes first.
    SELECT p.id AS source_id, p.tenant_id, p.verify_kind, s.id AS snapshot_id, s.storage_id, s.worker_id
    FROM picked p JOIN snapshots s ON s.id = p.snapshot_id
    WHERE s.status = 'completed' AND s.storage_backend = 'local_fs'
    FOR SHARE OF s SKIP LOCKED
), chosen AS MATERIALIZED (
    SELECT l.*, w.id AS reader, (sqlc.arg(job_ids)::uuid[])[row_number() OVER (ORDER BY l.source_id)] AS job_id
    FROM locked l JOIN LATERAL (
        SELECT o.id FROM workers o WHERE o.id = l.worker_id OR o.storage_id = l.storage_id
        ORDER BY o.id = l.worker_id DESC, o.last_seen_at DESC LIMIT 1) w ON true
), made AS (
    INSERT INTO jobs (id, tenant_id, source_id, type, priority, target_worker_id, snapshot_id, payload, max_attempts)
    SELECT c.job_id, c.tenant_id, c.source_id, 'verify', sqlc.arg(priority)::smallint, c.reader, c.snapshot_id,
           jsonb_strip_nulls(jsonb_build_object('kind', c.verify_kind, 'storage_id', c.storage_id)), sqlc.arg(max_attempts)::integer
    FROM chosen c
    RETURNING snapshot_id
), asked AS (
    UPDATE snapshots s SET verify_asked_at = xvault_now() FROM made m WHERE s.id = m.snapshot_id
), advanced AS (
    UPDATE sources s
    SET verify_due = CASE
            WHEN NOT p.due THEN s.verify_due
            WHEN p.is_newest AND m.snapshot_id IS NOT NULL THEN
                CASE WHEN p.verify_due + make_interval(hours => p.verify_every_hours) > xvault_now()
                     THEN p.verify_due + make_interval(hours => p.verify_every_hours)
                     ELSE xvault_now() + make_interval(hours => p.verify_every_hours) END
            ELSE xvault_now() + least(interval '3 hours', make_interval(hours => p.verify_every_hours)) * (0.5 + 0.5 * random()) END,
        reverify_due = CASE
            WHEN NOT p.again_due THEN s.reverify_due
            WHEN p.busy OR p.snapshot_id IS NOT NULL THEN xvault_now() + interval '1 hour'
            ELSE xvault_now() + least(interval '1 day', make_interval(hours => p.reverify_after_hours)) * (0.5 + 0.5 * random()) END
    FROM picked p LEFT JOIN made m ON m.snapshot_id = p.snapshot_id
    WHERE s.id = p.id
)
SELECT count(*) FROM made;

-- name: PullBackVerifications :execrows
-- A time further ahead than its rhythm was set by a clock that went back since.
-- Its steps aside are at most a day.
UPDATE sources
SET verify_due = CASE WHEN verify_due > xvault_now() + make_interval(hours => verify_every_hours) + interval '1 day'
                      THEN xvault_now() + random() * make_interval(hours => verify_every_hours) ELSE verify_due END,
    reverify_due = CASE WHEN reverify_due > xvault_now() + interval '2 days'
                        THEN xvault_now() + random() * interval '1 day' ELSE reverify_due END
WHERE verify_due > xvault_now() + make_interval(hours => verify_every_hours) + interval '1 day'
   OR reverify_due > xvault_now() + interval '2 days';
