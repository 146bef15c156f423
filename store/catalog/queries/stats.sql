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
