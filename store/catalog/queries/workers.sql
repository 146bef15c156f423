-- name: InsertWorker :one
-- No row comes back where the id is taken.
INSERT INTO workers (id, name, version, status, capabilities, storage_base_path, storage_id, storage_state,
                     age_recipient, token_hash, registration_hash, public_url, slots)
VALUES ($1, $2, $3, 'online', $4, $5, sqlc.narg(storage_id), $6, $7, $8, sqlc.narg(registration_hash), $9, $10)
ON CONFLICT (id) DO NOTHING
RETURNING *;

-- name: LockWorker :one
SELECT * FROM workers WHERE id = $1 FOR UPDATE;

-- name: StartIncarnation :one
UPDATE workers
SET incarnation = incarnation + 1, token_hash = $2, registration_hash = sqlc.narg(registration_hash),
    name = $3, version = $4, capabilities = $5, storage_base_path = $6, age_recipient = $7, public_url = $8, slots = $9,
    storage_id = sqlc.narg(storage_id), storage_state = $10, slots_busy = 0,
    status = CASE WHEN drain_requested THEN 'draining' ELSE 'online' END,
    last_seen_at = xvault_now(), updated_at = xvault_now()
WHERE id = $1
RETURNING *;

-- name: KeepPastToken :exec
INSERT INTO worker_past_tokens (token_hash, worker_id, incarnation) VALUES ($1, $2, $3);

-- name: PrunePastTokens :exec
DELETE FROM worker_past_tokens WHERE worker_id = $1 AND incarnation <= sqlc.arg(up_to);

-- name: WorkerByToken :one
SELECT * FROM workers WHERE token_hash = $1;

-- name: PastTokenWorker :one
SELECT w.* FROM worker_past_tokens p JOIN workers w ON w.id = p.worker_id WHERE p.token_hash = $1;

-- name: Heartbeat :one
-- registration_hash goes: the worker has the token, for it called with it.
-- The storage's identity is filled in once, never replaced here.
UPDATE workers
SET status = CASE WHEN drain_requested THEN 'draining' ELSE sqlc.arg(status)::text END,
    slots = $3, slots_busy = $4, disk_free_bytes = $5, disk_total_bytes = $6,
    storage_id = coalesce(storage_id, CASE WHEN sqlc.arg(storage_state)::text = 'ok' THEN sqlc.narg(storage_id)::uuid END),
    storage_state = CASE WHEN sqlc.narg(storage_id)::uuid <> storage_id THEN 'foreign' ELSE sqlc.arg(storage_state)::text END,
    registration_hash = NULL, last_seen_at = xvault_now(), updated_at = xvault_now()
WHERE workers.id = $1 AND workers.incarnation = $2
RETURNING workers.drain_requested, coalesce((SELECT i.id FROM imports i WHERE i.worker_id = workers.id AND i.listed_at IS NULL), '00000000-0000-0000-0000-000000000000')::uuid AS list;

-- name: MarkSilentWorkers :many
-- workers_last_seen serves it. Several hubs may sweep at once, and a heartbeat
-- that holds the row is no silence.
UPDATE workers SET status = 'offline', slots_busy = 0, updated_at = xvault_now()
WHERE id IN (SELECT w.id FROM workers w
             WHERE w.status <> 'offline' AND w.last_seen_at < xvault_now() - make_interval(secs => sqlc.arg(silence_seconds)::float8)
             FOR UPDATE SKIP LOCKED)
RETURNING id;

-- name: SetWorkerDrain :one
-- A worker that is offline stays so; one that drains on its own account goes
-- back online with its next heartbeat, if it does.
UPDATE workers
SET drain_requested = $2,
    status = CASE WHEN $2 AND status = 'online' THEN 'draining' ELSE status END,
    updated_at = xvault_now()
WHERE id = $1
RETURNING *;

-- name: Worker :one
SELECT * FROM workers WHERE id = $1;

-- name: DeleteWorker :exec
DELETE FROM workers WHERE id = $1;

-- name: StorageInUse :one
-- Whether snapshots stand on this storage of this worker.
SELECT EXISTS (SELECT 1 FROM snapshots
               WHERE worker_id = sqlc.arg(worker_id) AND storage_backend = 'local_fs'
                 AND storage_id = sqlc.arg(storage_id) AND status <> 'deleted');

-- name: KeepSweep :execrows
UPDATE workers
SET swept_at = xvault_now(), sweep_snapshots = $3, sweep_orphans = $4, sweep_orphan_bytes = $5, sweep_missing = $6,
    sweep_removed = $7, sweep_removed_bytes = $8, sweep_kept = $9
WHERE id = $1 AND incarnation = $2;
