-- name: InsertAuditEvent :exec
-- The trail of who did what; written in the transaction that it tells of.
INSERT INTO audit_events (id, tenant_id, actor_type, actor_id, action, object_type, object_id, detail, remote_addr, request_id)
VALUES ($1, sqlc.narg(tenant_id), $2, $3, $4, $5, $6, $7, $8, $9);
