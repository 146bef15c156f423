-- The catalog: the only truth about tenants, sources, jobs and snapshots.
-- Every timestamp and every comparison with "now" goes through xvault_now(),
-- so that a test can move the clock by replacing one function. It is STABLE
-- and of one expression, so that the planner inlines it and indexes apply.
CREATE FUNCTION xvault_now() RETURNS timestamptz
    LANGUAGE sql STABLE AS $$ SELECT statement_timestamp() $$;

CREATE TABLE tenants (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    plan       text NOT NULL DEFAULT 'standard' CHECK (length(plan) BETWEEN 1 AND 64),
    created_at timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at timestamptz NOT NULL DEFAULT xvault_now()
);

CREATE TABLE users (
    id            uuid PRIMARY KEY,
    tenant_id     uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    email         text NOT NULL CHECK (email = lower(email) AND position('@' IN email) > 1 AND length(email) <= 320),
    password_hash text NOT NULL,
    role          text NOT NULL CHECK (role IN ('owner', 'admin', 'member')),
    created_at    timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at    timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (email),
    UNIQUE (tenant_id, id)
);

-- One row for each key-encryption key that ever sealed a secret of this
-- catalog. The canary proves that the key at hand is that key.
CREATE TABLE encryption_keys (
    key_id     text PRIMARY KEY CHECK (length(key_id) BETWEEN 1 AND 64),
    kind       text NOT NULL CHECK (kind IN ('raw', 'passphrase')),
    salt       bytea,
    canary     bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT xvault_now(),
    CHECK ((kind = 'passphrase') = (salt IS NOT NULL))
);

CREATE TABLE credentials (
    id          uuid PRIMARY KEY,
    tenant_id   uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    name        text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    kind        text NOT NULL CHECK (kind IN ('source', 'storage')),
    secret_type text NOT NULL CHECK (secret_type IN ('password', 'private_key')),
    ciphertext  bytea NOT NULL,
    key_id      text NOT NULL REFERENCES encryption_keys (key_id),
    created_at  timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at  timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (tenant_id, id)
);
CREATE INDEX credentials_by_key ON credentials (key_id, id);

CREATE TABLE tenant_keys (
    id                    uuid PRIMARY KEY,
    tenant_id             uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    algorithm             text NOT NULL CHECK (algorithm = 'age-x25519'),
    public_key            text NOT NULL CHECK (public_key LIKE 'age1%'),
    encrypted_private_key bytea NOT NULL,
    key_id                text NOT NULL REFERENCES encryption_keys (key_id),
    key_status            text NOT NULL CHECK (key_status IN ('active', 'rotated', 'disabled')),
    created_at            timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at            timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (tenant_id, id)
);
CREATE UNIQUE INDEX tenant_keys_one_active ON tenant_keys (tenant_id) WHERE key_status = 'active';
CREATE INDEX tenant_keys_by_key ON tenant_keys (key_id, id);

CREATE TABLE sources (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    type             text NOT NULL CHECK (type IN ('sftp', 'ssh', 'ftp', 'mysql', 'postgres', 'wordpress')),
    name             text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    config           jsonb NOT NULL CHECK (jsonb_typeof(config) = 'object'),
    credential_id    uuid,
    status           text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'disabled')),
    -- Host keys that were trusted on first use, as public key lines. Emptied
    -- when the configuration names another host.
    pinned_host_keys text[] NOT NULL DEFAULT '{}',
    created_at       timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at       timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (tenant_id, id),
    FOREIGN KEY (tenant_id, credential_id) REFERENCES credentials (tenant_id, id)
);
CREATE INDEX sources_by_credential ON sources (tenant_id, credential_id);

CREATE TABLE schedules (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL,
    source_id        uuid NOT NULL,
    cron             text,
    interval_minutes integer CHECK (interval_minutes > 0),
    timezone         text NOT NULL DEFAULT 'UTC',
    enabled          boolean NOT NULL DEFAULT true,
    retention_policy jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(retention_policy) = 'object'),
    created_at       timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at       timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (tenant_id, id),
    CHECK ((cron IS NULL) <> (interval_minutes IS NULL)),
    FOREIGN KEY (tenant_id, source_id) REFERENCES sources (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX schedules_by_source ON schedules (tenant_id, source_id);

CREATE TABLE workers (
    id                text PRIMARY KEY CHECK (id ~ '^[A-Za-z0-9_-]{1,64}$'),
    name              text NOT NULL DEFAULT '',
    version           text NOT NULL DEFAULT '',
    status            text NOT NULL CHECK (status IN ('online', 'offline', 'draining')),
    -- What the operator asked for; the worker learns of it with a heartbeat.
    drain_requested   boolean NOT NULL DEFAULT false,
    capabilities      jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(capabilities) = 'object'),
    storage_base_path text NOT NULL DEFAULT '',
    storage_id        uuid,
    storage_state     text NOT NULL DEFAULT 'ok' CHECK (storage_state IN ('ok', 'missing', 'foreign')),
    age_recipient     text NOT NULL CHECK (age_recipient LIKE 'age1%'),
    token_hash        bytea NOT NULL,
    -- Of the registration that made the current token, until that token is first used.
    registration_hash bytea,
    -- Counts the starts of this worker; the earlier one's token and leases end with it.
    incarnation       bigint NOT NULL DEFAULT 1,
    public_url        text NOT NULL DEFAULT '',
    slots             integer NOT NULL DEFAULT 0 CHECK (slots >= 0),
    slots_busy        integer NOT NULL DEFAULT 0 CHECK (slots_busy >= 0),
    disk_free_bytes   bigint NOT NULL DEFAULT 0,
    disk_total_bytes  bigint NOT NULL DEFAULT 0,
    last_seen_at      timestamptz NOT NULL DEFAULT xvault_now(),
    created_at        timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at        timestamptz NOT NULL DEFAULT xvault_now()
);
CREATE UNIQUE INDEX workers_token ON workers (token_hash);
CREATE INDEX workers_last_seen ON workers (last_seen_at) WHERE status <> 'offline';

-- Tokens of earlier incarnations, so that a superseded process is told so.
CREATE TABLE worker_past_tokens (
    token_hash  bytea PRIMARY KEY,
    worker_id   text NOT NULL REFERENCES workers (id) ON DELETE CASCADE,
    incarnation bigint NOT NULL,
    ended_at    timestamptz NOT NULL DEFAULT xvault_now()
);
CREATE UNIQUE INDEX worker_past_tokens_by_worker ON worker_past_tokens (worker_id, incarnation);

CREATE TABLE jobs (
    id                 uuid PRIMARY KEY,
    tenant_id          uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    source_id          uuid NOT NULL,
    type               text NOT NULL CHECK (type IN ('backup', 'restore', 'delete_snapshot', 'verify', 'probe')),
    status             text NOT NULL DEFAULT 'queued'
                       CHECK (status IN ('queued', 'running', 'finalizing', 'completed', 'failed', 'canceled')),
    priority           smallint NOT NULL DEFAULT 5 CHECK (priority BETWEEN 0 AND 9), -- 9 goes first
    payload            jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(payload) = 'object'),
    -- The one worker that can do it; NULL: any. No foreign key: the row outlives a removed worker.
    target_worker_id   text,

    -- dispatch: the row is its own outbox
    queue              text NOT NULL GENERATED ALWAYS AS
                       (CASE WHEN target_worker_id IS NULL THEN 'backup' ELSE 'worker:' || target_worker_id END) STORED,
    dispatch_seq       bigint NOT NULL DEFAULT 0,
    dispatched_at      timestamptz,
    run_after          timestamptz NOT NULL DEFAULT xvault_now(),

    -- the current attempt, or the last one
    attempt            integer NOT NULL DEFAULT 0 CHECK (attempt >= 0), -- the fencing token: only ever grows
    failures           integer NOT NULL DEFAULT 0 CHECK (failures >= 0), -- attempts that failed; one that was handed back did not
    max_attempts       integer NOT NULL DEFAULT 5 CHECK (max_attempts > 0),
    claim_id           uuid,
    worker_id          text,
    worker_incarnation bigint,
    lease_expires_at   timestamptz,
    cancel_requested   boolean NOT NULL DEFAULT false,
    attempt_snapshot_id uuid,          -- made fresh with each claim of a backup
    -- How the last attempt ended, in the worker's words or because it was lost:
    -- what the worker says again is told from what comes too late.
    attempt_outcome    text CHECK (attempt_outcome IN ('completed', 'failed', 'canceled', 'released', 'lost')),
    progress           jsonb,

    -- the outcome
    snapshot_id        uuid,           -- the snapshot that it made, or works on
    result             jsonb,
    error_code         text,
    error_message      text,
    created_at         timestamptz NOT NULL DEFAULT xvault_now(),
    started_at         timestamptz,    -- the last claim
    finished_at        timestamptz,
    updated_at         timestamptz NOT NULL DEFAULT xvault_now(),

    UNIQUE (tenant_id, id), -- serves a tenant's list too, newest first: UUIDv7 sorts by time
    FOREIGN KEY (tenant_id, source_id) REFERENCES sources (tenant_id, id) ON DELETE CASCADE,
    CHECK ((status IN ('running', 'finalizing')) = (lease_expires_at IS NOT NULL)),
    CHECK (status NOT IN ('running', 'finalizing')
           OR (worker_id IS NOT NULL AND worker_incarnation IS NOT NULL AND claim_id IS NOT NULL
               AND started_at IS NOT NULL AND attempt_outcome IS NULL)),
    CHECK (status <> 'finalizing' OR NOT cancel_requested),
    CHECK ((status IN ('completed', 'failed', 'canceled')) = (finished_at IS NOT NULL)),
    CHECK (length(error_message) <= 4000)
) WITH (
    -- A queue's rows change a few times each: vacuum long before a fifth of them is dead.
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_analyze_scale_factor = 0.02
);
-- dispatcher: not yet handed to Redis, in turn over tenants, by priority
CREATE INDEX jobs_undispatched ON jobs (queue, tenant_id, priority DESC, run_after, id)
    WHERE status = 'queued' AND dispatched_at IS NULL;
-- dispatcher and reconciler: handed to Redis and still queued
CREATE INDEX jobs_dispatched ON jobs (queue, dispatched_at) WHERE status = 'queued' AND dispatched_at IS NOT NULL;
-- reaper
CREATE INDEX jobs_leases ON jobs (lease_expires_at) WHERE status IN ('running', 'finalizing');
-- a worker's end
CREATE INDEX jobs_by_worker ON jobs (worker_id) WHERE status IN ('running', 'finalizing');
CREATE INDEX jobs_by_target ON jobs (target_worker_id) WHERE status = 'queued' AND target_worker_id IS NOT NULL;
-- lists, newest first
CREATE INDEX jobs_by_source ON jobs (tenant_id, source_id, id DESC);
CREATE INDEX jobs_by_status ON jobs (status, id DESC);
CREATE INDEX jobs_by_tenant_status ON jobs (tenant_id, status, id DESC);
CREATE INDEX jobs_by_type ON jobs (type, id DESC) WHERE type <> 'backup'; -- most are backups

CREATE TABLE snapshots (
    id                   uuid PRIMARY KEY,
    tenant_id            uuid NOT NULL,
    source_id            uuid NOT NULL,
    job_id               uuid NOT NULL,
    status               text NOT NULL CHECK (status IN ('completed', 'partial', 'suspicious', 'corrupt', 'failed', 'deleting', 'deleted')),
    size_bytes           bigint NOT NULL CHECK (size_bytes >= 0),
    started_at           timestamptz NOT NULL,
    finished_at          timestamptz NOT NULL,
    duration_ms          bigint NOT NULL CHECK (duration_ms >= 0),
    manifest_json        jsonb NOT NULL CHECK (jsonb_typeof(manifest_json) = 'object'),
    artifact_sha256      text NOT NULL CHECK (artifact_sha256 ~ '^[0-9a-f]{64}$'),
    encryption_algorithm text NOT NULL CHECK (encryption_algorithm = 'age-x25519'),
    encryption_key_id    uuid NOT NULL,
    encryption_recipient text NOT NULL CHECK (encryption_recipient LIKE 'age1%'),
    storage_backend      text NOT NULL CHECK (storage_backend IN ('local_fs', 's3')),
    worker_id            text,
    storage_id           uuid,
    local_path           text,
    bucket               text,
    object_key           text,
    etag                 text,
    hold                 boolean NOT NULL DEFAULT false,
    note                 text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    verified_at          timestamptz,
    created_at           timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at           timestamptz NOT NULL DEFAULT xvault_now(),
    UNIQUE (tenant_id, id), -- serves a tenant's list too
    UNIQUE (job_id), -- one winner a job
    FOREIGN KEY (tenant_id, source_id) REFERENCES sources (tenant_id, id),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id),
    FOREIGN KEY (tenant_id, encryption_key_id) REFERENCES tenant_keys (tenant_id, id),
    CHECK (CASE storage_backend
           WHEN 'local_fs' THEN worker_id IS NOT NULL AND local_path LIKE '/%'
           ELSE bucket IS NOT NULL AND object_key IS NOT NULL END)
);
CREATE INDEX snapshots_by_source ON snapshots (tenant_id, source_id, id DESC);
CREATE INDEX snapshots_by_worker ON snapshots (worker_id, id) WHERE storage_backend = 'local_fs';

-- The operator's rows have no tenant.
CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    tenant_id    uuid REFERENCES tenants (id) ON DELETE CASCADE,
    name         text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    secret_hash  bytea NOT NULL,
    expires_at   timestamptz,
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT xvault_now()
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id DESC);

-- No foreign keys: the trail outlives what it tells of.
CREATE TABLE audit_events (
    id          uuid PRIMARY KEY,
    tenant_id   uuid,
    actor_type  text NOT NULL CHECK (actor_type IN ('operator', 'api_key', 'worker', 'hub', 'command')),
    actor_id    text NOT NULL,
    action      text NOT NULL, -- "tenant.create", "tenant.export_key", ...
    object_type text NOT NULL,
    object_id   text NOT NULL,
    detail      jsonb NOT NULL DEFAULT '{}',
    remote_addr text NOT NULL DEFAULT '',
    request_id  text NOT NULL DEFAULT '',
    created_at  timestamptz NOT NULL DEFAULT xvault_now()
);
CREATE INDEX audit_events_by_tenant ON audit_events (tenant_id, id DESC);
CREATE INDEX audit_events_by_object ON audit_events (object_type, object_id, id DESC);

CREATE TABLE idempotency_keys (
    principal    text NOT NULL, -- the key that called
    key          text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL, -- method, path and body: the same key for something else is an error
    status       integer NOT NULL,
    body         json NOT NULL, -- not jsonb: a repetition gets the very bytes of the first answer
    created_at   timestamptz NOT NULL DEFAULT xvault_now(),
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);
