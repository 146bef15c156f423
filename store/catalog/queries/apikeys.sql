-- name: InsertAPIKey :one
INSERT INTO api_keys (id, tenant_id, name, secret_hash, expires_at)
VALUES ($1, sqlc.narg(tenant_id), $2, $3, sqlc.narg(expires_at))
RETURNING *;

-- name: APIKeyForLogin :one
SELECT sqlc.embed(k),
       coalesce(k.expires_at <= xvault_now(), false)::boolean AS expired,
       coalesce(k.last_used_at < xvault_now() - interval '1 minute', true)::boolean AS stale
FROM api_keys k WHERE k.id = $1;

-- name: TouchAPIKey :exec
-- Coarse on purpose: one write a minute and key, whatever the traffic.
UPDATE api_keys SET last_used_at = xvault_now()
WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < xvault_now() - interval '1 minute');

-- name: APIKeyByID :one
SELECT * FROM api_keys WHERE id = $1;

-- name: DeleteAPIKey :one
DELETE FROM api_keys
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
RETURNING *;
