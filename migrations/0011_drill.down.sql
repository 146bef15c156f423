UPDATE sources SET verify_kind = 'full' WHERE verify_kind = 'drill';
ALTER TABLE sources
    DROP CONSTRAINT sources_verify_kind_check,
    ADD CONSTRAINT sources_verify_kind_check CHECK (verify_kind IN ('quick', 'full'));
ALTER TABLE snapshots DROP COLUMN drilled_at, DROP COLUMN drill_from;
