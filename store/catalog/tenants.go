package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// Tenant is one customer account.
type Tenant struct {
	ID        uuid.UUID
	Name      string
	Plan      string
	PublicKey string // of the active tenant key
	CreatedAt time.Time
	UpdatedAt time.Time
}

// NewTenant is a tenant to be made together with its key pair.
type NewTenant struct {
	ID   uuid.UUID
	Name string
	Plan string // empty: "standard"
	Key  NewTenantKey
}

// TenantChange is what PATCH may change; nil leaves it.
type TenantChange struct{ Name, Plan *string }

// CreateTenant makes a tenant and its key pair in one transaction.
func (s Scope) CreateTenant(ctx context.Context, n NewTenant) (Tenant, error) {
	if s.tenant != nil {
		return Tenant{}, ErrNotFound
	}
	if n.Plan == "" {
		n.Plan = "standard"
	}
	var created Tenant
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.InsertTenant(ctx, query.InsertTenantParams{ID: n.ID, Name: n.Name, Plan: n.Plan})
		if err != nil {
			return fmt.Errorf("insert tenant: %w", err)
		}
		if err := insertTenantKey(ctx, q, n.ID, n.Key); err != nil {
			return err
		}
		created = tenantOf(row, n.Key.PublicKey)
		return s.audit(ctx, q, Event{TenantID: &n.ID, Action: "tenant.create", ObjectType: "tenant", ObjectID: n.ID.String()})
	})
	return created, err
}

// Tenant gives one tenant.
func (s Scope) Tenant(ctx context.Context, id uuid.UUID) (Tenant, error) {
	if !s.sees(id) {
		return Tenant{}, ErrNotFound
	}
	row, err := s.db.q().TenantByID(ctx, id)
	if err != nil {
		return Tenant{}, notFound(err)
	}
	return tenantOf(row.Tenant, row.PublicKey), nil
}

// Tenants lists the tenants of the scope; wanted confines the operator's list.
func (s Scope) Tenants(ctx context.Context, wanted *uuid.UUID, p Page) ([]Tenant, error) {
	var f filter
	if !f.tenant("t.id", s, wanted) {
		return nil, ErrNotFound
	}
	sql, args := f.newestFirst(`SELECT t.id, t.name, t.plan, k.public_key, t.created_at, t.updated_at
		FROM tenants t JOIN tenant_keys k ON k.tenant_id = t.id AND k.key_status = 'active'`, "t.id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Tenant])
}

// UpdateTenant changes a tenant's name or plan.
func (s Scope) UpdateTenant(ctx context.Context, id uuid.UUID, c TenantChange) (Tenant, error) {
	if !s.sees(id) {
		return Tenant{}, ErrNotFound
	}
	var updated Tenant
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		n, err := q.UpdateTenant(ctx, query.UpdateTenantParams{ID: id, Name: c.Name, Plan: c.Plan})
		if err != nil {
			return fmt.Errorf("update tenant: %w", err)
		}
		if n == 0 {
			return ErrNotFound
		}
		row, err := q.TenantByID(ctx, id)
		if err != nil {
			return notFound(err)
		}
		updated = tenantOf(row.Tenant, row.PublicKey)
		return s.audit(ctx, q, Event{TenantID: &id, Action: "tenant.update", ObjectType: "tenant", ObjectID: id.String()})
	})
	return updated, err
}

// DeleteTenant removes a tenant and all that belongs to it. It refuses while
// snapshots exist, whose key would be lost with the tenant, and while jobs have
// not ended.
func (s Scope) DeleteTenant(ctx context.Context, id uuid.UUID) error {
	if s.tenant != nil {
		return ErrNotFound
	}
	return s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		// The lock keeps new rows of this tenant out: their foreign keys wait for it.
		if _, err := q.LockTenant(ctx, id); err != nil {
			return notFound(err)
		}
		if err := tenantUnused(ctx, q, id); err != nil {
			return err
		}
		if err := deleteTenantRows(ctx, q, id); err != nil {
			return err
		}
		return s.audit(ctx, q, Event{TenantID: &id, Action: "tenant.delete", ObjectType: "tenant", ObjectID: id.String()})
	})
}

func tenantUnused(ctx context.Context, q *query.Queries, id uuid.UUID) error {
	snapshots, err := q.CountTenantSnapshots(ctx, id)
	if err != nil {
		return fmt.Errorf("count snapshots: %w", err)
	}
	if snapshots > 0 {
		return &Conflict{"tenant_has_snapshots", fmt.Sprintf("The tenant still has %d snapshots; delete them first.", snapshots)}
	}
	jobs, err := q.CountTenantUnfinishedJobs(ctx, id)
	if err != nil {
		return fmt.Errorf("count jobs: %w", err)
	}
	if jobs > 0 {
		return &Conflict{"tenant_has_jobs", fmt.Sprintf("%d jobs of the tenant have not ended; cancel them or wait.", jobs)}
	}
	return nil
}

// deleteTenantRows deletes in the order that the foreign keys want.
func deleteTenantRows(ctx context.Context, q *query.Queries, id uuid.UUID) error {
	steps := []func(context.Context, uuid.UUID) error{
		q.DeleteTenantSnapshotRows, q.DeleteTenantJobs, q.DeleteTenantSources,
	}
	for _, step := range steps {
		if err := step(ctx, id); err != nil {
			return fmt.Errorf("delete what the tenant owns: %w", err)
		}
	}
	if _, err := q.DeleteTenant(ctx, id); err != nil {
		return fmt.Errorf("delete tenant: %w", err)
	}
	return nil
}

func tenantOf(row query.Tenant, publicKey string) Tenant {
	return Tenant{row.ID, row.Name, row.Plan, publicKey, row.CreatedAt, row.UpdatedAt}
}

// sees reports whether rows of this tenant exist in the scope.
func (s Scope) sees(tenant uuid.UUID) bool { return s.tenant == nil || *s.tenant == tenant }
