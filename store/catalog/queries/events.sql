-- Events are written here, in the transaction of what they tell of, together with
-- the alerts that they open or end. A key that is there already makes no second
-- event.

-- name: TellJobsFailed :exec
-- Of those of the jobs that failed for good. A person waits for the answer of a
-- probe, and needs no message about it; damage that a verification found is told
-- of its snapshot.
WITH failed AS (
    SELECT j.id, j.tenant_id, j.source_id, j.type, j.snapshot_id, j.worker_id, j.error_code, j.error_message
    FROM jobs j WHERE j.id = ANY (sqlc.arg(ids)::uuid[]) AND j.status = 'failed' AND j.type <> 'probe'
      AND NOT (j.type = 'verify' AND j.error_code IN ('artifact_missing', 'artifact_corrupt'))
), opened AS (
    INSERT INTO alerts (id, kind, tenant_id, source_id)
    SELECT xvault_new_id(), 'backup', f.tenant_id, f.source_id FROM failed f WHERE f.type = 'backup'
    ON CONFLICT DO NOTHING
)
INSERT INTO notification_events (id, tenant_id, event_key, kind, source_id, job_id, snapshot_id, worker_id, detail)
SELECT xvault_new_id(), f.tenant_id, 'job_failed:' || f.id, 'job_failed', f.source_id, f.id, f.snapshot_id, f.worker_id,
       jsonb_build_object('job_type', f.type, 'error_code', f.error_code, 'error_message', left(f.error_message, 1000))
FROM failed f
ON CONFLICT (event_key) DO NOTHING;

-- name: TellSnapshot :exec
-- That a snapshot is suspicious or corrupt, as this job found.
WITH bad AS (
    SELECT s.id, s.tenant_id, s.source_id, sqlc.arg(job_id)::uuid AS job_id, s.worker_id FROM snapshots s WHERE s.id = sqlc.arg(snapshot_id)
), opened AS (
    INSERT INTO alerts (id, kind, tenant_id, source_id)
    SELECT xvault_new_id(), 'backup', b.tenant_id, b.source_id FROM bad b
    ON CONFLICT DO NOTHING
)
INSERT INTO notification_events (id, tenant_id, event_key, kind, source_id, job_id, snapshot_id, worker_id, detail)
SELECT xvault_new_id(), b.tenant_id, sqlc.arg(kind)::text || ':' || b.id || ':' || b.job_id, sqlc.arg(kind), b.source_id, b.job_id, b.id, b.worker_id,
       jsonb_build_object('reason', left(sqlc.arg(reason)::text, 1000))
FROM bad b
ON CONFLICT (event_key) DO NOTHING;

-- name: TellGood :exec
-- That a snapshot is good: what was wrong with its source is over.
WITH good AS (
    SELECT s.id, s.tenant_id, s.source_id, s.job_id, s.worker_id, s.size_bytes, s.duration_ms
    FROM snapshots s WHERE s.id = sqlc.arg(snapshot_id)
), over AS (
    DELETE FROM alerts a USING good g WHERE a.source_id = g.source_id AND a.kind IN ('backup', 'max_age')
    RETURNING a.id, a.kind, a.opened_at
), news AS (
    SELECT CASE o.kind WHEN 'backup' THEN 'recovered' ELSE 'max_age_ok' END AS kind, o.id AS about,
           jsonb_build_object('since', o.opened_at) AS detail
    FROM over o
    UNION ALL
    SELECT 'backup_succeeded', g.job_id, jsonb_build_object('size_bytes', g.size_bytes, 'duration_ms', g.duration_ms)
    FROM good g
    WHERE sqlc.arg(fresh)::boolean
      AND EXISTS (SELECT 1 FROM notification_channels c WHERE c.enabled AND c.wants_success
                  AND (c.tenant_id = g.tenant_id OR c.tenant_id IS NULL))
)
INSERT INTO notification_events (id, tenant_id, event_key, kind, source_id, job_id, snapshot_id, worker_id, detail)
SELECT xvault_new_id(), g.tenant_id, n.kind || ':' || n.about, n.kind, g.source_id, g.job_id, g.id, g.worker_id, n.detail
FROM good g CROSS JOIN news n
ON CONFLICT (event_key) DO NOTHING;

-- name: TellSlots :exec
-- That slots yielded no job.
WITH given AS (
    SELECT unnest(sqlc.arg(schedule_ids)::uuid[]) AS schedule_id, unnest(sqlc.arg(kinds)::text[]) AS kind,
           unnest(sqlc.arg(abouts)::text[]) AS about, unnest(sqlc.arg(details)::jsonb[]) AS detail
), empty AS (
    SELECT g.kind, g.about, g.detail || jsonb_build_object('schedule_id', s.id, 'timezone', s.timezone) AS detail, s.id, s.tenant_id, s.source_id
    FROM given g JOIN schedules s ON s.id = g.schedule_id
), opened AS (
    INSERT INTO alerts (id, kind, tenant_id, source_id)
    SELECT DISTINCT ON (e.source_id) xvault_new_id(), 'backup', e.tenant_id, e.source_id FROM empty e
    ON CONFLICT DO NOTHING
)
INSERT INTO notification_events (id, tenant_id, event_key, kind, source_id, detail)
SELECT xvault_new_id(), e.tenant_id, e.kind || ':' || e.id || ':' || e.about, e.kind, e.source_id, e.detail
FROM empty e
ON CONFLICT (event_key) DO NOTHING;

-- name: HandOutEvents :one
-- Makes the notifications of new events: one for each channel that wants it. A
-- channel that is paused after failures stays so.
WITH fresh AS (
    SELECT e.id, e.tenant_id, e.kind, e.source_id FROM notification_events e
    WHERE NOT e.handed_out ORDER BY e.id LIMIT sqlc.arg(max_rows)
    FOR UPDATE SKIP LOCKED
), wanted AS (
    SELECT f.id AS event_id, c.id AS channel_id, c.tenant_id
    FROM fresh f JOIN notification_channels c
      ON c.enabled AND (c.tenant_id = f.tenant_id OR c.tenant_id IS NULL) AND f.kind = ANY (c.events)
         AND (cardinality(c.source_ids) = 0 OR f.source_id = ANY (c.source_ids))
    ORDER BY f.id
), made AS (
    INSERT INTO notifications (id, tenant_id, event_id, channel_id)
    SELECT xvault_new_id(), w.tenant_id, w.event_id, w.channel_id FROM wanted w
    ON CONFLICT (event_id, channel_id) DO NOTHING
    RETURNING channel_id
), woken AS (
    UPDATE notification_channels c
    SET due_at = CASE WHEN c.failures > 0 THEN coalesce(c.due_at, xvault_now()) ELSE least(c.due_at, xvault_now()) END
    WHERE c.id IN (SELECT m.channel_id FROM made m)
), marked AS (
    UPDATE notification_events e SET handed_out = true FROM fresh f WHERE e.id = f.id
)
SELECT (SELECT count(*) FROM fresh) AS events, (SELECT count(*) FROM made) AS notifications;

-- name: DropOldEvents :execrows
-- By the times in the ids; their notifications go with them.
DELETE FROM notification_events WHERE id IN (
    SELECT o.id FROM notification_events o WHERE o.id < sqlc.arg(before)::uuid ORDER BY o.id LIMIT sqlc.arg(max_rows));

-- name: TryHandOutLock :one
SELECT pg_try_advisory_xact_lock(sqlc.arg(key)::bigint)::boolean AS mine;
