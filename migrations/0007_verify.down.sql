DROP INDEX jobs_verifying;
DROP INDEX sources_to_verify;
ALTER TABLE sources DROP CONSTRAINT sources_verify_due_check, DROP CONSTRAINT sources_reverify_due_check,
    DROP COLUMN verify_every_hours, DROP COLUMN reverify_after_hours, DROP COLUMN verify_kind, DROP COLUMN verify_due, DROP COLUMN reverify_due;
ALTER TABLE snapshots DROP COLUMN verify_result, DROP COLUMN fully_verified_at, DROP COLUMN verify_asked_at, DROP COLUMN corrupt_from;
