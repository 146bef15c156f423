DROP FUNCTION xvault_waiting_sources(uuid, integer);
DROP INDEX jobs_undispatched_by_source;
DROP INDEX jobs_undispatched;
CREATE INDEX jobs_undispatched ON jobs (queue, tenant_id, priority DESC, run_after, id)
    WHERE status = 'queued' AND dispatched_at IS NULL;
DROP INDEX jobs_one_per_source;
ALTER TABLE jobs DROP COLUMN one_per_source;
ALTER TABLE sources DROP COLUMN host;
DROP TABLE schedule_slots;
DROP INDEX schedules_by_tenant;
DROP INDEX schedules_planned;
DROP INDEX schedules_due;
ALTER TABLE schedules
    DROP CONSTRAINT schedules_next,
    DROP CONSTRAINT schedules_timezone_length,
    DROP CONSTRAINT schedules_interval_most,
    DROP CONSTRAINT schedules_cron_length,
    DROP COLUMN last_job_id,
    DROP COLUMN planned_at,
    DROP COLUMN next_due,
    DROP COLUMN next_slot,
    DROP COLUMN anchor,
    DROP COLUMN run_window,
    DROP COLUMN jitter_seconds;
