-- Download tickets: signed by the hub, shown to a worker, redeemed at the hub.

-- The pairs that sign them; the private half is enveloped like any other secret.
CREATE TABLE ticket_keys (
    id                    uuid PRIMARY KEY,
    public_key            bytea NOT NULL CHECK (length(public_key) = 32), -- Ed25519
    encrypted_private_key bytea NOT NULL,
    key_id                text NOT NULL REFERENCES encryption_keys (key_id),
    key_status            text NOT NULL CHECK (key_status IN ('active', 'retired')),
    created_at            timestamptz NOT NULL DEFAULT xvault_now()
);
CREATE UNIQUE INDEX ticket_keys_one_active ON ticket_keys (key_status) WHERE key_status = 'active';
CREATE INDEX ticket_keys_by_key ON ticket_keys (key_id, id);

-- What a ticket stands for. The ticket itself is not stored: it is these facts,
-- signed. One of a restore comes to life when its job completes; one that lists
-- a snapshot's files has no job.
CREATE TABLE tickets (
    id               uuid PRIMARY KEY,
    tenant_id        uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    kind             text NOT NULL CHECK (kind IN ('download', 'files')),
    snapshot_id      uuid NOT NULL,
    job_id           uuid UNIQUE,
    worker_id        text NOT NULL, -- no foreign key: the row outlives a removed worker
    selection        bytea NOT NULL CHECK (length(selection) = 32), -- SHA-256 of what it gives
    ttl_seconds      integer NOT NULL CHECK (ttl_seconds > 0),
    revoked_at       timestamptz,
    redeemed         bigint NOT NULL DEFAULT 0,
    last_redeemed_at timestamptz,
    created_at       timestamptz NOT NULL DEFAULT xvault_now(),
    CHECK ((kind = 'download') = (job_id IS NOT NULL)),
    FOREIGN KEY (tenant_id, job_id) REFERENCES jobs (tenant_id, id) ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, snapshot_id) REFERENCES snapshots (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX tickets_by_snapshot ON tickets (tenant_id, snapshot_id);
CREATE INDEX tickets_by_age ON tickets (created_at) WHERE kind = 'files';
