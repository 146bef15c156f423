-- name: InsertSchedule :one
-- No row comes back for a source that is outside the scope.
INSERT INTO schedules (id, tenant_id, source_id, cron, interval_minutes, timezone, enabled, jitter_seconds, run_window,
                       retention_policy, anchor, next_slot, next_due, planned_at)
SELECT sqlc.arg(id), s.tenant_id, s.id, sqlc.narg(cron), sqlc.narg(interval_minutes), sqlc.arg(timezone), sqlc.arg(enabled),
       sqlc.arg(jitter_seconds), sqlc.narg(run_window), sqlc.arg(retention_policy), sqlc.arg(anchor), sqlc.narg(next_slot),
       sqlc.narg(next_due), xvault_now()
FROM sources s
WHERE s.id = sqlc.arg(source_id) AND (sqlc.narg(tenant_id)::uuid IS NULL OR s.tenant_id = sqlc.narg(tenant_id))
RETURNING *;

-- name: ScheduleByID :one
SELECT * FROM schedules
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id));

-- name: LockSchedule :one
SELECT sqlc.embed(s), xvault_now()::timestamptz AS now FROM schedules s
WHERE s.id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR s.tenant_id = sqlc.narg(tenant_id))
FOR UPDATE;

-- name: UpdateSchedule :one
UPDATE schedules
SET cron = sqlc.narg(cron), interval_minutes = sqlc.narg(interval_minutes), timezone = sqlc.arg(timezone),
    enabled = sqlc.arg(enabled), jitter_seconds = sqlc.arg(jitter_seconds), run_window = sqlc.narg(run_window),
    retention_policy = sqlc.arg(retention_policy), anchor = sqlc.arg(anchor), next_slot = sqlc.narg(next_slot),
    next_due = sqlc.narg(next_due), planned_at = xvault_now(), updated_at = xvault_now()
WHERE id = sqlc.arg(id)
RETURNING *;

-- name: DeleteSchedule :one
DELETE FROM schedules
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
RETURNING *;

-- name: TakeDueSchedules :many
-- What is due, the longest due first, locked against other hubs. A source that
-- is being changed or deleted is left for the next time: waiting for it could
-- end in a deadlock.
SELECT sqlc.embed(s), (c.status = 'active')::boolean AS source_active, xvault_now()::timestamptz AS now,
       EXISTS (SELECT 1 FROM jobs j WHERE j.id = s.last_job_id AND j.status IN ('queued', 'running', 'finalizing')) AS running
FROM schedules s JOIN sources c ON c.id = s.source_id
WHERE s.enabled AND s.next_due <= xvault_now()
ORDER BY s.next_due LIMIT sqlc.arg(max_rows)
FOR UPDATE OF s SKIP LOCKED
FOR KEY SHARE OF c SKIP LOCKED;

-- name: TakeUnplannedSchedules :many
-- What was never planned, or planned at a time that is yet to come: the clock
-- went back. The margin is for servers that replace each other.
SELECT sqlc.embed(s), xvault_now()::timestamptz AS now FROM schedules s
WHERE s.enabled AND s.planned_at > xvault_now() + interval '1 minute'
ORDER BY s.planned_at LIMIT sqlc.arg(max_rows)
FOR UPDATE OF s SKIP LOCKED;

-- name: ForgetFutureSlots :exec
-- Slots that were recorded without a job while the clock was ahead have not
-- been yet.
WITH cut AS (
    UPDATE schedule_slots SET through = xvault_now()
    WHERE schedule_id = ANY (sqlc.arg(schedule_ids)::uuid[]) AND through > xvault_now() AND slot < xvault_now()
)
DELETE FROM schedule_slots
WHERE schedule_id = ANY (sqlc.arg(schedule_ids)::uuid[]) AND slot > xvault_now() AND outcome <> 'job';

-- name: RecordSlots :one
-- The slots, their jobs and the schedules' next slots. A slot that is there
-- already yields nothing more. Zero ids and times (year 1) stand for NULL.
WITH given AS (
    SELECT unnest(sqlc.arg(ids)::uuid[]) AS id, unnest(sqlc.arg(schedule_ids)::uuid[]) AS schedule_id,
           unnest(sqlc.arg(slots)::timestamptz[]) AS slot, unnest(sqlc.arg(throughs)::timestamptz[]) AS through,
           unnest(sqlc.arg(outcomes)::text[]) AS outcome, unnest(sqlc.arg(job_ids)::uuid[]) AS job_id,
           unnest(sqlc.arg(run_afters)::timestamptz[]) AS run_after
), planned AS (
    SELECT unnest(sqlc.arg(planned_ids)::uuid[]) AS id, unnest(sqlc.arg(next_slots)::timestamptz[]) AS next_slot,
           unnest(sqlc.arg(next_dues)::timestamptz[]) AS next_due
), recorded AS (
    INSERT INTO schedule_slots (id, tenant_id, schedule_id, slot, through, outcome, job_id)
    SELECT g.id, s.tenant_id, g.schedule_id, g.slot, nullif(g.through, '0001-01-01 00:00:00+00'), g.outcome,
           nullif(g.job_id, '00000000-0000-0000-0000-000000000000')
    FROM given g JOIN schedules s ON s.id = g.schedule_id
    ON CONFLICT (schedule_id, slot) DO NOTHING
    RETURNING id, schedule_id, job_id
), made AS (
    INSERT INTO jobs (id, tenant_id, source_id, type, priority, run_after, max_attempts)
    SELECT g.job_id, s.tenant_id, s.source_id, 'backup', sqlc.arg(priority), g.run_after, sqlc.arg(max_attempts)
    FROM recorded r JOIN given g ON g.id = r.id JOIN schedules s ON s.id = g.schedule_id
    WHERE r.job_id IS NOT NULL
    RETURNING id
), advanced AS (
    UPDATE schedules s
    SET next_slot = nullif(p.next_slot, '0001-01-01 00:00:00+00'), next_due = nullif(p.next_due, '0001-01-01 00:00:00+00'),
        planned_at = xvault_now(), last_job_id = coalesce(r.job_id, s.last_job_id)
    FROM planned p LEFT JOIN recorded r ON r.schedule_id = p.id AND r.job_id IS NOT NULL
    WHERE s.id = p.id
)
SELECT (SELECT count(*) FROM made) AS jobs, (SELECT count(*) FROM recorded) AS slots;

-- name: DropOldSlots :execrows
-- By the times in the ids, which the primary key serves.
DELETE FROM schedule_slots WHERE id IN (
    SELECT o.id FROM schedule_slots o WHERE o.id < sqlc.arg(before)::uuid ORDER BY o.id LIMIT sqlc.arg(max_rows));
