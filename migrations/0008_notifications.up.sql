-- Signals: what happened that someone should know (events), what lasts until it
-- is over (alerts), who wants to know (channels), and what is on its way to whom
-- (notifications).

-- A UUIDv7 of the catalog's own time.
CREATE FUNCTION xvault_new_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_byte(b, 6, (get_byte(b, 6) & 15) | 112), 'hex')::uuid
    FROM (SELECT substring(int8send((extract(epoch FROM xvault_now()) * 1000)::bigint) FROM 3)
                 || substring(uuid_send(gen_random_uuid()) FROM 7) AS b) made
$$;

-- How long nothing may have succeeded; NULL: nobody minds. The count begins with
-- the last good backup or, where there is none since, when the objective was set.
ALTER TABLE sources
    ADD COLUMN max_age_hours integer CHECK (max_age_hours BETWEEN 1 AND 87600),
    ADD COLUMN max_age_since timestamptz,
    -- When to look next: it cannot be exceeded before.
    ADD COLUMN max_age_check timestamptz,
    ADD CONSTRAINT sources_max_age CHECK ((max_age_hours IS NULL) = (max_age_check IS NULL) AND (max_age_hours IS NULL) = (max_age_since IS NULL));
CREATE INDEX sources_max_age_check ON sources (max_age_check) WHERE max_age_hours IS NOT NULL AND status = 'active';

-- What is wrong just now, from its first event until it is over: one row an
-- episode, so that what flaps is told of once.
CREATE TABLE alerts (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL CHECK (kind IN ('backup', 'max_age', 'worker_offline', 'storage_nearly_full')),
    tenant_id  uuid REFERENCES tenants (id) ON DELETE CASCADE, -- NULL: the operator's
    source_id  uuid REFERENCES sources (id) ON DELETE CASCADE,
    worker_id  text REFERENCES workers (id) ON DELETE CASCADE,
    opened_at  timestamptz NOT NULL DEFAULT xvault_now(),
    -- Since when it looks as if it were over.
    calm_since timestamptz,
    CHECK ((source_id IS NULL) <> (worker_id IS NULL)),
    CHECK ((source_id IS NULL) = (tenant_id IS NULL))
);
CREATE UNIQUE INDEX alerts_of_source ON alerts (source_id, kind) WHERE source_id IS NOT NULL;
CREATE UNIQUE INDEX alerts_of_worker ON alerts (worker_id, kind) WHERE worker_id IS NOT NULL;

CREATE TABLE notification_channels (
    id            uuid PRIMARY KEY,
    tenant_id     uuid REFERENCES tenants (id) ON DELETE CASCADE, -- NULL: the operator's, for all tenants
    name          text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    kind          text NOT NULL CHECK (kind IN ('email', 'webhook', 'slack', 'telegram', 'ping')),
    config        jsonb NOT NULL CHECK (jsonb_typeof(config) = 'object'), -- what may be shown of it
    ciphertext    bytea NOT NULL,                                         -- and what may not, enveloped
    key_id        text NOT NULL REFERENCES encryption_keys (key_id),
    events        text[] NOT NULL CHECK (cardinality(events) > 0),
    source_ids    uuid[] NOT NULL DEFAULT '{}',                           -- none: all
    enabled       boolean NOT NULL DEFAULT true,
    wants_success boolean NOT NULL DEFAULT false,                         -- each good backup is an event for it
    -- When to look for something to send: NULL while there is nothing. In a turn of
    -- a hub it is the end of its lease, after failures the end of a pause.
    due_at        timestamptz,
    failures      integer NOT NULL DEFAULT 0 CHECK (failures >= 0),       -- in a row
    created_at    timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at    timestamptz NOT NULL DEFAULT xvault_now()
);
CREATE INDEX notification_channels_by_tenant ON notification_channels (tenant_id, id DESC);
CREATE INDEX notification_channels_by_key ON notification_channels (key_id, id);
CREATE INDEX notification_channels_due ON notification_channels (due_at) WHERE enabled AND due_at IS NOT NULL;
-- A backup that completes asks for it.
CREATE INDEX notification_channels_success ON notification_channels (tenant_id) WHERE enabled AND wants_success;

-- Written in the transaction that makes it true; event_key says what it tells of,
-- so that nothing is told twice.
CREATE TABLE notification_events (
    id         uuid PRIMARY KEY,
    tenant_id  uuid REFERENCES tenants (id) ON DELETE CASCADE, -- NULL: the operator's
    event_key  text NOT NULL UNIQUE,
    kind       text NOT NULL,
    -- No foreign keys: it is told of what is gone since, too.
    source_id  uuid,
    job_id     uuid,
    snapshot_id uuid,
    worker_id  text,
    detail     jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object'),
    handed_out boolean NOT NULL DEFAULT false, -- its notifications are made
    created_at timestamptz NOT NULL DEFAULT xvault_now()
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX notification_events_new ON notification_events (id) WHERE NOT handed_out;
CREATE INDEX notification_events_by_tenant ON notification_events (tenant_id);

-- One event on its way through one channel.
CREATE TABLE notifications (
    id          uuid PRIMARY KEY,
    tenant_id   uuid REFERENCES tenants (id) ON DELETE CASCADE, -- the channel's
    event_id    uuid NOT NULL REFERENCES notification_events (id) ON DELETE CASCADE,
    channel_id  uuid NOT NULL REFERENCES notification_channels (id) ON DELETE CASCADE,
    status      text NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'sent', 'failed')),
    attempts    integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_try_at timestamptz NOT NULL DEFAULT xvault_now(), -- while it is being sent: the end of the lease
    last_error  text NOT NULL DEFAULT '' CHECK (length(last_error) <= 1000),
    sent_at     timestamptz,
    created_at  timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at  timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (event_id, channel_id),
    CHECK ((status = 'sent') = (sent_at IS NOT NULL))
) WITH (autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX notifications_pending ON notifications (channel_id, next_try_at) WHERE status = 'pending';
CREATE INDEX notifications_by_channel ON notifications (channel_id, id DESC);
CREATE INDEX notifications_by_tenant ON notifications (tenant_id, id DESC);
CREATE INDEX notifications_failed ON notifications (id DESC) WHERE status = 'failed';
