-- name: CreateJob :one
-- One round trip and one transaction: the job and the audit event that tells
-- of it. No row comes back for a source that is outside the scope or disabled,
-- nor for a snapshot that is being deleted: of marking it so and queueing a job
-- that reads it one comes first, and the other one sees it. Only a restore may be
-- for another source than its snapshot's, of the same tenant.
WITH usable AS (
    SELECT x.id, x.tenant_id, x.source_id FROM snapshots x
    WHERE x.id = sqlc.narg(snapshot_id)::uuid AND x.status NOT IN ('deleting', 'deleted')
    FOR SHARE
), created AS (
    INSERT INTO jobs (id, tenant_id, source_id, type, priority, payload, target_worker_id, snapshot_id, max_attempts)
    SELECT sqlc.arg(id), s.tenant_id, s.id, sqlc.arg(type)::text, sqlc.arg(priority), sqlc.arg(payload),
           sqlc.narg(target_worker_id), sqlc.narg(snapshot_id), sqlc.arg(max_attempts)
    FROM sources s
    WHERE s.id = sqlc.arg(source_id) AND (sqlc.narg(tenant_id)::uuid IS NULL OR s.tenant_id = sqlc.narg(tenant_id))
      AND (s.status = 'active' OR sqlc.arg(type)::text <> 'backup')
      AND (sqlc.narg(snapshot_id)::uuid IS NULL OR EXISTS (SELECT 1 FROM usable u WHERE u.tenant_id = s.tenant_id AND (u.source_id = s.id OR sqlc.arg(type)::text = 'restore')))
    RETURNING *
), told AS (
    INSERT INTO audit_events (id, tenant_id, actor_type, actor_id, action, object_type, object_id, detail, remote_addr, request_id)
    SELECT sqlc.arg(event_id), c.tenant_id, sqlc.arg(actor_type), sqlc.arg(actor_id), 'job.create', 'job', c.id::text,
           jsonb_build_object('type', c.type, 'source_id', c.source_id), sqlc.arg(remote_addr), sqlc.arg(request_id)
    FROM created c
)
SELECT c.id, c.tenant_id, c.source_id, c.type, c.status, c.priority, c.payload, c.target_worker_id, c.snapshot_id,
       c.max_attempts, c.run_after, c.created_at, c.updated_at,
       EXISTS (SELECT 1 FROM workers w WHERE w.status = 'online' AND (w.storage_state = 'ok' OR c.type = 'probe')
               AND (c.target_worker_id IS NULL OR w.id = c.target_worker_id)) AS worker_online
FROM created c;

-- name: SourceStatus :one
SELECT status FROM sources WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id));

-- name: CancelJob :one
-- A queued job ends at once; a running one is asked to. A job that is
-- finalizing or ended is not touched, and no row comes back.
UPDATE jobs
SET cancel_requested = true,
    status           = CASE WHEN status = 'queued' THEN 'canceled' ELSE status END,
    finished_at      = CASE WHEN status = 'queued' THEN xvault_now() END,
    error_code       = CASE WHEN status = 'queued' THEN 'canceled' END,
    error_message    = CASE WHEN status = 'queued' THEN sqlc.arg(message)::text END,
    updated_at       = xvault_now()
WHERE id = sqlc.arg(id) AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
  AND (status = 'queued' OR (status = 'running' AND NOT cancel_requested))
RETURNING tenant_id, status;
