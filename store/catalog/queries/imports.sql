-- name: DeleteImportsOfWorker :exec
DELETE FROM imports WHERE worker_id = $1;

-- name: InsertImport :one
INSERT INTO imports (id, worker_id) VALUES ($1, $2) RETURNING *;

-- name: ImportByID :one
SELECT * FROM imports WHERE id = $1;

-- name: LockOpenImport :one
-- One that still takes pages, of this worker.
SELECT * FROM imports WHERE id = $1 AND worker_id = $2 AND listed_at IS NULL FOR UPDATE;

-- name: DeleteImportItems :exec
DELETE FROM import_items WHERE import_id = $1;

-- name: SetImportProgress :exec
UPDATE imports
SET listing_id = sqlc.arg(listing_id), storage_id = sqlc.arg(storage_id), found = $2, bytes = $3, problem = $4,
    listed_at = CASE WHEN sqlc.arg(listed)::boolean THEN xvault_now() END, updated_at = xvault_now()
WHERE id = $1;

-- name: ImportItems :many
SELECT * FROM import_items WHERE import_id = $1 AND place > sqlc.arg(after) AND unconfirmed = ANY(sqlc.arg(unconfirmed)::boolean[])
ORDER BY place LIMIT sqlc.arg(max_rows);

-- name: DeleteImport :exec
DELETE FROM imports WHERE id = $1;

-- name: PruneImports :execrows
-- Of commands that died.
DELETE FROM imports WHERE updated_at < xvault_now() - interval '1 day';

-- name: EnsureTenant :execrows
INSERT INTO tenants (id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: TenantKeys :many
SELECT * FROM tenant_keys WHERE tenant_id = $1 ORDER BY id;

-- name: InsertImportedTenantKey :execrows
INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status, identity_missing)
VALUES ($1, $2, 'age-x25519', $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING;

-- name: KeysWithoutIdentity :many
SELECT * FROM tenant_keys WHERE identity_missing AND public_key = ANY(sqlc.arg(public_keys)::text[]) ORDER BY tenant_id, id;

-- name: GiveIdentity :execrows
UPDATE tenant_keys SET encrypted_private_key = $2, key_id = $3, identity_missing = false, updated_at = xvault_now()
WHERE id = $1 AND identity_missing;

-- name: RetireTenantKeys :exec
UPDATE tenant_keys SET key_status = 'rotated', updated_at = xvault_now() WHERE tenant_id = $1 AND key_status = 'active';

-- name: ActivateTenantKey :exec
UPDATE tenant_keys SET key_status = 'active', updated_at = xvault_now() WHERE tenant_id = $1 AND id = $2;

-- name: NameImportedTenant :exec
-- Only one that still has the name that stands for none.
UPDATE tenants SET name = sqlc.arg(name), updated_at = xvault_now() WHERE id = $1 AND name = sqlc.arg(placeholder);

-- name: EnsureSource :execrows
INSERT INTO sources (id, tenant_id, type, name, config, status) VALUES ($1, $2, $3, $4, '{}', 'disabled') ON CONFLICT DO NOTHING;

-- name: SourceOwner :one
SELECT tenant_id, type FROM sources WHERE id = $1;

-- name: JobExists :one
SELECT EXISTS (SELECT 1 FROM jobs WHERE id = $1);

-- name: ImportJob :exec
INSERT INTO jobs (id, tenant_id, source_id, type, status, attempt, attempt_outcome, worker_id, attempt_snapshot_id, snapshot_id,
                  result, error_code, error_message, created_at, run_after, started_at, finished_at)
VALUES ($1, $2, $3, 'backup', sqlc.arg(status), 1, sqlc.arg(status), $4, sqlc.arg(snapshot_id)::uuid, sqlc.arg(snapshot_id)::uuid,
        $5, sqlc.narg(error_code), sqlc.narg(error_message), sqlc.arg(began), sqlc.arg(began), sqlc.arg(began), sqlc.arg(ended));

-- name: ImportSnapshot :exec
INSERT INTO snapshots (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms, manifest_json,
                       artifact_sha256, encryption_algorithm, encryption_key_id, encryption_recipient,
                       storage_backend, worker_id, storage_id, local_path)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'age-x25519', $12, $13, 'local_fs', $14, $15, $16);

-- name: SnapshotsAmong :many
SELECT * FROM snapshots WHERE id = ANY(sqlc.arg(ids)::uuid[]);

-- name: KeyOwners :many
SELECT DISTINCT public_key, tenant_id FROM tenant_keys WHERE public_key = ANY(sqlc.arg(public_keys)::text[]);
