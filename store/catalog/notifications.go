package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// Notification is one event on its way through one channel.
type Notification struct {
	ID        uuid.UUID
	TenantID  *uuid.UUID // the channel's
	ChannelID uuid.UUID
	Status    string // NotificationPending, NotificationSent or NotificationFailed
	Attempts  int
	NextTryAt time.Time // of one that is pending
	LastError string
	SentAt    *time.Time
	CreatedAt time.Time
	UpdatedAt time.Time
	Signal    Signal
}

// The states of a notification.
const (
	NotificationPending = "pending"
	NotificationSent    = "sent"
	NotificationFailed  = "failed"
)

// Signal is an event that someone may be notified of.
type Signal struct {
	ID         uuid.UUID
	TenantID   *uuid.UUID // nil: the operator's
	Kind       string
	SourceID   *uuid.UUID
	JobID      *uuid.UUID
	SnapshotID *uuid.UUID
	WorkerID   *string
	Detail     json.RawMessage
	CreatedAt  time.Time
	// As they are now; empty where the thing is gone.
	TenantName, SourceName string
}

// NotificationFilter narrows a list; zero fields do not.
type NotificationFilter struct {
	TenantID  *uuid.UUID
	ChannelID *uuid.UUID
	Status    string
}

// Notifications lists what the channels of the scope have sent or are to send.
func (s Scope) Notifications(ctx context.Context, nf NotificationFilter, p Page) ([]Notification, error) {
	var f filter
	if !f.tenant("n.tenant_id", s, nf.TenantID) {
		return nil, ErrNotFound
	}
	if nf.ChannelID != nil {
		f.add("n.channel_id = ?", *nf.ChannelID)
	}
	if nf.Status != "" {
		f.add("n.status = ?", nf.Status)
	}
	sql, args := f.newestFirst(`SELECT n.id, n.tenant_id, n.channel_id, n.status, n.attempts, n.next_try_at, n.last_error, n.sent_at, n.created_at, n.updated_at,
		e.id, e.tenant_id, e.kind, e.source_id, e.job_id, e.snapshot_id, e.worker_id, e.detail, e.created_at
		FROM notifications n JOIN notification_events e ON e.id = n.event_id`, "n.id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list notifications: %w", err)
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) (n Notification, err error) {
		e := &n.Signal
		err = row.Scan(&n.ID, &n.TenantID, &n.ChannelID, &n.Status, &n.Attempts, &n.NextTryAt, &n.LastError, &n.SentAt, &n.CreatedAt, &n.UpdatedAt,
			&e.ID, &e.TenantID, &e.Kind, &e.SourceID, &e.JobID, &e.SnapshotID, &e.WorkerID, &e.Detail, &e.CreatedAt)
		return n, err
	})
}

// SendLease is for how long a channel, and a notification that is being sent,
// belongs to the hub that took it. Sending one takes less.
const SendLease = 2 * time.Minute

// TakeChannels takes up to limit channels that have something to send, for one
// turn each; none of those in busy, and none of the tenants in full (the zero
// id stands for the operator).
func (db *DB) TakeChannels(ctx context.Context, limit int, busy, full []uuid.UUID) ([]Channel, error) {
	rows, err := db.q().TakeChannels(ctx, query.TakeChannelsParams{
		LeaseSeconds: SendLease.Seconds(), Busy: orEmpty(busy), BusyTenants: orEmpty(full), MaxRows: int32(min(limit, 1<<20)),
	})
	if err != nil {
		return nil, fmt.Errorf("take channels: %w", err)
	}
	channels := make([]Channel, len(rows))
	for i, row := range rows {
		channels[i] = channelOf(row)
	}
	return channels, nil
}

// ClaimNotification begins an attempt to send the next notification of a
// channel; ErrNotFound: there is none that is due.
func (db *DB) ClaimNotification(ctx context.Context, channel uuid.UUID) (Notification, error) {
	row, err := db.q().ClaimNotification(ctx, query.ClaimNotificationParams{LeaseSeconds: SendLease.Seconds(), ChannelID: channel})
	if errors.Is(err, pgx.ErrNoRows) {
		return Notification{}, ErrNotFound
	}
	if err != nil {
		return Notification{}, fmt.Errorf("claim notification: %w", err)
	}
	n, e := row.Notification, row.NotificationEvent
	return Notification{
		ID: n.ID, TenantID: n.TenantID, ChannelID: n.ChannelID, Status: n.Status, Attempts: int(n.Attempts), NextTryAt: n.NextTryAt,
		LastError: n.LastError, SentAt: n.SentAt, CreatedAt: n.CreatedAt, UpdatedAt: n.UpdatedAt,
		Signal: Signal{
			ID: e.ID, TenantID: e.TenantID, Kind: e.Kind, SourceID: e.SourceID, JobID: e.JobID, SnapshotID: e.SnapshotID,
			WorkerID: e.WorkerID, Detail: e.Detail, CreatedAt: e.CreatedAt, TenantName: row.TenantName, SourceName: row.SourceName,
		},
	}, nil
}

// NotificationSent records that an attempt succeeded. One that was overtaken by
// a later attempt changes nothing.
func (db *DB) NotificationSent(ctx context.Context, n Notification) error {
	_, err := db.q().NotificationSent(ctx, query.NotificationSentParams{ID: n.ID, Attempt: int32(n.Attempts)})
	if err != nil {
		return fmt.Errorf("record that a notification was sent: %w", err)
	}
	return nil
}

// NotificationFailed records that an attempt failed, and pauses the channel. It
// reports whether the notification was given up, for it is older than giveUp.
func (db *DB) NotificationFailed(ctx context.Context, n Notification, reason string, giveUp time.Duration) (bool, error) {
	status, err := db.q().NotificationFailed(ctx, query.NotificationFailedParams{
		ID: n.ID, Attempt: int32(n.Attempts), LastError: reason, GiveUpSeconds: giveUp.Seconds(),
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("record that a notification failed: %w", err)
	}
	return status == NotificationFailed, nil
}

// EndTurn gives a channel back: it is due when its next notification is.
func (db *DB) EndTurn(ctx context.Context, channel uuid.UUID) error {
	err := db.inBriefTx(ctx, func(q *query.Queries) error {
		if _, err := q.LockChannelTurn(ctx, channel); errors.Is(err, pgx.ErrNoRows) {
			return nil // deleted meanwhile
		} else if err != nil {
			return err
		}
		return q.EndTurn(ctx, channel)
	})
	if err != nil {
		return fmt.Errorf("end turn of channel: %w", err)
	}
	return nil
}

// GiveUpNotifications fails up to limit notifications that are older than giveUp
// and wait behind others in channels that fail, and returns how many.
func (db *DB) GiveUpNotifications(ctx context.Context, giveUp time.Duration, limit int) (int, error) {
	n, err := db.q().GiveUpNotifications(ctx, query.GiveUpNotificationsParams{
		Reason: "The channel kept failing.", GiveUpSeconds: giveUp.Seconds(), MaxRows: int32(min(limit, 1<<20)),
	})
	if err != nil {
		return 0, fmt.Errorf("give up notifications: %w", err)
	}
	return int(n), nil
}
