package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// APIKey is a key for the public API, without its secret.
type APIKey struct {
	ID         uuid.UUID
	TenantID   *uuid.UUID // nil: the operator's
	Name       string
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
	CreatedAt  time.Time
}

// NewAPIKey is a key to be made; only the hash of its secret is stored.
type NewAPIKey struct {
	ID         uuid.UUID
	TenantID   *uuid.UUID
	Name       string
	SecretHash []byte
	ExpiresAt  *time.Time
}

// Login is what is needed to judge a presented key.
type Login struct {
	Key        APIKey
	SecretHash []byte
	Expired    bool
	Stale      bool // last_used_at is due for an update
}

// CreateAPIKey stores a key. A tenant's scope makes keys of that tenant only.
func (s Scope) CreateAPIKey(ctx context.Context, n NewAPIKey) (APIKey, error) {
	if s.tenant != nil && (n.TenantID == nil || *n.TenantID != *s.tenant) {
		return APIKey{}, ErrNotFound
	}
	var created APIKey
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.InsertAPIKey(ctx, query.InsertAPIKeyParams{
			ID: n.ID, TenantID: n.TenantID, Name: n.Name, SecretHash: n.SecretHash, ExpiresAt: n.ExpiresAt,
		})
		if isViolation(err, "api_keys_tenant_id_fkey") {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("insert api key: %w", err)
		}
		created = apiKeyOf(row)
		return s.audit(ctx, q, Event{TenantID: n.TenantID, Action: "api_key.create", ObjectType: "api_key", ObjectID: n.ID.String()})
	})
	return created, err
}

// APIKeys lists keys; wanted confines the operator's list to one tenant.
func (s Scope) APIKeys(ctx context.Context, wanted *uuid.UUID, p Page) ([]APIKey, error) {
	var f filter
	if !f.tenant("tenant_id", s, wanted) {
		return nil, ErrNotFound
	}
	sql, args := f.newestFirst("SELECT id, tenant_id, name, expires_at, last_used_at, created_at FROM api_keys", "id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list api keys: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[APIKey])
}

// APIKey gives one key.
func (s Scope) APIKey(ctx context.Context, id uuid.UUID) (APIKey, error) {
	row, err := s.db.q().APIKeyByID(ctx, id)
	if err != nil {
		return APIKey{}, notFound(err)
	}
	if s.tenant != nil && (row.TenantID == nil || *row.TenantID != *s.tenant) {
		return APIKey{}, ErrNotFound
	}
	return apiKeyOf(row), nil
}

// DeleteAPIKey revokes a key at once.
func (s Scope) DeleteAPIKey(ctx context.Context, id uuid.UUID) error {
	return s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.DeleteAPIKey(ctx, query.DeleteAPIKeyParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		return s.audit(ctx, q, Event{TenantID: row.TenantID, Action: "api_key.delete", ObjectType: "api_key", ObjectID: id.String()})
	})
}

// Login looks a presented key up. It belongs to no scope: it is what makes one.
func (db *DB) Login(ctx context.Context, id uuid.UUID) (Login, error) {
	row, err := db.q().APIKeyForLogin(ctx, id)
	if err != nil {
		return Login{}, notFound(err)
	}
	return Login{Key: apiKeyOf(row.ApiKey), SecretHash: row.ApiKey.SecretHash, Expired: row.Expired, Stale: row.Stale}, nil
}

// TouchAPIKey notes that a key was used, to the minute.
func (db *DB) TouchAPIKey(ctx context.Context, id uuid.UUID) error {
	return db.q().TouchAPIKey(ctx, id)
}

func apiKeyOf(row query.ApiKey) APIKey {
	return APIKey{row.ID, row.TenantID, row.Name, row.ExpiresAt, row.LastUsedAt, row.CreatedAt}
}
