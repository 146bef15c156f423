-- Restore drills: the dumps of a snapshot are loaded into a scratch server.
ALTER TABLE snapshots
    -- When a drill last passed.
    ADD COLUMN drilled_at timestamptz,
    -- What it was before a drill that failed called it suspicious: one that passes
    -- gives that back, and so does a person who accepts it.
    ADD COLUMN drill_from text CHECK (drill_from IN ('completed', 'partial'));
ALTER TABLE sources
    DROP CONSTRAINT sources_verify_kind_check,
    ADD CONSTRAINT sources_verify_kind_check CHECK (verify_kind IN ('quick', 'full', 'drill'));
