-- Schedules come to life. A slot is a moment at which a schedule wants a
-- backup; next_slot is the next one, next_due the moment at which a hub acts on
-- it, which jitter puts behind the slot.
ALTER TABLE schedules
    ADD COLUMN jitter_seconds integer NOT NULL DEFAULT 0 CHECK (jitter_seconds BETWEEN 0 AND 86400),
    -- Hours of the day in the schedule's zone, "22:00-06:00"; NULL: any.
    ADD COLUMN run_window  text CHECK (run_window ~ '^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-4]):[0-5][0-9]$'),
    -- Intervals count from here.
    ADD COLUMN anchor      timestamptz NOT NULL DEFAULT xvault_now(),
    ADD COLUMN next_slot   timestamptz, -- NULL: none, or not planned yet
    ADD COLUMN next_due    timestamptz,
    -- When next_slot was worked out. It lies ahead of now only where the clock
    -- went back, or where it was never done: a hub then does it anew.
    ADD COLUMN planned_at  timestamptz NOT NULL DEFAULT '9999-12-31 00:00:00+00',
    ADD COLUMN last_job_id uuid,        -- of the last slot that yielded one
    ADD CONSTRAINT schedules_cron_length CHECK (length(cron) BETWEEN 1 AND 200),
    ADD CONSTRAINT schedules_interval_most CHECK (interval_minutes <= 527040), -- a leap year
    ADD CONSTRAINT schedules_timezone_length CHECK (length(timezone) BETWEEN 1 AND 64),
    ADD CONSTRAINT schedules_next CHECK ((next_slot IS NULL) = (next_due IS NULL));
CREATE INDEX schedules_due ON schedules (next_due) WHERE enabled;
CREATE INDEX schedules_planned ON schedules (planned_at) WHERE enabled;
CREATE INDEX schedules_by_tenant ON schedules (tenant_id, id DESC);

-- What became of each slot: UNIQUE (schedule_id, slot) is what gives one job a
-- slot, however many hubs look at it, however often.
CREATE TABLE schedule_slots (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL,
    schedule_id uuid NOT NULL,
    slot        timestamptz NOT NULL,
    -- Of a row that stands for all slots of a long absence: the last of them.
    through     timestamptz CHECK (through > slot),
    outcome     text NOT NULL CHECK (outcome IN ('job', 'missed', 'skipped_overlap', 'skipped_disabled')),
    job_id      uuid, -- no foreign key: the row outlives the job
    created_at  timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (schedule_id, slot),
    CHECK ((outcome = 'job') = (job_id IS NOT NULL)),
    CHECK (through IS NULL OR outcome = 'missed'),
    FOREIGN KEY (tenant_id, schedule_id) REFERENCES schedules (tenant_id, id) ON DELETE CASCADE
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX schedule_slots_by_schedule ON schedule_slots (schedule_id, id DESC);

-- Limits on backups at once: of a host, and, beyond doubt, of a source.
ALTER TABLE sources ADD COLUMN host text GENERATED ALWAYS AS (lower(config ->> 'host')) STORED;
ALTER TABLE jobs ADD COLUMN one_per_source boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX jobs_one_per_source ON jobs (source_id)
    WHERE one_per_source AND status IN ('running', 'finalizing');
-- The limits are judged without a look at the rows themselves.
DROP INDEX jobs_undispatched;
CREATE INDEX jobs_undispatched ON jobs (queue, tenant_id, priority DESC, run_after, id) INCLUDE (source_id, type)
    WHERE status = 'queued' AND dispatched_at IS NULL;
-- The next backup of each source, past the many of another one.
CREATE INDEX jobs_undispatched_by_source ON jobs (tenant_id, source_id, priority DESC, run_after, id)
    WHERE status = 'queued' AND dispatched_at IS NULL AND type = 'backup' AND target_worker_id IS NULL;
-- The next backup, of those that are due, of up to so many of a tenant's sources, from
-- anywhere among them on: one step in the index for each, however many wait. The
-- place to begin is drawn from the first halves of the ids, where their times and
-- some of their randomness are.
CREATE FUNCTION xvault_waiting_sources(tenant uuid, most integer)
    RETURNS SETOF uuid LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE ends AS MATERIALIZED (
        SELECT ('x' || left(replace(min(e.source_id)::text, '-', ''), 16))::bit(64)::bigint::numeric AS lo,
               ('x' || left(replace(max(e.source_id)::text, '-', ''), 16))::bit(64)::bigint::numeric AS hi
        FROM ((SELECT l.source_id::text COLLATE "C" FROM jobs l WHERE l.tenant_id = tenant AND l.status = 'queued' AND l.dispatched_at IS NULL
                AND l.type = 'backup' AND l.target_worker_id IS NULL ORDER BY l.source_id LIMIT 1)
              UNION ALL
              (SELECT u.source_id::text COLLATE "C" FROM jobs u WHERE u.tenant_id = tenant AND u.status = 'queued' AND u.dispatched_at IS NULL
                AND u.type = 'backup' AND u.target_worker_id IS NULL ORDER BY u.source_id DESC LIMIT 1)) e
    ), start AS MATERIALIZED (
        SELECT (lpad(to_hex((lo + floor(random()::numeric * (hi - lo + 1)))::bigint), 16, '0') || '0000000000000000')::uuid AS at FROM ends
    ), step AS (
        (SELECT j.id, j.source_id, 1 AS n FROM jobs j
         WHERE j.tenant_id = tenant AND j.status = 'queued' AND j.dispatched_at IS NULL AND j.type = 'backup'
           AND j.target_worker_id IS NULL AND j.run_after <= xvault_now() AND j.source_id >= (SELECT start.at FROM start)
         ORDER BY j.source_id, j.priority DESC, j.run_after, j.id LIMIT 1)
        UNION ALL
        SELECT f.id, f.source_id, step.n + 1
        FROM step CROSS JOIN LATERAL (
            SELECT j.id, j.source_id FROM jobs j
            WHERE j.tenant_id = tenant AND j.status = 'queued' AND j.dispatched_at IS NULL AND j.type = 'backup'
              AND j.target_worker_id IS NULL AND j.run_after <= xvault_now() AND j.source_id > step.source_id
            ORDER BY j.source_id, j.priority DESC, j.run_after, j.id LIMIT 1) f
        WHERE step.n < most
    )
    SELECT step.id FROM step
$$;
