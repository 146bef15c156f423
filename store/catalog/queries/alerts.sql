-- What the watchers look at: conditions that begin and end with time.

-- name: TellSilentWorkers :many
-- Workers that were not heard of, and that nobody asked to drain.
WITH opened AS (
    INSERT INTO alerts (id, kind, worker_id)
    SELECT xvault_new_id(), 'worker_offline', w.id FROM workers w
    WHERE w.status = 'offline' AND NOT w.drain_requested
      AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.worker_id = w.id AND a.kind = 'worker_offline')
    ON CONFLICT DO NOTHING
    RETURNING id, worker_id
)
INSERT INTO notification_events (id, event_key, kind, worker_id, detail)
SELECT xvault_new_id(), 'worker_offline:' || o.id, 'worker_offline', o.worker_id, jsonb_build_object('last_seen_at', w.last_seen_at)
FROM opened o JOIN workers w ON w.id = o.worker_id
RETURNING worker_id;

-- name: CalmWorkers :exec
-- Notes since when a worker with an alert is back, or its storage has room again;
-- what returns meanwhile begins anew.
UPDATE alerts a SET calm_since = CASE WHEN c.calm THEN xvault_now() END
FROM (SELECT l.id, CASE l.kind WHEN 'worker_offline' THEN w.status <> 'offline'
                        ELSE w.status <> 'offline' AND w.disk_free_bytes::float8 >= sqlc.arg(enough)::float8 * w.disk_total_bytes END AS calm
      FROM alerts l JOIN workers w ON w.id = l.worker_id) c
WHERE a.id = c.id AND c.calm <> (a.calm_since IS NOT NULL);

-- name: TellCalmWorkers :many
WITH over AS (
    DELETE FROM alerts a
    WHERE a.worker_id IS NOT NULL AND a.calm_since <= xvault_now() - make_interval(secs => sqlc.arg(calm_seconds)::float8)
    RETURNING a.id, a.kind, a.worker_id, a.opened_at
)
INSERT INTO notification_events (id, event_key, kind, worker_id, detail)
SELECT xvault_new_id(), k.kind || ':' || o.id, k.kind, o.worker_id,
       jsonb_build_object('since', o.opened_at, 'disk_free_bytes', w.disk_free_bytes, 'disk_total_bytes', w.disk_total_bytes)
FROM over o JOIN workers w ON w.id = o.worker_id
CROSS JOIN LATERAL (SELECT CASE o.kind WHEN 'worker_offline' THEN 'worker_back' ELSE 'storage_ok' END AS kind) k
RETURNING worker_id;

-- name: TellFullStorages :many
WITH opened AS (
    INSERT INTO alerts (id, kind, worker_id)
    SELECT xvault_new_id(), 'storage_nearly_full', w.id FROM workers w
    WHERE w.status <> 'offline' AND w.storage_state = 'ok' AND w.disk_total_bytes > 0
      AND w.disk_free_bytes::float8 < sqlc.arg(least_free)::float8 * w.disk_total_bytes
      AND NOT EXISTS (SELECT 1 FROM alerts a WHERE a.worker_id = w.id AND a.kind = 'storage_nearly_full')
    ON CONFLICT DO NOTHING
    RETURNING id, worker_id
)
INSERT INTO notification_events (id, event_key, kind, worker_id, detail)
SELECT xvault_new_id(), 'storage_nearly_full:' || o.id, 'storage_nearly_full', o.worker_id,
       jsonb_build_object('disk_free_bytes', w.disk_free_bytes, 'disk_total_bytes', w.disk_total_bytes)
FROM opened o JOIN workers w ON w.id = o.worker_id
RETURNING worker_id;

-- name: CheckMaxAges :one
-- Looks at the sources whose objective may be exceeded by now, tells of those
-- where it is, and says when to look at each again: not before it can be.
WITH due AS (
    SELECT s.id, s.tenant_id, s.max_age_hours, s.max_age_since FROM sources s
    WHERE s.max_age_hours IS NOT NULL AND s.status = 'active' AND s.max_age_check <= xvault_now()
    ORDER BY s.max_age_check LIMIT sqlc.arg(max_rows)
    FOR NO KEY UPDATE SKIP LOCKED
), aged AS (
    SELECT d.id, d.tenant_id, d.max_age_hours, g.finished_at AS last_good,
           greatest(g.finished_at, d.max_age_since) + make_interval(hours => d.max_age_hours) AS until
    FROM due d LEFT JOIN LATERAL (
        SELECT n.finished_at FROM snapshots n
        WHERE n.tenant_id = d.tenant_id AND n.source_id = d.id AND coalesce(n.deleting_from, n.status) = 'completed'
        ORDER BY n.id DESC LIMIT 1) g ON true
), opened AS (
    INSERT INTO alerts (id, kind, tenant_id, source_id)
    SELECT xvault_new_id(), 'max_age', a.tenant_id, a.id FROM aged a WHERE a.until <= xvault_now()
    ON CONFLICT DO NOTHING
    RETURNING id, source_id
), over AS (
    DELETE FROM alerts l USING aged a
    WHERE l.source_id = a.id AND l.kind = 'max_age' AND a.until > xvault_now()
    RETURNING l.id, l.source_id, l.opened_at
), told AS (
    INSERT INTO notification_events (id, tenant_id, event_key, kind, source_id, detail)
    SELECT xvault_new_id(), a.tenant_id, 'max_age_exceeded:' || o.id, 'max_age_exceeded', a.id,
           jsonb_build_object('max_age_hours', a.max_age_hours, 'last_good_at', a.last_good)
    FROM opened o JOIN aged a ON a.id = o.source_id
    UNION ALL
    SELECT xvault_new_id(), a.tenant_id, 'max_age_ok:' || o.id, 'max_age_ok', a.id, jsonb_build_object('since', o.opened_at)
    FROM over o JOIN aged a ON a.id = o.source_id
    RETURNING id
), planned AS (
    UPDATE sources s
    SET max_age_check = CASE WHEN a.until > xvault_now() THEN least(a.until, xvault_now() + make_interval(hours => a.max_age_hours))
                             ELSE xvault_now() + make_interval(secs => sqlc.arg(again_seconds)::float8) END
    FROM aged a WHERE s.id = a.id
)
SELECT (SELECT count(*) FROM due) AS looked_at, (SELECT count(*) FROM told) AS told;

-- name: ReplanMaxAges :execrows
-- After a clock that went back: nothing is planned further ahead than its objective.
UPDATE sources SET max_age_check = xvault_now()
WHERE max_age_hours IS NOT NULL AND status = 'active' AND max_age_check > xvault_now() + make_interval(hours => max_age_hours) + interval '1 minute';

-- name: EndAlert :exec
-- Without a word: what it was about is no longer wanted.
DELETE FROM alerts WHERE source_id = sqlc.arg(source_id)::uuid AND kind = sqlc.arg(kind);
