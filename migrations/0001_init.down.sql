DROP TABLE idempotency_keys, audit_events, api_keys, snapshots, jobs, worker_past_tokens, workers, schedules, sources, tenant_keys,
    credentials, encryption_keys, users, tenants;
DROP FUNCTION xvault_now();
