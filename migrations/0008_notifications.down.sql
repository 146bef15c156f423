DROP TABLE notifications, notification_events, notification_channels, alerts;
ALTER TABLE sources DROP COLUMN max_age_hours, DROP COLUMN max_age_since, DROP COLUMN max_age_check;
DROP FUNCTION xvault_new_id();
