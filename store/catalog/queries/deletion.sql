-- name: MarkDeleting :one
-- The caller has locked the row and looked at it.
UPDATE snapshots
SET deleting_from = status, status = 'deleting', delete_cause = 'request',
    delete_after = xvault_now() + make_interval(secs => sqlc.arg(grace_seconds)::float8), updated_at = xvault_now()
WHERE id = sqlc.arg(id) AND status NOT IN ('deleting', 'deleted') AND NOT hold
RETURNING *;

-- name: HastenDeletion :one
-- Someone asked for what is being deleted already: the earlier date counts, and
-- from now on a person wants it.
UPDATE snapshots
SET delete_after = least(coalesce(delete_after, xvault_now()), xvault_now() + make_interval(secs => sqlc.arg(grace_seconds)::float8)),
    delete_cause = 'request', updated_at = xvault_now()
WHERE id = sqlc.arg(id) AND status = 'deleting'
RETURNING *;

-- name: InsertDeleteJob :one
-- For the worker that has the files: the one that made them or, where that one
-- was removed, the one that now works on the same storage. No row comes back
-- where there is none, or where the snapshot is not being deleted.
INSERT INTO jobs (id, tenant_id, source_id, type, priority, target_worker_id, snapshot_id, payload, max_attempts, run_after)
SELECT sqlc.arg(job_id), s.tenant_id, s.source_id, 'delete_snapshot', sqlc.arg(priority), w.id, s.id,
       jsonb_strip_nulls(jsonb_build_object('storage_id', s.storage_id)), sqlc.arg(max_attempts), coalesce(s.delete_after, xvault_now())
FROM snapshots s JOIN LATERAL (
    SELECT o.id FROM workers o WHERE o.id = s.worker_id OR o.storage_id = s.storage_id
    ORDER BY o.id = s.worker_id DESC, o.last_seen_at DESC LIMIT 1) w ON true
WHERE s.id = sqlc.arg(snapshot_id) AND s.status = 'deleting' AND s.storage_backend = 'local_fs'
RETURNING id;

-- name: ActiveDeleteJob :one
-- The job that deletes the snapshot, where there is one that has not ended.
SELECT id FROM jobs
WHERE snapshot_id = sqlc.arg(snapshot_id)::uuid AND type = 'delete_snapshot' AND type <> 'backup' AND status IN ('queued', 'running', 'finalizing')
ORDER BY id DESC LIMIT 1;

-- name: HastenDeleteJob :exec
UPDATE jobs SET run_after = least(run_after, sqlc.arg(run_after)::timestamptz), updated_at = xvault_now()
WHERE id = sqlc.arg(id) AND status = 'queued' AND dispatched_at IS NULL;

-- name: DeletionBegun :one
-- Whether a worker ever began to delete it: its files may be gone in part.
SELECT EXISTS (SELECT 1 FROM jobs
               WHERE snapshot_id = sqlc.arg(snapshot_id)::uuid AND type = 'delete_snapshot' AND type <> 'backup' AND attempt > 0);

-- name: CancelDeleteJobs :many
-- Of claiming and taking back one wins: both change the job's row.
UPDATE jobs
SET status = 'canceled', cancel_requested = true, finished_at = xvault_now(), error_code = 'canceled',
    error_message = sqlc.arg(message)::text, updated_at = xvault_now()
WHERE snapshot_id = sqlc.arg(snapshot_id)::uuid AND type = 'delete_snapshot' AND type <> 'backup' AND status = 'queued' AND attempt = 0
RETURNING id;

-- name: TakeBackSnapshot :one
UPDATE snapshots
SET status = coalesce(deleting_from, 'suspicious'), deleting_from = NULL, delete_cause = NULL, delete_after = NULL, updated_at = xvault_now()
WHERE id = $1 AND status = 'deleting'
RETURNING *;

-- name: DueDeletions :many
-- Whose grace is over and which no job deletes. One whose job failed waits for
-- an hour; what nobody can delete, for its worker is gone, waits for one.
SELECT s.id FROM snapshots s
WHERE s.status = 'deleting' AND s.delete_after <= xvault_now() AND NOT s.hold
  AND NOT EXISTS (SELECT 1 FROM jobs j WHERE j.snapshot_id = s.id AND j.type = 'delete_snapshot' AND j.type <> 'backup'
                  AND (j.status IN ('queued', 'running', 'finalizing') OR j.finished_at > xvault_now() - interval '1 hour'))
  AND EXISTS (SELECT 1 FROM workers w WHERE w.id = s.worker_id OR w.storage_id = s.storage_id)
  AND s.source_id <> ALL(sqlc.arg(spared)::uuid[])
ORDER BY s.delete_after LIMIT sqlc.arg(max_rows)
FOR UPDATE OF s SKIP LOCKED;

-- name: PostponeDeletion :exec
-- A deletion that must not happen yet is looked at again in a while.
UPDATE jobs SET run_after = xvault_now() + interval '15 seconds', dispatched_at = NULL, updated_at = xvault_now()
WHERE id = sqlc.arg(job_id) AND target_worker_id = sqlc.arg(worker_id) AND type = 'delete_snapshot' AND status = 'queued'
  AND run_after <= xvault_now();
