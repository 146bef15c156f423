package api

import (
	"context"
	"net"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"

	"xvault/hub/auth"
	"xvault/hub/problem"
	"xvault/store/catalog"
)

type remoteAddrKey struct{}

func withRemoteAddr(ctx context.Context, addr string) context.Context {
	if host, _, err := net.SplitHostPort(addr); err == nil {
		addr = host
	}
	return context.WithValue(ctx, remoteAddrKey{}, addr)
}

func requestID(ctx context.Context) string { return middleware.GetReqID(ctx) }

// scope is what the caller may see and change.
func (s *server) scope(ctx context.Context) catalog.Scope {
	p := auth.From(ctx)
	addr, _ := ctx.Value(remoteAddrKey{}).(string)
	return p.Scope(s.db, p.Actor(addr, requestID(ctx))).WithIdempotency(idempotencyFrom(ctx))
}

// tenantFor settles whose object is to be made: the one named in the body or
// the query with the operator's key, the key's own with a tenant's. For a
// tenant's key another tenant does not exist.
func (s *server) tenantFor(ctx context.Context, named ...*uuid.UUID) (uuid.UUID, error) {
	p := auth.From(ctx)
	wanted := p.TenantID
	for _, id := range named {
		if id == nil || *id == uuid.Nil {
			continue
		}
		if wanted != uuid.Nil && wanted != *id {
			if p.Operator {
				return uuid.Nil, problem.Field("query.tenant_id", "it differs from the one in the body")
			}
			return uuid.Nil, catalog.ErrNotFound
		}
		wanted = *id
	}
	if wanted == uuid.Nil {
		return uuid.Nil, problem.Field("body.tenant_id", "it is required with the operator's key")
	}
	return wanted, nil
}

// requireOperator refuses a tenant's key with a 403.
func requireOperator(ctx context.Context) error {
	if !auth.From(ctx).Operator {
		return problem.Denied("Only the operator's key may do this.")
	}
	return nil
}

// requireOperatorFor refuses a tenant's key: with a 403 for its own tenant,
// with a 404 for any other, whether it exists or not.
func requireOperatorFor(ctx context.Context, tenant uuid.UUID) error {
	if p := auth.From(ctx); !p.Operator && p.TenantID != tenant {
		return catalog.ErrNotFound
	}
	return requireOperator(ctx)
}

// TenantQuery is the tenant_id of creates and lists, for the operator's key.
type TenantQuery struct {
	TenantID uuid.UUID `query:"tenant_id" format:"uuid" doc:"Whose; with the operator's key. A tenant's key implies it."`
}

// tenant is nil where none was named.
func (q TenantQuery) tenant() *uuid.UUID { return optional(q.TenantID) }

// IDPath is the id in a path.
type IDPath struct {
	ID uuid.UUID `path:"id" format:"uuid"`
}

// refuseNoID answers 404 where the path holds something else than an id in the
// place of one: it names no object, whatever the body is.
func refuseNoID(ctx huma.Context, next func(huma.Context)) {
	for _, p := range ctx.Operation().Parameters {
		if p.In != "path" || p.Schema == nil || p.Schema.Format != "uuid" {
			continue
		}
		if _, err := uuid.Parse(ctx.Param(p.Name)); err != nil {
			_, w := humachi.Unwrap(ctx)
			problem.Write(w, problem.From(catalog.ErrNotFound))
			return
		}
	}
	next(ctx)
}

// optional turns a zero id into nil.
func optional(id uuid.UUID) *uuid.UUID {
	if id == uuid.Nil {
		return nil
	}
	return &id
}

// Body is an answer with a JSON body.
type Body[T any] struct{ Body T }

// Empty is an answer without a body: 204.
type Empty struct{}
