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
-- The end of an attempt that succeeded and makes no snapshot; that of a
-- verification is EndVerify. It happened, so it stands even where a cancel was asked for meanwhile. What was deleted is
-- marked as such in the same statement, and its row stays for the audit.
WITH done AS (
    UPDATE jobs j
    SET status = 'completed', attempt_outcome = 'completed', lease_expires_at = NULL, result = sqlc.narg(result),
        error_code = NULL, error_message = NULL, finished_at = xvault_now(), updated_at = xvault_now()
    WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
      AND j.worker_incarnation = sqlc.arg(incarnation) AND j.lease_expires_at IS NOT NULL AND j.type NOT IN ('backup', 'verify')
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
--
-- A good snapshot is held against the last good ones of its source as well, by
-- how much there is in it, and is suspicious where there is no file in it, unless
-- that is how it always was, or less than half of the files, of their bytes or of
-- the sealed bytes that there are in the median (the lower one of an even
-- number). Those that were removed since count too, but none from before the last
-- one that someone accepted, for it said that things have changed. What a
-- manifest does not say is not judged.
--
-- quiet: only where the snapshot is news to nobody, neither suspicious nor
-- awaited as good (alerts_of_source and notification_channels_success, which are
-- all but empty). Events need statements of their own, and a transaction.
WITH earlier AS (
    SELECT g.size_bytes,
           CASE WHEN jsonb_typeof(g.content -> 'files') = 'number' THEN (g.content ->> 'files')::numeric END AS files,
           CASE WHEN jsonb_typeof(g.content -> 'bytes') = 'number' THEN (g.content ->> 'bytes')::numeric END AS bytes
    FROM jobs j CROSS JOIN LATERAL (
        SELECT s.size_bytes, s.manifest_json -> 'content' AS content FROM snapshots s
        WHERE s.tenant_id = j.tenant_id AND s.source_id = j.source_id AND coalesce(s.deleting_from, s.status) = 'completed'
          AND s.id >= coalesce((SELECT a.id FROM snapshots a
                                WHERE a.tenant_id = j.tenant_id AND a.source_id = j.source_id AND a.accepted_at IS NOT NULL
                                ORDER BY a.id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000')
        ORDER BY s.id DESC LIMIT sqlc.arg(baseline_size)::integer) g
    WHERE j.id = sqlc.arg(job_id) AND sqlc.arg(snapshot_status)::text = 'completed'
), usual AS (
    SELECT count(*) AS n, percentile_disc(0.5) WITHIN GROUP (ORDER BY e.size_bytes) AS size_bytes,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY e.files) AS files,
           percentile_disc(0.5) WITHIN GROUP (ORDER BY e.bytes) AS bytes
    FROM earlier e
), judged AS MATERIALIZED (
    SELECT CASE
        WHEN sqlc.arg(snapshot_status)::text <> 'completed' THEN ''
        WHEN sqlc.narg(files)::bigint = 0 AND u.files IS DISTINCT FROM 0 THEN 'It holds no file.'
        WHEN sqlc.narg(files)::bigint * 2.0 < u.files
            THEN format('It holds %s files; the last %s good snapshots hold %s in the median.', sqlc.narg(files)::bigint, u.n, u.files)
        WHEN sqlc.narg(bytes)::bigint * 2.0 < u.bytes
            THEN format('It holds %s bytes in files; the last %s good snapshots hold %s in the median.', sqlc.narg(bytes)::bigint, u.n, u.bytes)
        WHEN sqlc.arg(size_bytes)::bigint * 2.0 < u.size_bytes
            THEN format('It holds %s bytes in the artifact; the last %s good snapshots hold %s in the median.', sqlc.arg(size_bytes)::bigint, u.n, u.size_bytes)
        ELSE '' END AS suspicion,
        EXISTS (SELECT 1 FROM jobs j JOIN alerts a ON a.source_id = j.source_id WHERE j.id = sqlc.arg(job_id))
        OR EXISTS (SELECT 1 FROM jobs j JOIN notification_channels c ON c.tenant_id = j.tenant_id OR c.tenant_id IS NULL
                   WHERE j.id = sqlc.arg(job_id) AND c.enabled AND c.wants_success) AS awaited
    FROM usual u
), ended AS (
    UPDATE jobs j
    SET status = sqlc.arg(status)::text, attempt_outcome = sqlc.arg(status)::text, snapshot_id = j.attempt_snapshot_id,
        lease_expires_at = NULL, progress = coalesce(sqlc.narg(last_progress)::jsonb, j.progress),
        result = CASE WHEN judged.suspicion = '' THEN sqlc.narg(result)::jsonb
                      ELSE coalesce(sqlc.narg(result)::jsonb, '{}') || jsonb_build_object('suspicion', judged.suspicion) END,
        error_code = sqlc.narg(error_code), error_message = sqlc.narg(error_message),
        failures = j.failures + CASE WHEN sqlc.arg(status)::text = 'failed' THEN 1 ELSE 0 END,
        finished_at = xvault_now(), updated_at = xvault_now()
    FROM judged, workers w, tenant_keys k
    WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
      AND j.worker_incarnation = sqlc.arg(incarnation) AND j.lease_expires_at IS NOT NULL AND j.type = 'backup'
      AND NOT j.cancel_requested AND j.attempt_snapshot_id = sqlc.arg(snapshot_id)
      AND (NOT sqlc.arg(quiet)::boolean OR judged.suspicion = '' AND NOT judged.awaited)
      AND k.id = sqlc.arg(key_id) AND k.tenant_id = j.tenant_id AND k.public_key = sqlc.arg(recipient)
      AND w.id = j.worker_id AND w.incarnation = j.worker_incarnation
      AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash) AND w.storage_base_path <> ''
      AND sqlc.arg(local_path)::text = rtrim(w.storage_base_path, '/') || '/tenants/' || j.tenant_id || '/sources/' || j.source_id
                                       || '/snapshots/' || j.attempt_snapshot_id
    RETURNING j.id, j.tenant_id, j.source_id, j.started_at, j.finished_at, j.worker_id, w.storage_id, k.algorithm, judged.suspicion
)
INSERT INTO snapshots AS n (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms, manifest_json,
                       artifact_sha256, encryption_algorithm, encryption_key_id, encryption_recipient, storage_backend,
                       worker_id, storage_id, local_path, suspicion)
SELECT sqlc.arg(snapshot_id), e.tenant_id, e.source_id, e.id,
       CASE WHEN e.suspicion = '' THEN sqlc.arg(snapshot_status)::text ELSE 'suspicious' END, sqlc.arg(size_bytes)::bigint, e.started_at,
       e.finished_at, sqlc.arg(duration_ms), sqlc.arg(manifest), sqlc.arg(sha256), e.algorithm, sqlc.arg(key_id),
       sqlc.arg(recipient), 'local_fs', e.worker_id, e.storage_id, sqlc.arg(local_path)::text, e.suspicion
FROM ended e
RETURNING n.source_id, n.suspicion,
          -- Whether retention has something to say now.
          EXISTS (SELECT 1 FROM schedules c WHERE c.tenant_id = n.tenant_id AND c.source_id = n.source_id AND c.retention_policy <> '{}') AS retained;

-- name: AttemptState :one
-- What stands where a worker's word was not taken.
SELECT j.status, j.type, j.attempt, j.worker_id, j.worker_incarnation, j.attempt_outcome, j.cancel_requested,
       j.attempt_snapshot_id, j.snapshot_id, j.tenant_id, j.source_id, coalesce(w.storage_base_path, '')::text AS storage_base_path,
       w.incarnation AS current_incarnation, w.token_hash AS current_token
FROM jobs j LEFT JOIN workers w ON w.id = j.worker_id
WHERE j.id = $1;

-- name: LockAttempt :one
SELECT j.id, j.cancel_requested, j.tenant_id, j.source_id, j.type, j.payload, j.snapshot_id FROM jobs j
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
