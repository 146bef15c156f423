DROP TABLE import_items;
DROP TABLE imports;
ALTER TABLE tenant_keys DROP COLUMN identity_missing;
ALTER TABLE workers DROP COLUMN sweep_kept;
