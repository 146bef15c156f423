-- name: ClaimJob :one
-- One conditional UPDATE takes the attempt; the rest of the statement collects
-- what the job needs. A claim that already succeeded (same claim, same worker)
-- gives the same answer. Without its storage a worker can only probe.
WITH claimer AS (
    SELECT w.id, w.storage_state = 'ok' AS has_storage, w.drain_requested FROM workers w
    WHERE w.id = sqlc.arg(worker_id) AND w.incarnation = sqlc.arg(incarnation)
      AND w.token_hash = coalesce(sqlc.narg(token_hash)::bytea, w.token_hash)
), taken AS (
    UPDATE jobs j
    SET status = 'running', attempt = j.attempt + 1, claim_id = sqlc.arg(claim_id)::uuid,
        worker_id = claimer.id, worker_incarnation = sqlc.arg(incarnation),
        lease_expires_at = xvault_now() + make_interval(secs => sqlc.arg(lease_seconds)::float8),
        attempt_snapshot_id = CASE WHEN j.type = 'backup' THEN sqlc.arg(snapshot_id)::uuid END,
        attempt_outcome = NULL, progress = NULL, error_code = NULL, error_message = NULL,
        -- What writes to a source keeps backups of it away, and they it.
        one_per_source = (j.type = 'backup' OR j.type = 'restore' AND coalesce(j.payload ->> 'destination', '') = 'source')
                         AND sqlc.arg(one_per_source)::boolean,
        started_at = xvault_now(), updated_at = xvault_now()
    FROM claimer
    WHERE j.id = sqlc.arg(job_id) AND j.status = 'queued' AND j.run_after <= xvault_now() AND NOT claimer.drain_requested
      AND (j.target_worker_id IS NULL OR j.target_worker_id = claimer.id)
      AND (claimer.has_storage OR j.type = 'probe')
      AND (j.type <> 'delete_snapshot' OR xvault_may_delete(j.tenant_id, j.snapshot_id))
    RETURNING j.*
), attempt AS (
    SELECT * FROM taken
    UNION ALL
    SELECT j.* FROM jobs j
    WHERE j.id = sqlc.arg(job_id) AND j.claim_id = sqlc.arg(claim_id)::uuid AND j.lease_expires_at IS NOT NULL
      AND j.worker_id = (SELECT claimer.id FROM claimer) AND j.worker_incarnation = sqlc.arg(incarnation)
)
SELECT a.id, a.tenant_id, a.type, a.attempt, a.payload, a.created_at, a.started_at, a.attempt_snapshot_id, a.snapshot_id,
       (greatest(0, extract(epoch FROM a.lease_expires_at - xvault_now())) * 1000)::bigint AS lease_ms,
       s.id AS source_id, s.type AS source_type, s.config, s.pinned_host_keys, s.bandwidth, s.ssh_credential_id,
       k.id AS tenant_key_id, k.algorithm AS tenant_key_algorithm, k.public_key AS tenant_public_key,
       c.id AS credential_id, c.ciphertext AS credential_ciphertext, c.key_id AS credential_key_id,
       sn.source_id AS snapshot_source_id, sn.size_bytes AS snapshot_size, sn.artifact_sha256, sn.encryption_recipient,
       (CASE WHEN a.type = 'verify' THEN sn.manifest_json END)::jsonb AS snapshot_manifest,
       sk.id AS identity_id, sk.encrypted_private_key AS identity_ciphertext, sk.key_id AS identity_key_id
FROM attempt a
JOIN sources s ON s.tenant_id = a.tenant_id AND s.id = a.source_id
-- A key that nobody has shown to have an identity is none to seal to.
LEFT JOIN tenant_keys k ON k.tenant_id = a.tenant_id AND k.key_status = 'active' AND NOT k.identity_missing
LEFT JOIN credentials c ON c.tenant_id = a.tenant_id AND c.id = s.credential_id
-- What reads a snapshot gets the identity that it was sealed to.
LEFT JOIN snapshots sn ON a.type IN ('restore', 'verify') AND sn.tenant_id = a.tenant_id AND sn.id = a.snapshot_id
LEFT JOIN tenant_keys sk ON sk.tenant_id = sn.tenant_id AND sk.id = sn.encryption_key_id;

-- name: ClaimState :one
-- Why a claim was not granted.
SELECT status, claim_id, worker_id, worker_incarnation FROM jobs WHERE id = $1;

-- name: LeasedCredential :one
-- A source's credential, only for a worker that holds a lease on a job that uses it.
SELECT c.* FROM credentials c
WHERE c.id = sqlc.arg(credential_id) AND EXISTS (
    SELECT 1 FROM jobs j JOIN sources s ON s.tenant_id = j.tenant_id AND s.id = j.source_id
    WHERE j.worker_id = sqlc.arg(worker_id) AND j.worker_incarnation = sqlc.arg(incarnation)
      AND j.status IN ('running', 'finalizing') AND j.lease_expires_at > xvault_now()
      AND s.tenant_id = c.tenant_id AND c.id IN (s.credential_id, s.ssh_credential_id));

-- name: LockPinnedHostKeys :one
-- The source of a current attempt, locked, so that one first key wins.
SELECT s.id, s.tenant_id, s.pinned_host_keys,
       coalesce(coalesce(s.config -> 'ssh', s.config) -> 'trust_on_first_use' = 'true'::jsonb, false)::boolean AS trust_on_first_use
FROM jobs j JOIN sources s ON s.tenant_id = j.tenant_id AND s.id = j.source_id
WHERE j.id = sqlc.arg(job_id) AND j.attempt = sqlc.arg(attempt) AND j.worker_id = sqlc.arg(worker_id)
  AND j.worker_incarnation = sqlc.arg(incarnation) AND j.status = 'running'
FOR UPDATE OF s;

-- name: PinHostKey :exec
UPDATE sources SET pinned_host_keys = ARRAY[sqlc.arg(key)::text], updated_at = xvault_now() WHERE id = $1;
