-- Verification: stored snapshots are read again and held against what is known
-- of them, when someone asks and by a rhythm of their source.
ALTER TABLE snapshots
    -- What the last verification that came to a verdict found; verified_at is when.
    ADD COLUMN verify_result     jsonb,
    -- When a full one last found it whole.
    ADD COLUMN fully_verified_at timestamptz,
    -- When a rhythm last asked for a verification.
    ADD COLUMN verify_asked_at   timestamptz,
    -- What it was before it was called corrupt: a full verification that passes
    -- gives that back.
    ADD COLUMN corrupt_from      text CHECK (corrupt_from IN ('completed', 'partial', 'suspicious', 'failed'));

-- How often; NULL: never. Kind is how. The two times are when a hub acts on the
-- source next: for its newest good snapshot, and for those that were not
-- verified for reverify_after_hours.
ALTER TABLE sources
    ADD COLUMN verify_every_hours   integer CHECK (verify_every_hours BETWEEN 1 AND 87600),
    ADD COLUMN reverify_after_hours integer CHECK (reverify_after_hours BETWEEN 1 AND 87600),
    ADD COLUMN verify_kind          text NOT NULL DEFAULT 'quick' CHECK (verify_kind IN ('quick', 'full')),
    ADD COLUMN verify_due           timestamptz,
    ADD COLUMN reverify_due         timestamptz,
    ADD CONSTRAINT sources_verify_due_check CHECK ((verify_due IS NULL) = (verify_every_hours IS NULL)),
    ADD CONSTRAINT sources_reverify_due_check CHECK ((reverify_due IS NULL) = (reverify_after_hours IS NULL));
CREATE INDEX sources_to_verify ON sources (least(verify_due, reverify_due)) WHERE least(verify_due, reverify_due) IS NOT NULL;

-- One verification of a source at once, of those that its rhythm asks for.
CREATE INDEX jobs_verifying ON jobs (source_id) WHERE type = 'verify' AND status IN ('queued', 'running', 'finalizing');
