ALTER TABLE workers
    DROP COLUMN swept_at, DROP COLUMN sweep_snapshots, DROP COLUMN sweep_orphans, DROP COLUMN sweep_orphan_bytes,
    DROP COLUMN sweep_missing, DROP COLUMN sweep_removed, DROP COLUMN sweep_removed_bytes;
DROP INDEX jobs_by_snapshot;
ALTER TABLE sources DROP COLUMN retained_at;
DROP INDEX snapshots_deleting;
ALTER TABLE snapshots
    DROP COLUMN suspicion, DROP COLUMN accepted_at, DROP COLUMN missing_since, DROP COLUMN deleting_from,
    DROP COLUMN delete_cause, DROP COLUMN delete_after, DROP COLUMN deleted_at;
