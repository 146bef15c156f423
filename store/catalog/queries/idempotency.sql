-- name: TakeIdempotencyKey :execrows
-- Runs in the transaction that creates something: the key and the object are
-- committed together or not at all. A second request with the key waits here
-- for the first one's commit and then takes no row.
INSERT INTO idempotency_keys (principal, key, request_hash, status, body)
VALUES ($1, $2, $3, 0, $4)
ON CONFLICT DO NOTHING;

-- name: SaveIdempotentAnswer :exec
UPDATE idempotency_keys SET status = $3, body = $4 WHERE principal = $1 AND key = $2 AND status = 0;

-- name: IdempotencyKeyByName :one
SELECT * FROM idempotency_keys WHERE principal = $1 AND key = $2;

-- name: DeleteOldIdempotencyKeys :execrows
DELETE FROM idempotency_keys
WHERE (principal, key) IN (
    SELECT k.principal, k.key FROM idempotency_keys k
    WHERE k.created_at < xvault_now() - sqlc.arg(age)::interval
    LIMIT sqlc.arg(max_rows)
);
