package catalog

import "github.com/google/uuid"

// Scope is whose rows a call may see and change.
type Scope struct {
	db     *DB
	tenant *uuid.UUID // nil: the operator's, all tenants
	actor  Actor

	idempotency *Idempotency // of the request; nil: none
}

// Operator is the scope that sees every tenant.
func (db *DB) Operator(actor Actor) Scope { return Scope{db: db, actor: actor} }

// Tenant is the scope of one tenant.
func (db *DB) Tenant(id uuid.UUID, actor Actor) Scope {
	return Scope{db: db, tenant: &id, actor: actor}
}

// TenantID is the tenant that the scope is confined to; nil for the operator.
func (s Scope) TenantID() *uuid.UUID { return s.tenant }
