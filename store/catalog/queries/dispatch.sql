-- name: DispatchQueues :many
-- Which queues have something to hand out and room for it. Twice as many
-- deliveries as there are live slots stand in Redis, those being worked on
-- included; while no worker is up one slot is assumed.
WITH busy AS (
    SELECT b.queue, count(*) AS n FROM (
        SELECT d.queue FROM jobs d WHERE d.status = 'queued' AND d.dispatched_at IS NOT NULL
        UNION ALL
        SELECT r.queue FROM jobs r WHERE r.status IN ('running', 'finalizing')
    ) b GROUP BY b.queue
), lanes AS (
    SELECT 'backup'::text AS queue, coalesce(sum(w.slots), 0) AS slots FROM workers w
    WHERE w.status = 'online' AND NOT w.drain_requested AND w.storage_state = 'ok'
    UNION ALL
    SELECT 'worker:' || w.id, w.slots FROM workers w WHERE w.status = 'online' AND NOT w.drain_requested
)
SELECT l.queue::text AS queue, (2 * greatest(l.slots, 1) - coalesce(b.n, 0))::integer AS room
FROM lanes l LEFT JOIN busy b ON b.queue = l.queue
WHERE 2 * greatest(l.slots, 1) > coalesce(b.n, 0)
  AND EXISTS (SELECT 1 FROM jobs j WHERE j.queue = l.queue AND j.status = 'queued' AND j.dispatched_at IS NULL);

-- name: TenantsInTurn :many
-- Up to max_tenants tenants with something undispatched in the queue, in the
-- order of their ids from behind the one given: one step in jobs_undispatched
-- for each tenant, however many jobs it has.
WITH RECURSIVE turn AS (
    (SELECT j.tenant_id, 1 AS place FROM jobs j
     WHERE j.queue = sqlc.arg(queue) AND j.status = 'queued' AND j.dispatched_at IS NULL AND j.tenant_id > sqlc.arg(after)::uuid
     ORDER BY j.tenant_id LIMIT 1)
    UNION ALL
    SELECT next.tenant_id, turn.place + 1
    FROM turn CROSS JOIN LATERAL (
        SELECT j.tenant_id FROM jobs j
        WHERE j.queue = sqlc.arg(queue) AND j.status = 'queued' AND j.dispatched_at IS NULL AND j.tenant_id > turn.tenant_id
        ORDER BY j.tenant_id LIMIT 1) next
    WHERE turn.place < sqlc.arg(max_tenants)::integer
)
SELECT turn.tenant_id::uuid AS tenant_id FROM turn ORDER BY turn.place;

-- name: BusyJobs :many
-- What of the queue is in Redis or at work.
SELECT b.tenant_id, b.source_id, b.type,
       -- By a subselect here and below, so that no table is ever read as a whole.
       coalesce((SELECT s.host FROM sources s WHERE s.id = b.source_id), '')::text AS host
FROM (
    SELECT d.tenant_id, d.source_id, d.type FROM jobs d
    WHERE d.status = 'queued' AND d.dispatched_at IS NOT NULL AND d.queue = sqlc.arg(queue)
    UNION ALL
    SELECT r.tenant_id, r.source_id, r.type FROM jobs r WHERE r.status IN ('running', 'finalizing') AND r.queue = sqlc.arg(queue)
) b;

-- name: WaitingJobs :many
-- The first jobs of each tenant that are due; without verifications where there
-- is no room for one, so that many of them do not hide what stands behind.
SELECT t.tenant_id::uuid AS tenant_id, j.id, j.source_id, j.type, j.priority, j.run_after,
       coalesce((SELECT s.host FROM sources s WHERE s.id = j.source_id), '')::text AS host
FROM unnest(sqlc.arg(tenants)::uuid[]) AS t(tenant_id)
CROSS JOIN LATERAL (
    SELECT j.id, j.source_id, j.type, j.priority, j.run_after FROM jobs j
    WHERE j.queue = sqlc.arg(queue) AND j.tenant_id = t.tenant_id AND j.status = 'queued' AND j.dispatched_at IS NULL
      AND j.run_after <= xvault_now() AND (j.type <> 'verify' OR NOT sqlc.arg(no_verify)::boolean)
    ORDER BY j.priority DESC, j.run_after, j.id
    LIMIT sqlc.arg(depth)::integer) j;

-- name: OtherWaitingBackups :many
-- The next backup of some of the tenants' sources, from anywhere among them on.
SELECT t.tenant_id::uuid AS tenant_id, j.id, j.source_id, j.type, j.priority, j.run_after,
       coalesce((SELECT s.host FROM sources s WHERE s.id = j.source_id), '')::text AS host
FROM (SELECT u.tenant_id, xvault_waiting_sources(u.tenant_id, sqlc.arg(sources)::integer) AS id
      FROM unnest(sqlc.arg(tenants)::uuid[]) AS u(tenant_id)) t
CROSS JOIN LATERAL (SELECT w.id, w.source_id, w.type, w.priority, w.run_after FROM jobs w WHERE w.id = t.id LIMIT 1) j;

-- name: SendJobs :many
-- Commits a new sequence for each of these jobs that still waits, before
-- anything is enqueued.
WITH chosen AS (
    SELECT c.id, c.place FROM unnest(sqlc.arg(ids)::uuid[]) WITH ORDINALITY AS c(id, place)
), locked AS (
    -- By id alone, and looked at when it is locked: a condition that fits
    -- jobs_undispatched would tempt the planner to read all of that index for
    -- each job, for it looks empty whenever a backlog is younger than the
    -- statistics.
    SELECT c.place, l.id, l.status, l.dispatched_at FROM chosen c CROSS JOIN LATERAL (
        SELECT j.id, j.status, j.dispatched_at FROM jobs j WHERE j.id = c.id FOR UPDATE SKIP LOCKED) l
), sent AS (
    UPDATE jobs j SET dispatch_seq = j.dispatch_seq + 1, dispatched_at = xvault_now()
    FROM locked WHERE j.id = locked.id AND locked.status = 'queued' AND locked.dispatched_at IS NULL
    RETURNING j.id, j.dispatch_seq, j.tenant_id, locked.place
)
SELECT sent.id, sent.dispatch_seq, sent.tenant_id FROM sent ORDER BY sent.place;

-- name: Undispatch :many
-- Takes back deliveries that did not reach Redis, or are no longer there, so
-- that the dispatcher hands the jobs out again with their next sequence.
UPDATE jobs j SET dispatched_at = NULL
FROM (SELECT unnest(sqlc.arg(ids)::uuid[]) AS id, unnest(sqlc.arg(seqs)::bigint[]) AS seq) d
WHERE j.id = d.id AND j.dispatch_seq = d.seq AND j.status = 'queued' AND j.dispatched_at IS NOT NULL
RETURNING j.id;

-- name: Dispatched :many
-- What should stand in Redis, the oldest of each queue first.
SELECT j.id, j.queue, j.dispatch_seq,
       (extract(epoch FROM xvault_now() - j.dispatched_at) * 1000)::bigint AS age_ms
FROM jobs j
WHERE j.status = 'queued' AND j.dispatched_at IS NOT NULL
  AND j.dispatched_at <= xvault_now() - make_interval(secs => sqlc.arg(min_age_seconds)::float8)
ORDER BY j.queue, j.dispatched_at LIMIT sqlc.arg(max_rows);
