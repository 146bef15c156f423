-- name: ActiveTicketKey :one
SELECT * FROM ticket_keys WHERE key_status = 'active';

-- name: TicketPublicKeys :many
SELECT public_key FROM ticket_keys ORDER BY id DESC;

-- name: InsertTicketKey :execrows
-- One hub's pair becomes the active one; those of hubs that start at the same
-- moment do not.
INSERT INTO ticket_keys (id, public_key, encrypted_private_key, key_id, key_status)
VALUES ($1, $2, $3, $4, 'active')
ON CONFLICT (key_status) WHERE key_status = 'active' DO NOTHING;

-- name: TicketKeysToRekey :many
SELECT id, encrypted_private_key, key_id FROM ticket_keys
WHERE key_id <> $1 AND id > sqlc.arg(after) ORDER BY id LIMIT sqlc.arg(max_rows);

-- name: RekeyTicketKey :execrows
UPDATE ticket_keys SET encrypted_private_key = sqlc.arg(new_ciphertext), key_id = sqlc.arg(new_key_id)
WHERE id = $1 AND encrypted_private_key = sqlc.arg(old_ciphertext) AND key_id = sqlc.arg(old_key_id);

-- name: InsertTicket :one
INSERT INTO tickets (id, tenant_id, kind, snapshot_id, job_id, worker_id, selection, ttl_seconds)
VALUES ($1, $2, $3, $4, sqlc.narg(job_id), $5, $6, $7)
RETURNING *;

-- name: TicketsOfJobs :many
-- The tickets of restores that completed, and where their worker is reached.
SELECT t.id, t.job_id::uuid AS job_id, t.worker_id, t.selection, t.revoked_at, t.redeemed, coalesce(w.public_url, '')::text AS public_url,
       (j.finished_at + make_interval(secs => t.ttl_seconds))::timestamptz AS expires_at
FROM tickets t JOIN jobs j ON j.tenant_id = t.tenant_id AND j.id = t.job_id
LEFT JOIN workers w ON w.id = t.worker_id
WHERE t.job_id = ANY(sqlc.arg(job_ids)::uuid[]) AND j.status = 'completed';

-- name: RedeemTicket :one
-- Counts a use and tells what the ticket stands for, whether it is still good or
-- not: the caller decides. A snapshot that is being deleted is there until it
-- is deleted.
WITH used AS (
    UPDATE tickets t
    SET redeemed = redeemed + 1, last_redeemed_at = xvault_now()
    WHERE t.id = sqlc.arg(id)
    RETURNING *
)
SELECT u.id, u.tenant_id, u.kind, u.snapshot_id, u.job_id, u.worker_id, u.selection, u.revoked_at,
       (CASE WHEN u.kind = 'files' THEN u.created_at ELSE coalesce(j.finished_at, xvault_now()) END
           + make_interval(secs => u.ttl_seconds))::timestamptz AS expires_at,
       xvault_now()::timestamptz AS now,
       coalesce(j.status, '')::text AS job_status, coalesce(j.payload, '{}')::jsonb AS payload,
       s.source_id, s.status AS snapshot_status, s.size_bytes, s.artifact_sha256, s.encryption_recipient,
       k.id AS tenant_key_id, k.encrypted_private_key, k.key_id
FROM used u
JOIN snapshots s ON s.tenant_id = u.tenant_id AND s.id = u.snapshot_id
JOIN tenant_keys k ON k.tenant_id = s.tenant_id AND k.id = s.encryption_key_id
LEFT JOIN jobs j ON j.tenant_id = u.tenant_id AND j.id = u.job_id;

-- name: RevokeTicketOfJob :one
UPDATE tickets t SET revoked_at = coalesce(t.revoked_at, xvault_now())
FROM jobs j
WHERE t.job_id = sqlc.arg(job_id) AND j.tenant_id = t.tenant_id AND j.id = t.job_id AND j.status = 'completed'
  AND (sqlc.narg(tenant_id)::uuid IS NULL OR t.tenant_id = sqlc.narg(tenant_id))
RETURNING t.id, t.tenant_id;

-- name: PruneTickets :execrows
-- Tickets that list files; the others go with their jobs.
DELETE FROM tickets
WHERE id IN (SELECT t.id FROM tickets t
             WHERE t.kind = 'files' AND t.created_at < xvault_now() - interval '1 day'
             ORDER BY t.created_at LIMIT sqlc.arg(max_rows)
             FOR UPDATE SKIP LOCKED);
