-- name: InsertTenant :one
INSERT INTO tenants (id, name, plan) VALUES ($1, $2, $3) RETURNING *;

-- name: TenantByID :one
SELECT sqlc.embed(t), k.public_key
FROM tenants t JOIN tenant_keys k ON k.tenant_id = t.id AND k.key_status = 'active'
WHERE t.id = $1;

-- name: UpdateTenant :execrows
UPDATE tenants
SET name = coalesce(sqlc.narg(name), name), plan = coalesce(sqlc.narg(plan), plan), updated_at = xvault_now()
WHERE id = $1;

-- name: LockTenant :one
SELECT id FROM tenants WHERE id = $1 FOR UPDATE;

-- name: CountTenantSnapshots :one
-- Deleted ones do not count: their bytes are gone.
SELECT count(*) FROM snapshots WHERE tenant_id = $1 AND status <> 'deleted';

-- name: CountTenantUnfinishedJobs :one
SELECT count(*) FROM jobs WHERE tenant_id = $1 AND status IN ('queued', 'running', 'finalizing');

-- name: DeleteTenantSnapshotRows :exec
DELETE FROM snapshots WHERE tenant_id = $1 AND status = 'deleted';

-- name: DeleteTenantJobs :exec
DELETE FROM jobs WHERE tenant_id = $1;

-- name: DeleteTenantSources :exec
DELETE FROM sources WHERE tenant_id = $1;

-- name: DeleteTenant :execrows
DELETE FROM tenants WHERE id = $1;
