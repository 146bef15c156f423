package catalog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/store/catalog/query"
)

// Importer makes rows of what was read from a worker's storage. It only ever
// adds: a row that is there stays as it is, and what differs is told.
type Importer struct {
	scope Scope
	tx    pgx.Tx // of a dry run; nil: each call has its own
}

// Importer is the operator's.
func (s Scope) Importer() (Importer, error) {
	if s.tenant != nil {
		return Importer{}, ErrNotFound
	}
	return Importer{scope: s}, nil
}

// errDry ends the transaction of a dry run.
var errDry = errors.New("dry run")

// Dry does with an importer whatever do does, and leaves nothing of it.
func (im Importer) Dry(ctx context.Context, do func(Importer) error) error {
	err := pgx.BeginFunc(ctx, im.scope.db.pool, func(tx pgx.Tx) error {
		if err := do(Importer{im.scope, tx}); err != nil {
			return err
		}
		return errDry
	})
	if errors.Is(err, errDry) {
		return nil
	}
	return err
}

// inTx is one step, of which all is done or nothing.
func (im Importer) inTx(ctx context.Context, fn func(tx pgx.Tx, q *query.Queries) error) error {
	if im.tx == nil {
		return im.scope.db.inTx(ctx, fn)
	}
	return pgx.BeginFunc(ctx, im.tx, func(tx pgx.Tx) error { return fn(tx, query.New(tx)) })
}

func (im Importer) q() *query.Queries {
	if im.tx == nil {
		return im.scope.db.q()
	}
	return query.New(im.tx)
}

// ImportKey is a key that snapshots are sealed to.
type ImportKey struct {
	ID        uuid.UUID
	Recipient string
	// Nothing is an enveloped nothing, which stands for the identity, under KEK.
	Nothing []byte
	KEK     string
	// Given says that its identity is at hand, which Complete brings.
	Given bool
}

// KeyState is what the catalog has of a key after ImportTenant.
type KeyState struct {
	Recipient string // empty: the catalog has not this key
	Proved    bool   // with its identity
	Added     bool
}

// PlaceholderTenant is the name of a tenant of which no more than the id is known.
func PlaceholderTenant(id uuid.UUID) string { return "imported tenant " + id.String() }

// ImportTenant makes a tenant with its keys, the first of which becomes the one
// for new backups. Where the tenant is there already, only a key is added to it
// whose identity is given: whoever has it may have sealed the tenant's backups.
func (im Importer) ImportTenant(ctx context.Context, id uuid.UUID, keys []ImportKey) (created bool, states map[uuid.UUID]KeyState, err error) {
	err = im.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		states = make(map[uuid.UUID]KeyState)
		n, err := q.EnsureTenant(ctx, query.EnsureTenantParams{ID: id, Name: PlaceholderTenant(id)})
		if err != nil {
			return fmt.Errorf("import tenant: %w", err)
		}
		if created = n > 0; !created {
			if _, err := q.LockTenant(ctx, id); err != nil {
				return fmt.Errorf("lock tenant: %w", err)
			}
		} else if err := im.audit(ctx, q, "tenant.import", "tenant", id, id, nil); err != nil {
			return err
		}
		if err := readKeys(ctx, q, id, states); err != nil {
			return err
		}
		for i, k := range keys {
			if _, known := states[k.ID]; known || !created && !k.Given {
				continue
			}
			if err := im.insertKey(ctx, q, id, k, created && i == 0); err != nil {
				return err
			}
			states[k.ID] = KeyState{Recipient: k.Recipient, Added: true}
		}
		return nil
	})
	return created, states, err
}

func readKeys(ctx context.Context, q *query.Queries, tenant uuid.UUID, into map[uuid.UUID]KeyState) error {
	rows, err := q.TenantKeys(ctx, tenant)
	if err != nil {
		return fmt.Errorf("read tenant keys: %w", err)
	}
	for _, r := range rows {
		into[r.ID] = KeyState{Recipient: r.PublicKey, Proved: !r.IdentityMissing}
	}
	return nil
}

func (im Importer) insertKey(ctx context.Context, q *query.Queries, tenant uuid.UUID, k ImportKey, active bool) error {
	status := "rotated"
	if active {
		status = "active"
	}
	n, err := q.InsertImportedTenantKey(ctx, query.InsertImportedTenantKeyParams{
		ID: k.ID, TenantID: tenant, PublicKey: k.Recipient, EncryptedPrivateKey: k.Nothing, KeyID: k.KEK,
		KeyStatus: status, IdentityMissing: true,
	})
	if err == nil && n == 0 {
		err = errors.New("another tenant has a key with the id " + k.ID.String())
	}
	if err != nil {
		return fmt.Errorf("import tenant key: %w", err)
	}
	return im.audit(ctx, q, "tenant.import_key", "tenant", tenant, tenant, map[string]any{"tenant_key_id": k.ID, "public_key": k.Recipient})
}

// MissingIdentity is a key in the catalog whose identity is not.
type MissingIdentity struct {
	ID, TenantID uuid.UUID
	Recipient    string
}

// MissingIdentities gives those of the recipients whose identity the catalog
// lacks.
func (im Importer) MissingIdentities(ctx context.Context, recipients []string) ([]MissingIdentity, error) {
	rows, err := im.q().KeysWithoutIdentity(ctx, recipients)
	if err != nil {
		return nil, fmt.Errorf("look for keys without identity: %w", err)
	}
	missing := make([]MissingIdentity, len(rows))
	for i, r := range rows {
		missing[i] = MissingIdentity{r.ID, r.TenantID, r.PublicKey}
	}
	return missing, nil
}

// Owners tells which tenants of the catalog have keys with these recipients.
func (im Importer) Owners(ctx context.Context, recipients []string) (map[string]uuid.UUID, error) {
	rows, err := im.q().KeyOwners(ctx, recipients)
	if err != nil {
		return nil, fmt.Errorf("look for owners of keys: %w", err)
	}
	owners := make(map[string]uuid.UUID, len(rows))
	for _, r := range rows {
		owners[r.PublicKey] = r.TenantID
	}
	return owners, nil
}

// Complete stores the identity of a key that lacks it, enveloped for its row, and
// gives the tenant its name where it has none yet. The key becomes the one for
// new backups where that one lacks its identity. It reports whether it was needed.
func (im Importer) Complete(ctx context.Context, key MissingIdentity, ciphertext []byte, kek, name string) (bool, error) {
	done := false
	err := im.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		if _, err := q.LockTenant(ctx, key.TenantID); err != nil {
			return notFound(err)
		}
		n, err := q.GiveIdentity(ctx, query.GiveIdentityParams{ID: key.ID, EncryptedPrivateKey: ciphertext, KeyID: kek})
		if err != nil {
			return fmt.Errorf("store identity: %w", err)
		}
		if done = n > 0; !done {
			return nil
		}
		if err := preferProved(ctx, q, key); err != nil {
			return err
		}
		if name != "" {
			err := q.NameImportedTenant(ctx, query.NameImportedTenantParams{ID: key.TenantID, Name: name, Placeholder: PlaceholderTenant(key.TenantID)})
			if err != nil {
				return fmt.Errorf("name tenant: %w", err)
			}
		}
		return im.audit(ctx, q, "tenant.import_identity", "tenant", key.TenantID, key.TenantID,
			map[string]any{"tenant_key_id": key.ID, "public_key": key.Recipient})
	})
	return done, err
}

// preferProved makes the key the active one where that one is not proved.
func preferProved(ctx context.Context, q *query.Queries, key MissingIdentity) error {
	active, err := q.ActiveTenantKey(ctx, key.TenantID)
	if err == nil && (active.ID == key.ID || !active.IdentityMissing) {
		return nil
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return fmt.Errorf("read active key: %w", err)
	}
	if err := q.RetireTenantKeys(ctx, key.TenantID); err != nil {
		return fmt.Errorf("retire a key: %w", err)
	}
	if err := q.ActivateTenantKey(ctx, query.ActivateTenantKeyParams{TenantID: key.TenantID, ID: key.ID}); err != nil {
		return fmt.Errorf("activate a key: %w", err)
	}
	return nil
}

func (im Importer) audit(ctx context.Context, q *query.Queries, action, kind string, id, tenant uuid.UUID, detail map[string]any) error {
	return im.scope.audit(ctx, q, Event{TenantID: &tenant, Action: action, ObjectType: kind, ObjectID: id.String(), Detail: detail})
}

// ImportSnapshot is a snapshot to be taken in; all of it was checked.
type ImportSnapshot struct {
	ID, JobID   uuid.UUID
	Status      SnapshotStatus
	Size        int64
	SHA256      string
	Began       time.Time
	Ended       time.Time
	DurationMS  int64
	Manifest    []byte
	KeyID       uuid.UUID
	Recipient   string
	MadeBy      string // the worker's id at that time
	Unconfirmed bool
	Errors      int64 // entries that were not read
}
