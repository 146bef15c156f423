-- name: TakeChannels :many
-- Channels that have something to send, the longest due first, for a turn of one
-- hub. Those that this hub is busy with are left out, and so are tenants of which
-- it is busy with enough.
UPDATE notification_channels SET due_at = xvault_now() + make_interval(secs => sqlc.arg(lease_seconds)::float8)
WHERE id IN (SELECT c.id FROM notification_channels c
             WHERE c.enabled AND c.due_at <= xvault_now() AND c.id <> ALL (sqlc.arg(busy)::uuid[])
               AND coalesce(c.tenant_id, '00000000-0000-0000-0000-000000000000') <> ALL (sqlc.arg(busy_tenants)::uuid[])
             ORDER BY c.due_at LIMIT sqlc.arg(max_rows)
             FOR UPDATE SKIP LOCKED)
RETURNING *;

-- name: ClaimNotification :one
-- Begins an attempt: from here on, whoever dies, nobody else tries before the
-- lease is over. What was tried less goes first, so that one message that a
-- receiver refuses holds up no other; but pings keep their order, for the last
-- one counts.
WITH claimed AS (
    UPDATE notifications n
    SET attempts = n.attempts + 1, next_try_at = xvault_now() + make_interval(secs => sqlc.arg(lease_seconds)::float8), updated_at = xvault_now()
    WHERE n.id = (SELECT p.id FROM notifications p JOIN notification_channels c ON c.id = p.channel_id
                  WHERE p.channel_id = sqlc.arg(channel_id) AND p.status = 'pending' AND p.next_try_at <= xvault_now() AND c.enabled
                  ORDER BY CASE WHEN c.kind = 'ping' THEN 0 ELSE p.attempts END, p.id LIMIT 1
                  FOR UPDATE OF p SKIP LOCKED)
    RETURNING n.*
)
SELECT sqlc.embed(n), sqlc.embed(e), coalesce(t.name, '')::text AS tenant_name, coalesce(s.name, '')::text AS source_name
FROM claimed n JOIN notification_events e ON e.id = n.event_id
LEFT JOIN tenants t ON t.id = e.tenant_id LEFT JOIN sources s ON s.id = e.source_id;

-- name: NotificationSent :execrows
WITH sent AS (
    UPDATE notifications n SET status = 'sent', sent_at = xvault_now(), last_error = '', updated_at = xvault_now()
    WHERE n.id = sqlc.arg(id) AND n.attempts = sqlc.arg(attempt) AND n.status = 'pending'
    RETURNING n.channel_id
)
UPDATE notification_channels c SET failures = 0 FROM sent s WHERE c.id = s.channel_id AND c.failures > 0;

-- name: NotificationFailed :one
-- Tried again after a pause that doubles from 10 s up to 15 min, with jitter,
-- until it is too old. The channel as a whole pauses likewise.
WITH failed AS (
    UPDATE notifications n
    SET status = CASE WHEN n.created_at <= xvault_now() - make_interval(secs => sqlc.arg(give_up_seconds)::float8) THEN 'failed' ELSE 'pending' END,
        next_try_at = xvault_now() + make_interval(secs => least(720, 10 * 2 ^ least(n.attempts - 1, 10)) * (1 + 0.25 * random())),
        last_error = sqlc.arg(last_error), updated_at = xvault_now()
    WHERE n.id = sqlc.arg(id) AND n.attempts = sqlc.arg(attempt) AND n.status = 'pending'
    RETURNING n.status, n.channel_id
), paused AS (
    UPDATE notification_channels c
    SET failures = c.failures + 1,
        due_at = xvault_now() + make_interval(secs => least(720, 10 * 2 ^ least(c.failures, 10)) * (1 + 0.25 * random()))
    FROM failed f WHERE c.id = f.channel_id
)
SELECT f.status FROM failed f;

-- name: LockChannelTurn :one
SELECT failures FROM notification_channels WHERE id = $1 FOR UPDATE;

-- name: EndTurn :exec
-- The row is locked, so that what was handed out meanwhile is seen here, or comes
-- after and sets due_at itself.
UPDATE notification_channels c
SET due_at = (SELECT min(n.next_try_at) FROM notifications n WHERE n.channel_id = c.id AND n.status = 'pending')
WHERE c.id = $1;

-- name: GiveUpNotifications :execrows
-- What is too old, in channels that keep failing.
UPDATE notifications SET status = 'failed', updated_at = xvault_now(),
    last_error = CASE WHEN last_error = '' THEN sqlc.arg(reason)::text ELSE last_error END
WHERE id IN (SELECT n.id FROM notifications n JOIN notification_channels c ON c.id = n.channel_id
             WHERE n.status = 'pending' AND n.next_try_at <= xvault_now() AND c.failures > 0
               AND n.created_at <= xvault_now() - make_interval(secs => sqlc.arg(give_up_seconds)::float8)
             LIMIT sqlc.arg(max_rows)
             FOR UPDATE OF n SKIP LOCKED);

-- name: FailNotificationsOf :exec
-- Of a channel that was switched off.
UPDATE notifications SET status = 'failed', last_error = sqlc.arg(reason)::text, updated_at = xvault_now()
WHERE channel_id = sqlc.arg(channel_id) AND status = 'pending';

-- name: CountNotifications :one
SELECT (SELECT count(*) FROM notifications p WHERE p.status = 'pending') AS pending,
       (SELECT count(*) FROM notifications f WHERE f.status = 'failed') AS failed,
       (SELECT count(*) FROM notification_events e WHERE NOT e.handed_out) AS undistributed,
       coalesce((SELECT extract(epoch FROM xvault_now() - min(o.created_at)) FROM notifications o WHERE o.status = 'pending'), 0)::float8 AS oldest_seconds;
