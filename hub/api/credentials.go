package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/store/catalog"
)

// Credential is a secret for reaching a source, without the secret.
type Credential struct {
	ID         uuid.UUID `json:"id" format:"uuid"`
	TenantID   uuid.UUID `json:"tenant_id" format:"uuid"`
	Name       string    `json:"name"`
	Kind       string    `json:"kind" enum:"source,storage"`
	SecretType string    `json:"secret_type" enum:"password,private_key"`
	CreatedAt  Time      `json:"created_at"`
	UpdatedAt  Time      `json:"updated_at"`
}

func credentialOf(c catalog.Credential) Credential {
	return Credential{c.ID, c.TenantID, c.Name, c.Kind, c.SecretType, Time{c.CreatedAt}, Time{c.UpdatedAt}}
}

func (s *server) registerCredentials(api huma.API) {
	tags := []string{"credentials"}
	secretBody := map[string]any{metaSecretBody: true}
	register(s, api, huma.Operation{
		OperationID: "create-credential", Method: http.MethodPost, Path: "/credentials", Tags: tags,
		DefaultStatus: http.StatusCreated, Metadata: secretBody, Summary: "Store a secret for reaching a source",
	}, s.createCredential)
	register(s, api, huma.Operation{
		OperationID: "list-credentials", Method: http.MethodGet, Path: "/credentials", Tags: tags,
		Summary: "List credentials, without their secrets",
	}, s.listCredentials)
	register(s, api, huma.Operation{
		OperationID: "get-credential", Method: http.MethodGet, Path: "/credentials/{id}", Tags: tags,
		Summary: "Get a credential, without its secret",
	}, s.getCredential)
	register(s, api, huma.Operation{
		OperationID: "replace-secret", Method: http.MethodPut, Path: "/credentials/{id}/secret", Tags: tags,
		Metadata: secretBody, Summary: "Replace the secret of a credential",
	}, s.replaceSecret)
	register(s, api, huma.Operation{
		OperationID: "delete-credential", Method: http.MethodDelete, Path: "/credentials/{id}", Tags: tags,
		Summary: "Delete a credential that no source uses",
	}, s.deleteCredential)
}

type createCredentialInput struct {
	TenantQuery
	Body struct {
		TenantID *uuid.UUID       `json:"tenant_id,omitempty" format:"uuid" doc:"With the operator's key"`
		Name     string           `json:"name,omitempty" maxLength:"200"`
		Kind     string           `json:"kind" enum:"source"`
		Secret   CredentialSecret `json:"secret"`
	}
}

func (s *server) createCredential(ctx context.Context, in *createCredentialInput) (*Body[Credential], error) {
	tenant, err := s.tenantFor(ctx, in.Body.TenantID, in.tenant())
	if err != nil {
		return nil, err
	}
	if err := checkNames(named{"body.name", in.Body.Name}); err != nil {
		return nil, err
	}
	n := catalog.NewCredential{ID: catalog.NewID(), TenantID: tenant, Name: in.Body.Name, Kind: in.Body.Kind}
	if n.Secret, err = s.sealSecret("body.secret", in.Body.Secret, tenant, n.ID); err != nil {
		return nil, err
	}
	created, err := s.scope(ctx).CreateCredential(ctx, n)
	if err != nil {
		return nil, err
	}
	return &Body[Credential]{credentialOf(created)}, nil
}

// sealSecret checks a secret and envelopes it for its own row.
func (s *server) sealSecret(at string, in CredentialSecret, tenant, id uuid.UUID) (catalog.SealedSecret, error) {
	c, err := in.credential(at)
	if err != nil {
		return catalog.SealedSecret{}, err
	}
	plaintext, err := c.Encode()
	if err != nil {
		return catalog.SealedSecret{}, err
	}
	defer clear(plaintext)
	sealed := catalog.SealedSecret{Type: c.Type}
	sealed.Ciphertext, sealed.KeyID, err = s.keyring.Seal(plaintext, catalog.CredentialAD(tenant, id))
	return sealed, err
}

type listInput struct {
	TenantQuery
	PageQuery
}

func (s *server) listCredentials(ctx context.Context, in *listInput) (*Body[List[Credential]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).Credentials(ctx, in.tenant(), page)
	if err != nil {
		return nil, err
	}
	return listOf(rows, in.PageQuery, credentialOf, func(c catalog.Credential) uuid.UUID { return c.ID }), nil
}

func (s *server) getCredential(ctx context.Context, in *IDPath) (*Body[Credential], error) {
	c, err := s.scope(ctx).Credential(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return &Body[Credential]{credentialOf(c)}, nil
}

type replaceSecretInput struct {
	IDPath
	Body struct {
		Secret     *CredentialSecret `json:"secret,omitempty" doc:"As in create; or its fields directly"`
		Type       string            `json:"type,omitempty" enum:"password,private_key"`
		Password   secretText        `json:"password,omitzero"`
		PrivateKey secretText        `json:"private_key,omitzero"`
		Passphrase secretText        `json:"passphrase,omitzero"`
	}
}

// secret finds the secret in either form, and tells where it stands.
func (in *replaceSecretInput) secret() (string, CredentialSecret, error) {
	b := in.Body
	direct := CredentialSecret{b.Type, b.Password, b.PrivateKey, b.Passphrase}
	switch {
	case b.Secret != nil && direct != CredentialSecret{}:
		return "", direct, problem.Field("body.secret", "give either secret or its fields, not both")
	case b.Secret != nil:
		return "body.secret", *b.Secret, nil
	case b.Type == "":
		return "", direct, problem.Field("body.type", "it is required")
	}
	return "body", direct, nil
}

func (s *server) replaceSecret(ctx context.Context, in *replaceSecretInput) (*Body[Credential], error) {
	scope := s.scope(ctx)
	c, err := scope.Credential(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	at, secret, err := in.secret()
	if err != nil {
		return nil, err
	}
	sealed, err := s.sealSecret(at, secret, c.TenantID, c.ID)
	if err != nil {
		return nil, err
	}
	if c, err = scope.ReplaceSecret(ctx, c, sealed); err != nil {
		return nil, err
	}
	return &Body[Credential]{credentialOf(c)}, nil
}

func (s *server) deleteCredential(ctx context.Context, in *IDPath) (*Empty, error) {
	return &Empty{}, s.scope(ctx).DeleteCredential(ctx, in.ID)
}
