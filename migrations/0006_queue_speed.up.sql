-- What every job pays for, several times: the checks of its row, and its indexes.

-- The rules of a row, as CHECK constraints had them one by one. Postgres reads
-- each constraint from the catalog and plans it anew with every statement,
-- which took a third of a claim's time; a function it keeps. It looks at
-- nothing but the row, and takes all of it, so that a later column needs no
-- change here.
CREATE FUNCTION xvault_job_fits(j jobs) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN j.type IN ('backup', 'restore', 'delete_snapshot', 'verify', 'probe')
        AND j.status IN ('queued', 'running', 'finalizing', 'completed', 'failed', 'canceled')
        AND j.priority BETWEEN 0 AND 9
        AND jsonb_typeof(j.payload) = 'object'
        AND j.attempt >= 0 AND j.failures >= 0 AND j.max_attempts > 0
        AND (j.attempt_outcome IS NULL OR j.attempt_outcome IN ('completed', 'failed', 'canceled', 'released', 'lost'))
        AND (j.status IN ('running', 'finalizing')) = (j.lease_expires_at IS NOT NULL)
        AND (j.status NOT IN ('running', 'finalizing')
             OR (j.worker_id IS NOT NULL AND j.worker_incarnation IS NOT NULL AND j.claim_id IS NOT NULL
                 AND j.started_at IS NOT NULL AND j.attempt_outcome IS NULL))
        AND (j.status <> 'finalizing' OR NOT j.cancel_requested)
        AND (j.status IN ('completed', 'failed', 'canceled')) = (j.finished_at IS NOT NULL)
        AND (j.error_message IS NULL OR length(j.error_message) <= 4000);
END $$;
ALTER TABLE jobs
    ADD CONSTRAINT jobs_fits CHECK (xvault_job_fits(jobs)),
    DROP CONSTRAINT jobs_type_check, DROP CONSTRAINT jobs_status_check, DROP CONSTRAINT jobs_priority_check,
    DROP CONSTRAINT jobs_payload_check, DROP CONSTRAINT jobs_attempt_check, DROP CONSTRAINT jobs_failures_check,
    DROP CONSTRAINT jobs_max_attempts_check, DROP CONSTRAINT jobs_attempt_outcome_check,
    DROP CONSTRAINT jobs_check, DROP CONSTRAINT jobs_check1, DROP CONSTRAINT jobs_check2, DROP CONSTRAINT jobs_check3,
    DROP CONSTRAINT jobs_error_message_check;

CREATE FUNCTION xvault_snapshot_fits(s snapshots) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN s.status IN ('completed', 'partial', 'suspicious', 'corrupt', 'failed', 'deleting', 'deleted')
        AND s.size_bytes >= 0 AND s.duration_ms >= 0
        AND jsonb_typeof(s.manifest_json) = 'object'
        AND s.artifact_sha256 ~ '^[0-9a-f]{64}$'
        AND s.encryption_algorithm = 'age-x25519' AND s.encryption_recipient LIKE 'age1%'
        AND CASE s.storage_backend
            WHEN 'local_fs' THEN s.worker_id IS NOT NULL AND coalesce(s.local_path LIKE '/%', true)
            WHEN 's3' THEN s.bucket IS NOT NULL AND s.object_key IS NOT NULL
            ELSE false END
        AND length(s.note) <= 2000 AND length(s.suspicion) <= 1000
        AND (s.deleting_from IS NULL OR s.deleting_from IN ('completed', 'partial', 'suspicious', 'corrupt', 'failed'))
        AND (s.delete_cause IS NULL OR s.delete_cause IN ('retention', 'request'));
END $$;
ALTER TABLE snapshots
    ADD CONSTRAINT snapshots_fits CHECK (xvault_snapshot_fits(snapshots)),
    DROP CONSTRAINT snapshots_status_check, DROP CONSTRAINT snapshots_size_bytes_check,
    DROP CONSTRAINT snapshots_duration_ms_check, DROP CONSTRAINT snapshots_manifest_json_check,
    DROP CONSTRAINT snapshots_artifact_sha256_check, DROP CONSTRAINT snapshots_encryption_algorithm_check,
    DROP CONSTRAINT snapshots_encryption_recipient_check, DROP CONSTRAINT snapshots_storage_backend_check,
    DROP CONSTRAINT snapshots_note_check, DROP CONSTRAINT snapshots_suspicion_check,
    DROP CONSTRAINT snapshots_deleting_from_check, DROP CONSTRAINT snapshots_delete_cause_check, DROP CONSTRAINT snapshots_check;

-- That a job's tenant is there follows from its source, and a tenant's jobs go
-- with its sources.
ALTER TABLE jobs DROP CONSTRAINT jobs_tenant_id_fkey;

-- Whether a deletion may begin: the snapshot is still to be deleted, nothing
-- reads it, and retention takes no last good one, whatever became of the others
-- since. A function, so that other claims do not prepare for it.
CREATE FUNCTION xvault_may_delete(tenant uuid, snapshot uuid) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT 1 FROM snapshots d
        WHERE d.id = snapshot AND d.tenant_id = tenant AND d.status = 'deleting' AND NOT d.hold
          AND NOT EXISTS (SELECT 1 FROM jobs r WHERE r.snapshot_id = d.id AND r.type IN ('restore', 'verify') AND r.type <> 'backup'
                          AND r.status IN ('queued', 'running', 'finalizing'))
          AND (d.delete_cause = 'request' OR d.deleting_from <> 'completed'
               OR EXISTS (SELECT 1 FROM snapshots g WHERE g.tenant_id = d.tenant_id AND g.source_id = d.source_id
                          AND g.status = 'completed' AND g.missing_since IS NULL)))
$$;

-- The last snapshot of a source that someone accepted: a backup asks for it when
-- it completes, and there is seldom one.
CREATE INDEX snapshots_accepted ON snapshots (tenant_id, source_id, id) WHERE accepted_at IS NOT NULL;
