-- How many bytes a second may pass between a worker and a source, by the hours of
-- the day; NULL: no limit.
ALTER TABLE sources ADD COLUMN bandwidth jsonb CHECK (jsonb_typeof(bandwidth) = 'object');
