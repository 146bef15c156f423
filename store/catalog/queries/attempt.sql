-- The statements by which a worker speaks of its attempt hold against the catalog
-- who speaks: the worker's current start and, where it is given, the token that
-- it called with. They look the job up by its id alone: a lease stands for
-- running and finalizing, which a CHECK makes sure of, and the words of a
-- partial index would tempt the planner to look through it instead.

-- name: RenewLease :one
-- A lease that ran out is renewed as long as nobody reaped it.
UPDATE jobs j
SET lease_expires_at = xvault_now() + make_interval(secs => sqlc.arg(lease_seconds)::float8),
    progress = sqlc.arg(progress), updated_at = xvault_now()
WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
  AND j.worker_incarnation = sqlc.arg(incarnation) AND j.lease_expires_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM workers w WHERE w.id = sqlc.arg(worker_id) AND w.incarnation = sqlc.arg(incarnation)
              AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash))
RETURNING j.cancel_requested;

-- name: FinalizeJob :one
-- Of cancel and finalize the first wins: an attempt that was asked to cancel
-- ends here.
UPDATE jobs j
SET status = CASE WHEN j.cancel_requested THEN 'canceled' ELSE 'finalizing' END,
    lease_expires_at = CASE WHEN NOT j.cancel_requested THEN xvault_now() + make_interval(secs => sqlc.arg(lease_seconds)::float8) END,
    attempt_outcome = CASE WHEN j.cancel_requested THEN 'canceled' END,
    error_code = CASE WHEN j.cancel_requested THEN 'canceled' END,
    error_message = CASE WHEN j.cancel_requested THEN sqlc.arg(canceled_message)::text END,
    finished_at = CASE WHEN j.cancel_requested THEN xvault_now() END,
    updated_at = xvault_now()
WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
  AND j.worker_incarnation = sqlc.arg(incarnation) AND j.lease_expires_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM workers w WHERE w.id = sqlc.arg(worker_id) AND w.incarnation = sqlc.arg(incarnation)
              AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash))
RETURNING j.status;

-- name: ReleaseJob :one
-- Handed back: due at once, or after the delay, and no failure.
UPDATE jobs j
SET status = CASE WHEN j.cancel_requested THEN 'canceled' ELSE 'queued' END,
    lease_expires_at = NULL, dispatched_at = NULL, run_after = xvault_now() + make_interval(secs => sqlc.arg(delay_seconds)::float8), progress = NULL,
    attempt_outcome = 'released',
    error_code = CASE WHEN j.cancel_requested THEN 'canceled' END,
    error_message = CASE WHEN j.cancel_requested THEN sqlc.arg(canceled_message)::text END,
    finished_at = CASE WHEN j.cancel_requested THEN xvault_now() END,
    updated_at = xvault_now()
WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
  AND j.worker_incarnation = sqlc.arg(incarnation) AND j.status = 'running'
  AND EXISTS (SELECT 1 FROM workers w WHERE w.id = sqlc.arg(worker_id) AND w.incarnation = sqlc.arg(incarnation)
              AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash))
RETURNING j.status;

-- name: CompleteJob :one
-- The end of an attempt that succeeded and makes no snapshot. It happened, so
-- it stands even where a cancel was asked for meanwhile. What was deleted is
-- marked as such in the same statement, and its row stays for the audit.
WITH done AS (
    UPDATE jobs j
    SET status = 'completed', attempt_outcome = 'completed', lease_expires_at = NULL, result = sqlc.narg(result),
        error_code = NULL, error_message = NULL, finished_at = xvault_now(), updated_at = xvault_now()
    WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
      AND j.worker_incarnation = sqlc.arg(incarnation) AND j.lease_expires_at IS NOT NULL AND j.type <> 'backup'
      AND EXISTS (SELECT 1 FROM workers w WHERE w.id = sqlc.arg(worker_id) AND w.incarnation = sqlc.arg(incarnation)
                  AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash))
    RETURNING j.id, j.tenant_id, j.type, j.snapshot_id, j.worker_id
), gone AS (
    UPDATE snapshots s SET status = 'deleted', deleted_at = xvault_now(), updated_at = xvault_now()
    FROM done d
    WHERE d.type = 'delete_snapshot' AND s.id = d.snapshot_id AND s.tenant_id = d.tenant_id AND s.status = 'deleting'
    RETURNING s.id, s.tenant_id, s.source_id, d.worker_id
), told AS (
    INSERT INTO audit_events (id, tenant_id, actor_type, actor_id, action, object_type, object_id, detail)
    SELECT sqlc.arg(event_id), g.tenant_id, 'worker', g.worker_id, 'snapshot.deleted', 'snapshot', g.id::text,
           jsonb_build_object('source_id', g.source_id)
    FROM gone g
)
SELECT d.id FROM done d;

-- name: CompleteWithSnapshot :one
-- The commit point of a backup: the job ends and its snapshot is there, in one
-- statement. Everything that the worker says of the snapshot is held against
-- the catalog; where one thing differs nothing happens and no row comes back.
WITH ended AS (
    UPDATE jobs j
    SET status = sqlc.arg(status)::text, attempt_outcome = sqlc.arg(status)::text, snapshot_id = j.attempt_snapshot_id,
        lease_expires_at = NULL, result = sqlc.narg(result), progress = coalesce(sqlc.narg(last_progress)::jsonb, j.progress),
        error_code = sqlc.narg(error_code), error_message = sqlc.narg(error_message),
        failures = j.failures + CASE WHEN sqlc.arg(status)::text = 'failed' THEN 1 ELSE 0 END,
        finished_at = xvault_now(), updated_at = xvault_now()
    FROM workers w, tenant_keys k
    WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
      AND j.worker_incarnation = sqlc.arg(incarnation) AND j.lease_expires_at IS NOT NULL AND j.type = 'backup'
      AND NOT j.cancel_requested AND j.attempt_snapshot_id = sqlc.arg(snapshot_id)
      AND k.id = sqlc.arg(key_id) AND k.tenant_id = j.tenant_id AND k.public_key = sqlc.arg(recipient)
      AND w.id = j.worker_id AND w.incarnation = j.worker_incarnation
      AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash) AND w.storage_base_path <> ''
      AND sqlc.arg(local_path)::text = rtrim(w.storage_base_path, '/') || '/tenants/' || j.tenant_id || '/sources/' || j.source_id
                                       || '/snapshots/' || j.attempt_snapshot_id
    RETURNING j.id, j.tenant_id, j.source_id, j.started_at, j.finished_at, j.worker_id, w.storage_id, k.algorithm
)
INSERT INTO snapshots (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms, manifest_json,
                       artifact_sha256, encryption_algorithm, encryption_key_id, encryption_recipient, storage_backend,
                       worker_id, storage_id, local_path, suspicion)
SELECT sqlc.arg(snapshot_id), e.tenant_id, e.source_id, e.id, sqlc.arg(snapshot_status), sqlc.arg(size_bytes), e.started_at,
       e.finished_at, sqlc.arg(duration_ms), sqlc.arg(manifest), sqlc.arg(sha256), e.algorithm, sqlc.arg(key_id),
       sqlc.arg(recipient), 'local_fs', e.worker_id, e.storage_id, sqlc.arg(local_path)::text, sqlc.arg(suspicion)::text
FROM ended e
RETURNING id;

-- name: AttemptState :one
-- What stands where a worker's word was not taken.
SELECT j.status, j.type, j.attempt, j.worker_id, j.worker_incarnation, j.attempt_outcome, j.cancel_requested,
       j.attempt_snapshot_id, j.snapshot_id, j.tenant_id, j.source_id, coalesce(w.storage_base_path, '')::text AS storage_base_path,
       w.incarnation AS current_incarnation, w.token_hash AS current_token
FROM jobs j LEFT JOIN workers w ON w.id = j.worker_id
WHERE j.id = $1;

-- name: LockAttempt :one
SELECT j.id, j.cancel_requested FROM jobs j
WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
  AND j.worker_incarnation = sqlc.arg(incarnation) AND j.lease_expires_at IS NOT NULL
  AND EXISTS (SELECT 1 FROM workers w WHERE w.id = sqlc.arg(worker_id) AND w.incarnation = sqlc.arg(incarnation)
              AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash))
FOR UPDATE OF j;

-- name: LockExpired :many
-- jobs_leases serves it. Rows that others hold are being renewed, ended or reaped.
SELECT id FROM jobs
WHERE status IN ('running', 'finalizing') AND lease_expires_at <= xvault_now()
ORDER BY lease_expires_at LIMIT sqlc.arg(max_rows)
FOR UPDATE SKIP LOCKED;

-- name: LockLeasesOfWorker :many
SELECT id, (target_worker_id IS NOT NULL)::boolean AS only_there FROM jobs
WHERE worker_id = $1 AND status IN ('running', 'finalizing')
ORDER BY id
FOR UPDATE;

-- name: LockOrphaned :many
-- Leases of worker starts that are over. Registering and removing a worker end
-- what they see; a claim at the same moment may slip through.
SELECT j.id, (j.target_worker_id IS NOT NULL AND w.id IS NULL)::boolean AS only_there
FROM jobs j LEFT JOIN workers w ON w.id = j.worker_id
WHERE j.status IN ('running', 'finalizing') AND (w.id IS NULL OR w.incarnation <> j.worker_incarnation)
ORDER BY j.id LIMIT sqlc.arg(max_rows)
FOR UPDATE OF j SKIP LOCKED;

-- name: EndAttempts :many
-- The one place that decides what follows from an attempt that failed or was
-- lost: canceled where that was asked, queued again while tries are left and it
-- is worth one, else failed. The rows are locked by the caller's transaction.
-- The delay doubles from 10 s; with its jitter it stays within 15 min.
UPDATE jobs j
SET status = n.next, failures = j.failures + 1, attempt_outcome = sqlc.arg(outcome)::text,
    lease_expires_at = NULL, dispatched_at = NULL,
    run_after = CASE WHEN n.next = 'queued' THEN xvault_now() + n.delay ELSE j.run_after END,
    progress = CASE WHEN n.next = 'queued' THEN NULL ELSE j.progress END,
    result = sqlc.narg(result),
    error_code = CASE WHEN n.next = 'canceled' THEN 'canceled' ELSE sqlc.arg(error_code)::text END,
    error_message = CASE WHEN n.next = 'canceled' THEN sqlc.arg(canceled_message)::text ELSE sqlc.arg(error_message)::text END,
    finished_at = CASE WHEN n.next <> 'queued' THEN xvault_now() END,
    updated_at = xvault_now()
FROM (
    SELECT f.id,
           CASE WHEN f.cancel_requested THEN 'canceled'
                WHEN sqlc.arg(retry)::boolean AND f.failures + 1 < f.max_attempts THEN 'queued'
                ELSE 'failed' END AS next,
           CASE WHEN sqlc.arg(backoff)::boolean
                THEN make_interval(secs => least(720, 10 * 2 ^ least(f.failures, 10)) * (1 + 0.25 * random()))
                ELSE interval '0' END AS delay
    FROM jobs f WHERE f.id = ANY(sqlc.arg(ids)::uuid[])
) n
WHERE j.id = n.id AND j.status IN ('running', 'finalizing')
RETURNING j.id, j.tenant_id, j.status, j.attempt;

-- name: FailQueuedOfWorker :many
UPDATE jobs
SET status = 'failed', error_code = sqlc.arg(error_code)::text, error_message = sqlc.arg(error_message)::text,
    finished_at = xvault_now(), updated_at = xvault_now()
WHERE target_worker_id = sqlc.arg(worker_id) AND status = 'queued'
RETURNING id;

-- name: FailOrphanedQueued :many
-- What waits for a worker that is gone for good.
UPDATE jobs
SET status = 'failed', error_code = sqlc.arg(error_code)::text, error_message = sqlc.arg(error_message)::text,
    finished_at = xvault_now(), updated_at = xvault_now()
WHERE id IN (SELECT j.id FROM jobs j
             WHERE j.status = 'queued' AND j.target_worker_id IS NOT NULL
               AND NOT EXISTS (SELECT 1 FROM workers w WHERE w.id = j.target_worker_id)
             ORDER BY j.id LIMIT sqlc.arg(max_rows)
             FOR UPDATE SKIP LOCKED)
RETURNING id, tenant_id, status, attempt;
