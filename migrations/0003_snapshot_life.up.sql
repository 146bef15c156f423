-- The life of a snapshot after it was made: suspicion, retention, deletion.
ALTER TABLE snapshots
    -- Why it was called suspicious; it stays when someone accepts it.
    ADD COLUMN suspicion     text NOT NULL DEFAULT '' CHECK (length(suspicion) <= 1000),
    ADD COLUMN accepted_at   timestamptz,
    -- Since when its files are not on its storage, though that is there.
    ADD COLUMN missing_since timestamptz,
    -- Of a deletion: what it was before, who wanted it, from when on a worker
    -- may begin, and when it had happened. Taking it back clears them.
    ADD COLUMN deleting_from text CHECK (deleting_from IN ('completed', 'partial', 'suspicious', 'corrupt', 'failed')),
    ADD COLUMN delete_cause  text CHECK (delete_cause IN ('retention', 'request')),
    ADD COLUMN delete_after  timestamptz,
    ADD COLUMN deleted_at    timestamptz;
-- deletions that are due
CREATE INDEX snapshots_deleting ON snapshots (delete_after) WHERE status = 'deleting';

-- When retention last looked at the source.
ALTER TABLE sources ADD COLUMN retained_at timestamptz;

-- What reads or deletes a snapshot. A backup's snapshot_id is what it made.
CREATE INDEX jobs_by_snapshot ON jobs (snapshot_id, type) WHERE type <> 'backup' AND snapshot_id IS NOT NULL;

-- What the worker's last comparison of its storage with the catalog found.
ALTER TABLE workers
    ADD COLUMN swept_at            timestamptz,
    ADD COLUMN sweep_snapshots     bigint NOT NULL DEFAULT 0, -- on the storage
    ADD COLUMN sweep_orphans       bigint NOT NULL DEFAULT 0, -- of them unknown here
    ADD COLUMN sweep_orphan_bytes  bigint NOT NULL DEFAULT 0,
    ADD COLUMN sweep_missing       bigint NOT NULL DEFAULT 0, -- known here and not on it
    ADD COLUMN sweep_removed       bigint NOT NULL DEFAULT 0, -- orphans removed, ever
    ADD COLUMN sweep_removed_bytes bigint NOT NULL DEFAULT 0;
