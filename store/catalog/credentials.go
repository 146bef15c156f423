package catalog

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// Credential is a secret for reaching a source or a storage, without the secret.
type Credential struct {
	ID         uuid.UUID
	TenantID   uuid.UUID
	Name       string
	Kind       string // "source" or "storage"
	SecretType string // "password" or "private_key"
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// SealedSecret is an enveloped secret.
type SealedSecret struct {
	Type       string // "password" or "private_key"
	Ciphertext []byte
	KeyID      string // the KEK that it is under
}

// NewCredential is a credential to be made.
type NewCredential struct {
	ID       uuid.UUID
	TenantID uuid.UUID
	Name     string
	Kind     string
	Secret   SealedSecret
}

// CreateCredential stores a credential.
func (s Scope) CreateCredential(ctx context.Context, n NewCredential) (Credential, error) {
	if !s.sees(n.TenantID) {
		return Credential{}, ErrNotFound
	}
	var created Credential
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.InsertCredential(ctx, query.InsertCredentialParams{
			ID: n.ID, TenantID: n.TenantID, Name: n.Name, Kind: n.Kind,
			SecretType: n.Secret.Type, Ciphertext: n.Secret.Ciphertext, KeyID: n.Secret.KeyID,
		})
		if isViolation(err, "credentials_tenant_id_fkey") {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("insert credential: %w", err)
		}
		created = credentialOf(row)
		return s.audit(ctx, q, credentialEvent("credential.create", created))
	})
	return created, err
}

// Credential gives one credential.
func (s Scope) Credential(ctx context.Context, id uuid.UUID) (Credential, error) {
	row, err := s.db.q().CredentialByID(ctx, query.CredentialByIDParams{ID: id, TenantID: s.tenant})
	if err != nil {
		return Credential{}, notFound(err)
	}
	return credentialOf(row), nil
}

// Credentials lists credentials; wanted confines the operator's list.
func (s Scope) Credentials(ctx context.Context, wanted *uuid.UUID, p Page) ([]Credential, error) {
	var f filter
	if !f.tenant("tenant_id", s, wanted) {
		return nil, ErrNotFound
	}
	sql, args := f.newestFirst("SELECT id, tenant_id, name, kind, secret_type, created_at, updated_at FROM credentials", "id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list credentials: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Credential])
}

// ReplaceSecret puts another secret into a credential that the caller has just
// read; the ciphertext is bound to its tenant and id.
func (s Scope) ReplaceSecret(ctx context.Context, c Credential, secret SealedSecret) (Credential, error) {
	if !s.sees(c.TenantID) {
		return Credential{}, ErrNotFound
	}
	var updated Credential
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.ReplaceSecret(ctx, query.ReplaceSecretParams{
			TenantID: c.TenantID, ID: c.ID, SecretType: secret.Type, Ciphertext: secret.Ciphertext, KeyID: secret.KeyID,
		})
		if err != nil {
			return notFound(err)
		}
		updated = credentialOf(row)
		return s.audit(ctx, q, credentialEvent("credential.replace_secret", updated))
	})
	return updated, err
}

// DeleteCredential removes a credential that no source uses.
func (s Scope) DeleteCredential(ctx context.Context, id uuid.UUID) error {
	return s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.LockCredential(ctx, query.LockCredentialParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		users, err := q.SourcesOfCredential(ctx, query.SourcesOfCredentialParams{TenantID: row.TenantID, CredentialID: &id})
		if err != nil {
			return fmt.Errorf("find users of credential: %w", err)
		}
		if len(users) > 0 {
			return &Conflict{"credential_in_use", "Sources use this credential: " + nameSources(users) + "."}
		}
		if err := q.DeleteCredential(ctx, query.DeleteCredentialParams{TenantID: row.TenantID, ID: id}); err != nil {
			return fmt.Errorf("delete credential: %w", err)
		}
		return s.audit(ctx, q, credentialEvent("credential.delete", credentialOf(row)))
	})
}

// nameSources names up to five sources; the query gives one more to tell that
// there are others.
func nameSources(sources []query.SourcesOfCredentialRow) string {
	const most = 5
	var names []string
	for i, source := range sources {
		if i == most {
			return strings.Join(names, ", ") + " and others"
		}
		names = append(names, strconv.Quote(source.Name)+" ("+source.ID.String()+")")
	}
	return strings.Join(names, ", ")
}

func credentialEvent(action string, c Credential) Event {
	return Event{
		TenantID: &c.TenantID, Action: action, ObjectType: "credential", ObjectID: c.ID.String(),
		Detail: map[string]any{"secret_type": c.SecretType},
	}
}

func credentialOf(row query.Credential) Credential {
	return Credential{row.ID, row.TenantID, row.Name, row.Kind, row.SecretType, row.CreatedAt, row.UpdatedAt}
}
