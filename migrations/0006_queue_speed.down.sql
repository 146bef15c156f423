DROP INDEX snapshots_accepted;
DROP FUNCTION xvault_may_delete(uuid, uuid);
ALTER TABLE jobs ADD CONSTRAINT jobs_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES tenants (id) ON DELETE CASCADE;
ALTER TABLE snapshots
    ADD CONSTRAINT snapshots_status_check
        CHECK (status IN ('completed', 'partial', 'suspicious', 'corrupt', 'failed', 'deleting', 'deleted')),
    ADD CONSTRAINT snapshots_size_bytes_check CHECK (size_bytes >= 0),
    ADD CONSTRAINT snapshots_duration_ms_check CHECK (duration_ms >= 0),
    ADD CONSTRAINT snapshots_manifest_json_check CHECK (jsonb_typeof(manifest_json) = 'object'),
    ADD CONSTRAINT snapshots_artifact_sha256_check CHECK (artifact_sha256 ~ '^[0-9a-f]{64}$'),
    ADD CONSTRAINT snapshots_encryption_algorithm_check CHECK (encryption_algorithm = 'age-x25519'),
    ADD CONSTRAINT snapshots_encryption_recipient_check CHECK (encryption_recipient LIKE 'age1%'),
    ADD CONSTRAINT snapshots_storage_backend_check CHECK (storage_backend IN ('local_fs', 's3')),
    ADD CONSTRAINT snapshots_note_check CHECK (length(note) <= 2000),
    ADD CONSTRAINT snapshots_suspicion_check CHECK (length(suspicion) <= 1000),
    ADD CONSTRAINT snapshots_deleting_from_check
        CHECK (deleting_from IN ('completed', 'partial', 'suspicious', 'corrupt', 'failed')),
    ADD CONSTRAINT snapshots_delete_cause_check CHECK (delete_cause IN ('retention', 'request')),
    ADD CONSTRAINT snapshots_check CHECK (CASE storage_backend
           WHEN 'local_fs' THEN worker_id IS NOT NULL AND local_path LIKE '/%'
           ELSE bucket IS NOT NULL AND object_key IS NOT NULL END),
    DROP CONSTRAINT snapshots_fits;
DROP FUNCTION xvault_snapshot_fits(snapshots);
ALTER TABLE jobs
    ADD CONSTRAINT jobs_type_check CHECK (type IN ('backup', 'restore', 'delete_snapshot', 'verify', 'probe')),
    ADD CONSTRAINT jobs_status_check CHECK (status IN ('queued', 'running', 'finalizing', 'completed', 'failed', 'canceled')),
    ADD CONSTRAINT jobs_priority_check CHECK (priority BETWEEN 0 AND 9),
    ADD CONSTRAINT jobs_payload_check CHECK (jsonb_typeof(payload) = 'object'),
    ADD CONSTRAINT jobs_attempt_check CHECK (attempt >= 0),
    ADD CONSTRAINT jobs_failures_check CHECK (failures >= 0),
    ADD CONSTRAINT jobs_max_attempts_check CHECK (max_attempts > 0),
    ADD CONSTRAINT jobs_attempt_outcome_check CHECK (attempt_outcome IN ('completed', 'failed', 'canceled', 'released', 'lost')),
    ADD CONSTRAINT jobs_check CHECK ((status IN ('running', 'finalizing')) = (lease_expires_at IS NOT NULL)),
    ADD CONSTRAINT jobs_check1 CHECK (status NOT IN ('running', 'finalizing')
           OR (worker_id IS NOT NULL AND worker_incarnation IS NOT NULL AND claim_id IS NOT NULL
               AND started_at IS NOT NULL AND attempt_outcome IS NULL)),
    ADD CONSTRAINT jobs_check2 CHECK (status <> 'finalizing' OR NOT cancel_requested),
    ADD CONSTRAINT jobs_check3 CHECK ((status IN ('completed', 'failed', 'canceled')) = (finished_at IS NOT NULL)),
    ADD CONSTRAINT jobs_error_message_check CHECK (length(error_message) <= 4000),
    DROP CONSTRAINT jobs_fits;
DROP FUNCTION xvault_job_fits(jobs);
