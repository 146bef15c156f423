-- A catalog is rebuilt from what stands on the workers' storages.

-- Of what the last sweep found unknown: what is never removed, for it may be all
-- that is left of what another catalog knew.
ALTER TABLE workers ADD COLUMN sweep_kept bigint NOT NULL DEFAULT 0;

-- The key is known by its snapshots alone: what encrypted_private_key holds is
-- nothing, enveloped. Nothing that it sealed can be read through the hub until
-- someone brings the identity.
ALTER TABLE tenant_keys ADD COLUMN identity_missing boolean NOT NULL DEFAULT false;

-- An operator asked a worker to list its storage: one at a time for each.
CREATE TABLE imports (
    id         uuid PRIMARY KEY,
    worker_id  text NOT NULL UNIQUE REFERENCES workers (id) ON DELETE CASCADE,
    storage_id uuid,         -- that was listed
    listing_id uuid,         -- of the pages that are coming in; a worker that begins anew has another
    found      bigint NOT NULL DEFAULT 0,
    bytes      bigint NOT NULL DEFAULT 0,
    listed_at  timestamptz,  -- all pages are there
    problem    text NOT NULL DEFAULT '' CHECK (length(problem) <= 1000), -- why it is not all
    created_at timestamptz NOT NULL DEFAULT xvault_now(),
    updated_at timestamptz NOT NULL DEFAULT xvault_now()
);

-- What it found: as the worker says, and nothing of it is believed yet.
CREATE TABLE import_items (
    import_id      uuid NOT NULL REFERENCES imports (id) ON DELETE CASCADE,
    place          text COLLATE "C" NOT NULL CHECK (length(place) BETWEEN 1 AND 1000), -- below the storage's root
    tenant_id      uuid,
    source_id      uuid,
    snapshot_id    uuid, -- NULL: it is not named like a snapshot
    unconfirmed    boolean NOT NULL,
    artifact_bytes bigint NOT NULL, -- -1: there is none
    meta           bytea,
    manifest       bytea,
    problem        text NOT NULL DEFAULT '' CHECK (length(problem) <= 1000),
    PRIMARY KEY (import_id, place)
);
