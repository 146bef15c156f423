package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/store/catalog"
)

// Notification is one event on its way through one channel.
type Notification struct {
	ID        uuid.UUID         `json:"id" format:"uuid" doc:"The same in every attempt: webhook-id"`
	TenantID  *uuid.UUID        `json:"tenant_id" format:"uuid" nullable:"true" doc:"The channel's"`
	ChannelID uuid.UUID         `json:"channel_id" format:"uuid"`
	Status    string            `json:"status" enum:"pending,sent,failed"`
	Attempts  int               `json:"attempts"`
	NextTryAt *Time             `json:"next_try_at" nullable:"true" doc:"Of one that is pending"`
	LastError string            `json:"last_error"`
	SentAt    *Time             `json:"sent_at" nullable:"true"`
	Event     NotificationEvent `json:"event"`
	CreatedAt Time              `json:"created_at"`
	UpdatedAt Time              `json:"updated_at"`
}

// NotificationEvent is what happened.
type NotificationEvent struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	Kind       string     `json:"kind"`
	TenantID   *uuid.UUID `json:"tenant_id" format:"uuid" nullable:"true"`
	SourceID   *uuid.UUID `json:"source_id" format:"uuid" nullable:"true"`
	JobID      *uuid.UUID `json:"job_id" format:"uuid" nullable:"true"`
	SnapshotID *uuid.UUID `json:"snapshot_id" format:"uuid" nullable:"true"`
	WorkerID   *string    `json:"worker_id" nullable:"true"`
	Detail     Object     `json:"detail"`
	CreatedAt  Time       `json:"created_at"`
}

func notificationOf(n catalog.Notification) Notification {
	e := n.Signal
	out := Notification{
		ID: n.ID, TenantID: n.TenantID, ChannelID: n.ChannelID, Status: n.Status, Attempts: n.Attempts, LastError: n.LastError,
		SentAt: optionalTime(n.SentAt), CreatedAt: Time{n.CreatedAt}, UpdatedAt: Time{n.UpdatedAt},
		Event: NotificationEvent{e.ID, e.Kind, e.TenantID, e.SourceID, e.JobID, e.SnapshotID, e.WorkerID, Object{e.Detail}, Time{e.CreatedAt}},
	}
	if n.Status == catalog.NotificationPending {
		out.NextTryAt = &Time{n.NextTryAt}
	}
	return out
}

func (s *server) registerNotifications(api huma.API) {
	register(s, api, huma.Operation{
		OperationID: "list-notifications", Method: http.MethodGet, Path: "/notifications", Tags: []string{"notifications"},
		Summary: "List what channels have sent, and what they could not",
	}, s.listNotifications)
}

type listNotificationsInput struct {
	TenantQuery
	PageQuery
	ChannelID uuid.UUID `query:"channel_id" format:"uuid"`
	Status    string    `query:"status" enum:"pending,sent,failed"`
}

func (s *server) listNotifications(ctx context.Context, in *listNotificationsInput) (*Body[List[Notification]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).Notifications(ctx, catalog.NotificationFilter{
		TenantID: in.tenant(), ChannelID: optional(in.ChannelID), Status: in.Status,
	}, page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, notificationOf, func(n catalog.Notification) uuid.UUID { return n.ID }), nil
}
