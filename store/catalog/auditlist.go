package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
)

// AuditEvent is one line of the audit trail.
type AuditEvent struct {
	ID         uuid.UUID
	TenantID   *uuid.UUID
	ActorType  ActorType
	ActorID    string
	Action     string
	ObjectType string
	ObjectID   string
	Detail     json.RawMessage
	RemoteAddr string
	RequestID  string
	CreatedAt  time.Time
}

// AuditFilter says which events; zero fields do not filter.
type AuditFilter struct {
	TenantID   *uuid.UUID
	ObjectType string
	ObjectID   string
	Action     string
}

// AuditEvents lists events. A tenant sees those of its own objects.
func (s Scope) AuditEvents(ctx context.Context, want AuditFilter, p Page) ([]AuditEvent, error) {
	var f filter
	if !f.tenant("tenant_id", s, want.TenantID) {
		return nil, ErrNotFound
	}
	for _, c := range []struct{ condition, value string }{
		{"object_type = ?", want.ObjectType}, {"object_id = ?", want.ObjectID}, {"action = ?", want.Action},
	} {
		if c.value != "" {
			f.add(c.condition, c.value)
		}
	}
	sql, args := f.newestFirst(`SELECT id, tenant_id, actor_type, actor_id, action, object_type, object_id, detail,
		remote_addr, request_id, created_at FROM audit_events`, "id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list audit events: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[AuditEvent])
}
