package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/store/catalog"
)

// AuditEvent is who did what to which object, when and from where.
type AuditEvent struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	TenantID   *uuid.UUID `json:"tenant_id" format:"uuid" nullable:"true" doc:"null: it concerns no tenant"`
	ActorType  string     `json:"actor_type" enum:"operator,api_key,worker,hub,command"`
	ActorID    string     `json:"actor_id" doc:"The id of the key or worker"`
	Action     string     `json:"action" doc:"Such as tenant.create"`
	ObjectType string     `json:"object_type"`
	ObjectID   string     `json:"object_id"`
	Detail     Object     `json:"detail"`
	RemoteAddr string     `json:"remote_addr"`
	RequestID  string     `json:"request_id"`
	CreatedAt  Time       `json:"created_at"`
}

func auditEventOf(e catalog.AuditEvent) AuditEvent {
	return AuditEvent{
		e.ID, e.TenantID, string(e.ActorType), e.ActorID, e.Action, e.ObjectType, e.ObjectID, Object{e.Detail},
		e.RemoteAddr, e.RequestID, Time{e.CreatedAt},
	}
}

func (s *server) registerAudit(api huma.API) {
	register(s, api, huma.Operation{
		OperationID: "list-audit-events", Method: http.MethodGet, Path: "/audit-events", Tags: []string{"audit-events"},
		Summary: "List what was done: a tenant's key shows the tenant's own",
	}, s.listAuditEvents)
}

type listAuditEventsInput struct {
	TenantQuery
	PageQuery
	ObjectType string `query:"object_type" maxLength:"64" pattern:"^[a-z_]+$"`
	ObjectID   string `query:"object_id" maxLength:"64" pattern:"^[A-Za-z0-9._-]+$"`
	Action     string `query:"action" maxLength:"64" pattern:"^[a-z_.]+$"`
}

func (s *server) listAuditEvents(ctx context.Context, in *listAuditEventsInput) (*Body[List[AuditEvent]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).AuditEvents(ctx, catalog.AuditFilter{
		TenantID: in.tenant(), ObjectType: in.ObjectType, ObjectID: in.ObjectID, Action: in.Action,
	}, page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, auditEventOf, func(e catalog.AuditEvent) uuid.UUID { return e.ID }), nil
}
