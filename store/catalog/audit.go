package catalog

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"

	"xvault/store/catalog/query"
)

// ActorType says what kind of principal did something.
type ActorType string

// The principals of audit events.
const (
	ActorOperator ActorType = "operator"
	ActorAPIKey   ActorType = "api_key"
	ActorWorker   ActorType = "worker"
	ActorHub      ActorType = "hub"     // the hub itself: reaper, scheduler
	ActorCommand  ActorType = "command" // a command run beside the hub: rekey
)

// Actor is who does something, from where and in which request.
type Actor struct {
	Type       ActorType
	ID         string // API key id, worker id, "operator"
	RemoteAddr string
	RequestID  string
}

// Event is what an actor did. Detail never holds a secret.
type Event struct {
	TenantID   *uuid.UUID
	Action     string // "tenant.create"
	ObjectType string // "tenant"
	ObjectID   string
	Detail     map[string]any
}

// audit writes the event with the queries of the transaction that it tells of,
// and with the request's first event its Idempotency-Key, where it has one.
func (s Scope) audit(ctx context.Context, q *query.Queries, e Event) error {
	if err := s.takeIdempotencyKey(ctx, q, e.ObjectType, e.ObjectID); err != nil {
		return err
	}
	detail := []byte("{}")
	if len(e.Detail) > 0 {
		var err error
		if detail, err = json.Marshal(e.Detail); err != nil {
			return fmt.Errorf("encode audit detail: %w", err)
		}
	}
	err := q.InsertAuditEvent(ctx, query.InsertAuditEventParams{
		ID: NewID(), TenantID: e.TenantID, ActorType: string(s.actor.Type), ActorID: s.actor.ID,
		Action: e.Action, ObjectType: e.ObjectType, ObjectID: e.ObjectID, Detail: detail,
		RemoteAddr: s.actor.RemoteAddr, RequestID: s.actor.RequestID,
	})
	if err != nil {
		return fmt.Errorf("write audit event: %w", err)
	}
	return nil
}
