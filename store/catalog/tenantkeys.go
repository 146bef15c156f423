package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// NewTenantKey is a key pair, its private half enveloped.
type NewTenantKey struct {
	ID         uuid.UUID
	PublicKey  string
	Ciphertext []byte // of the identity
	KeyID      string // the KEK that it is under
}

// TenantKey is the key pair that a tenant's snapshots are sealed to.
type TenantKey struct {
	ID         uuid.UUID
	TenantID   uuid.UUID
	PublicKey  string
	Ciphertext []byte
	KeyID      string
}

func insertTenantKey(ctx context.Context, q *query.Queries, tenant uuid.UUID, k NewTenantKey) error {
	err := q.InsertTenantKey(ctx, query.InsertTenantKeyParams{
		ID: k.ID, TenantID: tenant, PublicKey: k.PublicKey, EncryptedPrivateKey: k.Ciphertext, KeyID: k.KeyID,
	})
	if err != nil {
		return fmt.Errorf("insert tenant key: %w", err)
	}
	return nil
}

// ActiveTenantKey gives the key that new snapshots are sealed to.
func (s Scope) ActiveTenantKey(ctx context.Context, tenant uuid.UUID) (TenantKey, error) {
	if !s.sees(tenant) {
		return TenantKey{}, ErrNotFound
	}
	row, err := s.db.q().ActiveTenantKey(ctx, tenant)
	if err != nil {
		return TenantKey{}, notFound(err)
	}
	return tenantKeyOf(row), nil
}

// ExportTenantKey gives the active key to be shown to a person. The audit event
// is committed before it returns, so that no key leaves unrecorded. *Conflict
// "identity_missing": the catalog was rebuilt without it.
func (s Scope) ExportTenantKey(ctx context.Context, tenant uuid.UUID) (TenantKey, error) {
	if s.tenant != nil {
		return TenantKey{}, ErrNotFound
	}
	var key TenantKey
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.ActiveTenantKey(ctx, tenant)
		if err != nil {
			return notFound(err)
		}
		if row.IdentityMissing {
			return identityMissing(row.PublicKey)
		}
		key = tenantKeyOf(row)
		return s.audit(ctx, q, Event{
			TenantID: &tenant, Action: "tenant.export_key", ObjectType: "tenant", ObjectID: tenant.String(),
			Detail: map[string]any{"tenant_key_id": row.ID, "public_key": row.PublicKey},
		})
	})
	return key, err
}

// identityMissing is the refusal of what needs the private half of a key that the
// catalog was rebuilt without.
func identityMissing(recipient string) error {
	return &Conflict{"identity_missing", "The catalog was rebuilt without the identity of the key " + recipient + ". Whoever has the tenant's recovery kit " +
		"brings it in with `xvault hub import --worker W --identity KIT`, or opens the artifact with it and without a hub: xvault snapshot open."}
}

func tenantKeyOf(row query.TenantKey) TenantKey {
	return TenantKey{row.ID, row.TenantID, row.PublicKey, row.EncryptedPrivateKey, row.KeyID}
}
