-- name: InsertCredential :one
INSERT INTO credentials (id, tenant_id, name, kind, secret_type, ciphertext, key_id)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING *;

-- name: CredentialByID :one
SELECT * FROM credentials
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id));

-- name: LockCredential :one
SELECT * FROM credentials
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
FOR UPDATE;

-- name: ReplaceSecret :one
UPDATE credentials SET secret_type = $3, ciphertext = $4, key_id = $5, updated_at = xvault_now()
WHERE tenant_id = $1 AND id = $2
RETURNING *;

-- name: DeleteCredential :exec
DELETE FROM credentials WHERE tenant_id = $1 AND id = $2;

-- name: SourcesOfCredential :many
SELECT id, name FROM sources WHERE tenant_id = $1 AND (credential_id = $2 OR ssh_credential_id = $2) ORDER BY id LIMIT 6;

-- name: ShareSourceCredential :one
-- Keeps the credential from being deleted until the source that uses it is committed.
SELECT id FROM credentials WHERE tenant_id = $1 AND id = $2 AND kind = 'source' FOR KEY SHARE;
