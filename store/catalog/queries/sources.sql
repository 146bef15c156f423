-- name: InsertSource :one
-- The first verification comes somewhere within the first round, so that
-- sources that are made together are not verified together.
INSERT INTO sources (id, tenant_id, type, name, config, credential_id, bandwidth, max_age_hours, max_age_since, max_age_check,
                     verify_kind, verify_every_hours, verify_due, reverify_after_hours, reverify_due)
VALUES ($1, $2, $3, $4, $5, sqlc.narg(credential_id), sqlc.narg(bandwidth), sqlc.narg(max_age_hours),
        CASE WHEN sqlc.narg(max_age_hours)::integer IS NOT NULL THEN xvault_now() END,
        CASE WHEN sqlc.narg(max_age_hours)::integer IS NOT NULL THEN xvault_now() END,
        sqlc.arg(verify_kind),
        sqlc.narg(verify_every_hours)::integer, xvault_now() + random() * make_interval(hours => sqlc.narg(verify_every_hours)::integer),
        sqlc.narg(reverify_after_hours)::integer,
        CASE WHEN sqlc.narg(reverify_after_hours)::integer IS NOT NULL
             THEN xvault_now() + random() * least(interval '1 day', make_interval(hours => sqlc.narg(reverify_after_hours)::integer)) END)
RETURNING *;

-- name: SourceByID :one
SELECT * FROM sources
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id));

-- name: LockSource :one
SELECT * FROM sources
WHERE id = $1 AND (sqlc.narg(tenant_id)::uuid IS NULL OR tenant_id = sqlc.narg(tenant_id))
FOR UPDATE;

-- name: UpdateSource :one
UPDATE sources
SET name = $3, status = $4, config = $5, credential_id = sqlc.narg(credential_id), pinned_host_keys = $6, bandwidth = sqlc.narg(bandwidth),
    max_age_hours = sqlc.narg(max_age_hours),
    -- The count begins where nobody minded before: with a first objective, and with a source that was disabled.
    max_age_since = CASE WHEN sqlc.narg(max_age_hours)::integer IS NULL THEN NULL
                         WHEN max_age_hours IS NULL OR status <> $4 THEN xvault_now() ELSE max_age_since END,
    max_age_check = CASE WHEN sqlc.narg(max_age_hours)::integer IS NOT NULL THEN xvault_now() END,
    verify_kind = sqlc.arg(verify_kind), verify_every_hours = sqlc.narg(verify_every_hours)::integer,
    verify_due = CASE WHEN verify_every_hours IS NOT DISTINCT FROM sqlc.narg(verify_every_hours)::integer THEN verify_due
                      ELSE xvault_now() + random() * make_interval(hours => sqlc.narg(verify_every_hours)::integer) END,
    reverify_after_hours = sqlc.narg(reverify_after_hours)::integer,
    reverify_due = CASE WHEN sqlc.narg(reverify_after_hours)::integer IS NULL THEN NULL
                        WHEN reverify_after_hours = sqlc.narg(reverify_after_hours)::integer THEN reverify_due
                        ELSE xvault_now() + random() * least(interval '1 day', make_interval(hours => sqlc.narg(reverify_after_hours)::integer)) END,
    updated_at = xvault_now()
WHERE tenant_id = $1 AND id = $2
RETURNING *;

-- name: CountSourceSnapshots :one
-- Deleted ones do not count: their bytes are gone.
SELECT count(*) FROM snapshots WHERE tenant_id = $1 AND source_id = $2 AND status <> 'deleted';

-- name: CountSourceUnfinishedJobs :one
SELECT count(*) FROM jobs WHERE tenant_id = $1 AND source_id = $2 AND status IN ('queued', 'running', 'finalizing');

-- name: DeleteSourceSnapshotRows :exec
DELETE FROM snapshots WHERE tenant_id = $1 AND source_id = $2 AND status = 'deleted';

-- name: DeleteSource :exec
DELETE FROM sources WHERE tenant_id = $1 AND id = $2;
