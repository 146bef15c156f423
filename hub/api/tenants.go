package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/hub/auth"
	"xvault/hub/problem"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// Tenant is one customer account.
type Tenant struct {
	ID        uuid.UUID `json:"id" format:"uuid"`
	Name      string    `json:"name"`
	Plan      string    `json:"plan"`
	PublicKey string    `json:"public_key" doc:"The age recipient that the tenant's snapshots are sealed to"`
	CreatedAt Time      `json:"created_at"`
	UpdatedAt Time      `json:"updated_at"`
}

func tenantOf(t catalog.Tenant) Tenant {
	return Tenant{t.ID, t.Name, t.Plan, t.PublicKey, Time{t.CreatedAt}, Time{t.UpdatedAt}}
}

// RecoveryKit opens a tenant's snapshots with stock tools.
type RecoveryKit struct {
	Identity  string `json:"identity" doc:"AGE-SECRET-KEY-1...: whoever has it can read the tenant's backups"`
	PublicKey string `json:"public_key"`
}

func (s *server) registerTenants(api huma.API) {
	tags := []string{"tenants"}
	register(s, api, huma.Operation{
		OperationID: "create-tenant", Method: http.MethodPost, Path: "/tenants", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Create a tenant and its key pair (operator)",
	}, s.createTenant)
	register(s, api, huma.Operation{
		OperationID: "list-tenants", Method: http.MethodGet, Path: "/tenants", Tags: tags, Summary: "List tenants",
	}, s.listTenants)
	register(s, api, huma.Operation{
		OperationID: "get-tenant", Method: http.MethodGet, Path: "/tenants/{id}", Tags: tags, Summary: "Get a tenant",
	}, s.getTenant)
	register(s, api, huma.Operation{
		OperationID: "update-tenant", Method: http.MethodPatch, Path: "/tenants/{id}", Tags: tags,
		Summary: "Rename a tenant, or change its plan (operator)",
	}, s.updateTenant)
	register(s, api, huma.Operation{
		OperationID: "delete-tenant", Method: http.MethodDelete, Path: "/tenants/{id}", Tags: tags,
		Summary: "Delete a tenant that has no snapshots (operator)",
	}, s.deleteTenant)
	register(s, api, huma.Operation{
		OperationID: "export-tenant-key", Method: http.MethodPost, Path: "/tenants/{id}/export-key", Tags: tags,
		Summary:  "Hand out the tenant's recovery kit (operator; audited)",
		Metadata: map[string]any{metaSecretAnswer: true},
	}, s.exportTenantKey)
}

type createTenantInput struct {
	Body struct {
		Name string `json:"name" minLength:"1" maxLength:"200"`
		Plan string `json:"plan,omitempty" minLength:"1" maxLength:"64" doc:"Default: standard"`
	}
}

func (s *server) createTenant(ctx context.Context, in *createTenantInput) (*Body[Tenant], error) {
	if err := requireOperator(ctx); err != nil {
		return nil, err
	}
	tenant := catalog.NewTenant{ID: catalog.NewID(), Name: in.Body.Name, Plan: in.Body.Plan}
	if err := checkNames(named{"body.name", tenant.Name}, named{"body.plan", tenant.Plan}); err != nil {
		return nil, err
	}
	var err error
	if tenant.Key, err = s.newTenantKey(tenant.ID); err != nil {
		return nil, err
	}
	created, err := s.scope(ctx).CreateTenant(ctx, tenant)
	if err != nil {
		return nil, err
	}
	return &Body[Tenant]{tenantOf(created)}, nil
}

// newTenantKey makes a key pair, its private half enveloped for its own row.
func (s *server) newTenantKey(tenant uuid.UUID) (catalog.NewTenantKey, error) {
	identity, recipient, err := seal.NewIdentity()
	if err != nil {
		return catalog.NewTenantKey{}, err
	}
	key := catalog.NewTenantKey{ID: catalog.NewID(), PublicKey: recipient}
	key.Ciphertext, key.KeyID, err = s.keyring.Seal([]byte(identity.Reveal()), catalog.TenantKeyAD(tenant, key.ID))
	return key, err
}

type listTenantsInput struct {
	TenantQuery
	PageQuery
}

func (s *server) listTenants(ctx context.Context, in *listTenantsInput) (*Body[List[Tenant]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).Tenants(ctx, in.tenant(), page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, tenantOf, func(t catalog.Tenant) uuid.UUID { return t.ID }), nil
}

func (s *server) getTenant(ctx context.Context, in *IDPath) (*Body[Tenant], error) {
	tenant, err := s.scope(ctx).Tenant(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[Tenant]{tenantOf(tenant)}, nil
}

type updateTenantInput struct {
	IDPath
	Body struct {
		Name *string `json:"name,omitempty" minLength:"1" maxLength:"200"`
		Plan *string `json:"plan,omitempty" minLength:"1" maxLength:"64" doc:"With the operator's key only"`
	}
}

func (s *server) updateTenant(ctx context.Context, in *updateTenantInput) (*Body[Tenant], error) {
	if err := checkNames(named{"body.name", deref(in.Body.Name)}, named{"body.plan", deref(in.Body.Plan)}); err != nil {
		return nil, err
	}
	if p := auth.From(ctx); in.Body.Plan != nil && !p.Operator && p.TenantID == in.ID {
		return nil, problem.Denied("Only the operator's key may change the plan.")
	}
	tenant, err := s.scope(ctx).UpdateTenant(ctx, in.ID, catalog.TenantChange{Name: in.Body.Name, Plan: in.Body.Plan})
	if err != nil {
		return nil, err
	}
	return &Body[Tenant]{tenantOf(tenant)}, nil
}

func (s *server) deleteTenant(ctx context.Context, in *IDPath) (*Empty, error) {
	if err := requireOperatorFor(ctx, in.ID); err != nil {
		return nil, err
	}
	return &Empty{}, s.scope(ctx).DeleteTenant(ctx, in.ID)
}

func (s *server) exportTenantKey(ctx context.Context, in *IDPath) (*Body[RecoveryKit], error) {
	if err := requireOperatorFor(ctx, in.ID); err != nil {
		return nil, err
	}
	key, err := s.scope(ctx).ExportTenantKey(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	identity, err := s.openTenantKey(key)
	if err != nil {
		return nil, err
	}
	return &Body[RecoveryKit]{RecoveryKit{identity.Reveal(), key.PublicKey}}, nil
}

func (s *server) openTenantKey(key catalog.TenantKey) (secret.Text, error) {
	identity, err := s.keyring.Open(key.Ciphertext, key.KeyID, catalog.TenantKeyAD(key.TenantID, key.ID))
	if err != nil {
		return secret.Text{}, err
	}
	return secret.New(string(identity)), nil
}
