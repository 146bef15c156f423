-- name: PullBackJobs :execrows
-- What was put off, or handed to Redis, at a time that is yet to come is due now.
-- A deletion is due when its snapshot's grace is over: nothing is deleted earlier
-- than it was promised.
UPDATE jobs
SET run_after = least(run_after, CASE WHEN type = 'delete_snapshot'
        THEN (SELECT greatest(s.delete_after, xvault_now()) FROM snapshots s WHERE s.id = jobs.snapshot_id) ELSE xvault_now() END),
    dispatched_at = CASE WHEN dispatched_at IS NOT NULL THEN least(dispatched_at, xvault_now()) END, updated_at = xvault_now()
WHERE status = 'queued' AND greatest(updated_at, dispatched_at) > xvault_now() + make_interval(secs => sqlc.arg(margin_seconds)::float8);

-- name: PullBackLeases :execrows
-- A lease that is longer than any that is given: whoever holds it renews it in
-- time, or nobody does.
UPDATE jobs
SET lease_expires_at = xvault_now() + make_interval(secs => sqlc.arg(lease_seconds)::float8)
WHERE status IN ('running', 'finalizing')
  AND lease_expires_at > xvault_now() + make_interval(secs => sqlc.arg(lease_seconds)::float8 + sqlc.arg(margin_seconds)::float8);

-- name: PullBackWorkers :execrows
UPDATE workers SET last_seen_at = xvault_now()
WHERE last_seen_at > xvault_now() + make_interval(secs => sqlc.arg(margin_seconds)::float8);

-- name: PullBackRetention :execrows
UPDATE sources SET retained_at = NULL
WHERE retained_at > xvault_now() + make_interval(secs => sqlc.arg(margin_seconds)::float8);
