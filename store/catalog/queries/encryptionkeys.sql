-- name: ListEncryptionKeys :many
SELECT * FROM encryption_keys ORDER BY key_id;

-- name: InsertEncryptionKey :execrows
INSERT INTO encryption_keys (key_id, kind, salt, canary) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING;

-- name: EncryptionKeyByID :one
SELECT * FROM encryption_keys WHERE key_id = $1;

-- name: CountSecretsByKey :many
SELECT key_id, count(*) AS secrets FROM (
    SELECT key_id FROM credentials UNION ALL SELECT key_id FROM tenant_keys UNION ALL SELECT key_id FROM ticket_keys
    UNION ALL SELECT key_id FROM notification_channels
) AS sealed GROUP BY key_id ORDER BY key_id;

-- name: CredentialsToRekey :many
SELECT id, tenant_id, ciphertext, key_id FROM credentials
WHERE key_id <> $1 AND id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: RekeyCredential :execrows
-- Compares what was read, so that a secret replaced meanwhile is left alone.
-- updated_at stays: the secret is the same.
UPDATE credentials SET ciphertext = sqlc.arg(new_ciphertext), key_id = sqlc.arg(new_key_id)
WHERE id = $1 AND ciphertext = sqlc.arg(old_ciphertext) AND key_id = sqlc.arg(old_key_id);

-- name: TenantKeysToRekey :many
SELECT id, tenant_id, encrypted_private_key, key_id FROM tenant_keys
WHERE key_id <> $1 AND id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: RekeyTenantKey :execrows
UPDATE tenant_keys SET encrypted_private_key = sqlc.arg(new_ciphertext), key_id = sqlc.arg(new_key_id)
WHERE id = $1 AND encrypted_private_key = sqlc.arg(old_ciphertext) AND key_id = sqlc.arg(old_key_id);
