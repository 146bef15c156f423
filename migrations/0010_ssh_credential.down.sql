ALTER TABLE sources
    DROP COLUMN ssh_credential_id,
    DROP COLUMN host,
    ADD COLUMN host text GENERATED ALWAYS AS (lower(config ->> 'host')) STORED;
