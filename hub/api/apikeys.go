package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/auth"
	"xvault/hub/problem"
	"xvault/store/catalog"
)

// APIKey is a key for this API, without the key itself.
type APIKey struct {
	ID         uuid.UUID  `json:"id" format:"uuid"`
	TenantID   *uuid.UUID `json:"tenant_id" format:"uuid" nullable:"true" doc:"null: the operator's"`
	Name       string     `json:"name"`
	ExpiresAt  *Time      `json:"expires_at" nullable:"true"`
	LastUsedAt *Time      `json:"last_used_at" nullable:"true" doc:"To the minute"`
	CreatedAt  Time       `json:"created_at"`
}

// NewAPIKey is a key just made.
type NewAPIKey struct {
	APIKey
	Key string `json:"key" doc:"xv_<id>_<secret>, shown this once"`
}

func apiKeyOf(k catalog.APIKey) APIKey {
	return APIKey{k.ID, k.TenantID, k.Name, optionalTime(k.ExpiresAt), optionalTime(k.LastUsedAt), Time{k.CreatedAt}}
}

func (s *server) registerAPIKeys(api huma.API) {
	tags := []string{"api-keys"}
	register(s, api, huma.Operation{
		OperationID: "create-api-key", Method: http.MethodPost, Path: "/api-keys", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary:     "Make a key; it is shown this once",
		Description: "With the operator's key and no tenant_id it is an operator's key; a tenant's key makes keys of its tenant.",
		Metadata:    map[string]any{metaSecretAnswer: true},
	}, s.createAPIKey)
	register(s, api, huma.Operation{
		OperationID: "list-api-keys", Method: http.MethodGet, Path: "/api-keys", Tags: tags, Summary: "List keys",
	}, s.listAPIKeys)
	register(s, api, huma.Operation{
		OperationID: "get-api-key", Method: http.MethodGet, Path: "/api-keys/{id}", Tags: tags, Summary: "Get a key's record",
	}, s.getAPIKey)
	register(s, api, huma.Operation{
		OperationID: "delete-api-key", Method: http.MethodDelete, Path: "/api-keys/{id}", Tags: tags, Summary: "Revoke a key at once",
	}, s.deleteAPIKey)
}

type createAPIKeyInput struct {
	TenantQuery
	Body struct {
		TenantID  *uuid.UUID `json:"tenant_id,omitempty" format:"uuid" doc:"Whose key; none with the operator's key: an operator's"`
		Name      string     `json:"name" minLength:"1" maxLength:"200"`
		ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"None: it does not expire"`
	}
}

func (s *server) createAPIKey(ctx context.Context, in *createAPIKeyInput) (*Body[NewAPIKey], error) {
	n := catalog.NewAPIKey{ID: catalog.NewID(), Name: in.Body.Name, ExpiresAt: in.Body.ExpiresAt}
	if err := checkNames(named{"body.name", n.Name}); err != nil {
		return nil, err
	}
	if err := s.checkExpiry(ctx, n.ExpiresAt); err != nil {
		return nil, err
	}
	if named := in.Body.TenantID != nil || in.tenant() != nil; named || !auth.From(ctx).Operator {
		tenant, err := s.tenantFor(ctx, in.Body.TenantID, in.tenant())
		if err != nil {
			return nil, err
		}
		n.TenantID = &tenant
	}
	key, hash, err := auth.NewKey(n.ID)
	if err != nil {
		return nil, err
	}
	n.SecretHash = hash
	created, err := s.scope(ctx).CreateAPIKey(ctx, n)
	if err != nil {
		return nil, err
	}
	return &Body[NewAPIKey]{NewAPIKey{apiKeyOf(created), key.Reveal()}}, nil
}

func (s *server) checkExpiry(ctx context.Context, at *time.Time) error {
	if at == nil {
		return nil
	}
	now, err := s.db.Now(ctx)
	if err != nil {
		return err
	}
	if !at.After(now) {
		return problem.Field("body.expires_at", "it is in the past")
	}
	return nil
}

func (s *server) listAPIKeys(ctx context.Context, in *listInput) (*Body[List[APIKey]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).APIKeys(ctx, in.tenant(), page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, apiKeyOf, func(k catalog.APIKey) uuid.UUID { return k.ID }), nil
}

func (s *server) getAPIKey(ctx context.Context, in *IDPath) (*Body[APIKey], error) {
	key, err := s.scope(ctx).APIKey(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[APIKey]{apiKeyOf(key)}, nil
}

func (s *server) deleteAPIKey(ctx context.Context, in *IDPath) (*Empty, error) {
	return &Empty{}, s.scope(ctx).DeleteAPIKey(ctx, in.ID)
}
