ALTER TABLE sources DROP COLUMN bandwidth;
