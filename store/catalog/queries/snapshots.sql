-- name: Snapshot :one
SELECT * FROM snapshots WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id));

-- name: LockSnapshot :one
SELECT * FROM snapshots WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id)) FOR UPDATE;

-- name: SetSnapshotHoldAndNote :one
UPDATE snapshots SET hold = $2, note = $3, updated_at = xvault_now() WHERE id = $1 RETURNING *;

-- name: KnownSnapshots :many
-- Which of the ids stand for something: a snapshot that was not deleted, on
-- whichever worker, or an attempt that still may become one.
SELECT s.id FROM snapshots s WHERE s.id = ANY(sqlc.arg(ids)::uuid[]) AND s.status <> 'deleted'
UNION
SELECT j.attempt_snapshot_id::uuid FROM jobs j
WHERE j.status IN ('running', 'finalizing') AND j.attempt_snapshot_id = ANY(sqlc.arg(ids)::uuid[]);

-- name: DeletedSnapshots :many
SELECT id FROM snapshots WHERE id = ANY(sqlc.arg(ids)::uuid[]) AND status = 'deleted';

-- name: MissingSnapshots :many
-- What should be on this storage of this worker and was not listed.
SELECT s.id FROM snapshots s
WHERE s.worker_id = sqlc.arg(worker_id) AND s.storage_backend = 'local_fs' AND s.storage_id = sqlc.arg(storage_id)
  AND s.status NOT IN ('deleting', 'deleted') AND s.id <> ALL(sqlc.arg(ids)::uuid[])
ORDER BY s.id;

-- name: MarkMissing :many
-- Not what was stored after the worker began to list its storage.
UPDATE snapshots SET missing_since = xvault_now(), updated_at = xvault_now()
WHERE id = ANY(sqlc.arg(ids)::uuid[]) AND missing_since IS NULL AND status NOT IN ('deleting', 'deleted')
  AND created_at < xvault_now() - make_interval(secs => sqlc.arg(listing_seconds)::float8)
RETURNING id;

-- name: MarkFound :many
-- What was missing from this storage and is on it again.
UPDATE snapshots SET missing_since = NULL, updated_at = xvault_now()
WHERE id = ANY(sqlc.arg(ids)::uuid[]) AND missing_since IS NOT NULL AND storage_id = sqlc.arg(storage_id)
RETURNING id;
