-- name: CountJobsByStatus :many
SELECT status, count(*) AS jobs FROM jobs GROUP BY status;

-- name: CountQueuedJobs :one
SELECT count(*) FILTER (WHERE dispatched_at IS NULL) AS undispatched,
       count(*) FILTER (WHERE dispatched_at IS NOT NULL) AS dispatched,
       coalesce(extract(epoch FROM xvault_now() - min(run_after)), 0)::float8 AS oldest_due_seconds
FROM jobs WHERE status = 'queued';

-- name: CountWorkersByStatus :many
SELECT status, count(*) AS workers FROM workers GROUP BY status;

-- name: SumSweeps :one
SELECT coalesce(sum(sweep_orphans), 0)::bigint AS orphans, coalesce(sum(sweep_orphan_bytes), 0)::bigint AS orphan_bytes,
       coalesce(sum(sweep_missing), 0)::bigint AS missing, coalesce(sum(sweep_removed_bytes), 0)::bigint AS removed_bytes
FROM workers;

-- name: SourceAges :many
-- The last good backups of all active sources, through snapshots_by_source; -1
-- where there is none.
SELECT a.id, a.tenant_id, a.age::float8 AS age, (max(a.age) OVER ())::float8 AS worst, count(*) FILTER (WHERE a.age < 0) OVER () AS never
FROM (SELECT s.id, s.tenant_id, coalesce(greatest(extract(epoch FROM xvault_now() - g.finished_at), 0), -1) AS age
      FROM sources s LEFT JOIN LATERAL (
          SELECT n.finished_at FROM snapshots n
          WHERE n.tenant_id = s.tenant_id AND n.source_id = s.id AND coalesce(n.deleting_from, n.status) = 'completed'
          ORDER BY n.id DESC LIMIT 1) g ON true
      WHERE s.status = 'active') a
ORDER BY a.age DESC LIMIT sqlc.arg(max_rows);

-- name: WorkerGauges :many
SELECT id, slots, slots_busy, disk_free_bytes, disk_total_bytes FROM workers ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: CountAlerts :many
SELECT kind, count(*) AS alerts FROM alerts GROUP BY kind;
