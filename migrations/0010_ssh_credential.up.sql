-- A source that is reached through another machine: that one's credential, which
-- the configuration names; and how many backups run at once is limited there: the
-- host of the source itself may be 127.0.0.1, as it is for everybody.
ALTER TABLE sources
    ADD COLUMN ssh_credential_id uuid GENERATED ALWAYS AS ((config #>> '{ssh,credential_id}')::uuid) STORED,
    ADD FOREIGN KEY (tenant_id, ssh_credential_id) REFERENCES credentials (tenant_id, id),
    DROP COLUMN host,
    ADD COLUMN host text GENERATED ALWAYS AS (lower(coalesce(config #>> '{ssh,host}', config ->> 'host'))) STORED;
CREATE INDEX sources_by_ssh_credential ON sources (tenant_id, ssh_credential_id) WHERE ssh_credential_id IS NOT NULL;
