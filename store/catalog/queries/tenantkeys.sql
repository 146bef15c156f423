-- name: InsertTenantKey :exec
INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
VALUES ($1, $2, 'age-x25519', $3, $4, $5, 'active');

-- name: ActiveTenantKey :one
SELECT * FROM tenant_keys WHERE tenant_id = $1 AND key_status = 'active';

-- name: IdentityMissing :one
SELECT identity_missing FROM tenant_keys WHERE tenant_id = $1 AND id = $2;
