-- name: InsertChannel :one
INSERT INTO notification_channels (id, tenant_id, name, kind, config, ciphertext, key_id, events, source_ids, enabled, wants_success)
VALUES ($1, sqlc.narg(tenant_id), $2, $3, $4, $5, $6, $7, $8, $9, $10)
RETURNING *;

-- name: Channel :one
SELECT * FROM notification_channels
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id));

-- name: LockChannel :one
SELECT * FROM notification_channels
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
FOR UPDATE;

-- name: UpdateChannel :one
-- Whatever was wrong with it may be mended now: it is tried at once.
UPDATE notification_channels
SET name = $2, config = $3, ciphertext = $4, key_id = $5, events = $6, source_ids = $7, enabled = $8, wants_success = $9,
    failures = 0, due_at = xvault_now(), updated_at = xvault_now()
WHERE id = $1
RETURNING *;

-- name: DeleteChannel :exec
DELETE FROM notification_channels WHERE id = $1;

-- name: CountChannels :one
SELECT count(*) FROM notification_channels WHERE tenant_id IS NOT DISTINCT FROM sqlc.narg(tenant_id);

-- name: CountSourcesOf :one
-- How many of the sources there are in the scope of a channel.
SELECT count(*) FROM sources
WHERE id = ANY (sqlc.arg(ids)::uuid[]) AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id));

-- name: ChannelsToRekey :many
SELECT id, coalesce(tenant_id, '00000000-0000-0000-0000-000000000000')::uuid AS tenant_id, ciphertext, key_id FROM notification_channels
WHERE key_id <> $1 AND id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: RekeyChannel :execrows
UPDATE notification_channels SET ciphertext = sqlc.arg(new_ciphertext), key_id = sqlc.arg(new_key_id)
WHERE id = $1 AND ciphertext = sqlc.arg(old_ciphertext) AND key_id = sqlc.arg(old_key_id);
