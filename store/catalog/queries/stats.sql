-- name: CountJobsByStatus :many
SELECT status, count(*) AS jobs FROM jobs GROUP BY status;

-- name: CountQueuedJobs :one
SELECT count(*) FILTER (WHERE dispatched_at IS NULL) AS undispatched,
       count(*) FILTER (WHERE dispatched_at IS NOT NULL) AS dispatched,
       coalesce(extract(epoch FROM xvault_now() - min(run_after)), 0)::float8 AS oldest_due_seconds
FROM jobs WHERE status = 'queued';

-- name: CountWorkersByStatus :many
SELECT status, count(*) AS workers FROM workers GROUP BY status;
