package catalog

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"xvault/archive/seal"
	"xvault/store/catalog/query"
)

// KeyUse is how many secrets are sealed under one KEK.
type KeyUse struct {
	KeyID   string
	Secrets int64
}

// MissingKeysError tells that stored secrets need KEKs that the setting does not have.
type MissingKeysError struct{ Missing []KeyUse }

func (e *MissingKeysError) Error() string {
	parts := make([]string, len(e.Missing))
	for i, use := range e.Missing {
		parts[i] = fmt.Sprintf("%q (%d secrets)", use.KeyID, use.Secrets)
	}
	return "HUB_ENCRYPTION_KEK lacks keys that stored secrets need: " + strings.Join(parts, ", ") +
		"; add them behind the first, or run `xvault hub rekey` with both before dropping one"
}

// Keyring opens the catalog's secrets with the setting's keys: each is proved
// by its canary, and no secret may need a key that is not there. A key that
// the catalog does not know yet is enrolled.
func (db *DB) Keyring(ctx context.Context, setting seal.KEKSetting) (*seal.Keyring, error) {
	stored, err := db.encryptionKeys(ctx)
	if err != nil {
		return nil, err
	}
	// Before anything is enrolled, so that a mistaken setting leaves no trace.
	if err := db.checkKeyUse(ctx, setting); err != nil {
		return nil, err
	}
	return setting.Keyring(stored, func(row seal.StoredKEK) (seal.StoredKEK, error) {
		return db.enrollEncryptionKey(ctx, row)
	})
}

// KnowsKey reports whether a hub was ever started with this KEK.
func (db *DB) KnowsKey(ctx context.Context, keyID string) (bool, error) {
	_, err := db.q().EncryptionKeyByID(ctx, keyID)
	if errors.Is(err, pgx.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// KeyUse tells how many secrets are under which KEK.
func (db *DB) KeyUse(ctx context.Context) ([]KeyUse, error) {
	rows, err := db.q().CountSecretsByKey(ctx)
	if err != nil {
		return nil, fmt.Errorf("count secrets: %w", err)
	}
	uses := make([]KeyUse, len(rows))
	for i, row := range rows {
		uses[i] = KeyUse{row.KeyID, row.Secrets}
	}
	return uses, nil
}

func (db *DB) checkKeyUse(ctx context.Context, setting seal.KEKSetting) error {
	uses, err := db.KeyUse(ctx)
	if err != nil {
		return err
	}
	var missing []KeyUse
	for _, use := range uses {
		if !setting.Has(use.KeyID) {
			missing = append(missing, use)
		}
	}
	if len(missing) > 0 {
		return &MissingKeysError{missing}
	}
	return nil
}

func (db *DB) encryptionKeys(ctx context.Context) ([]seal.StoredKEK, error) {
	rows, err := db.q().ListEncryptionKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read encryption keys: %w", err)
	}
	stored := make([]seal.StoredKEK, len(rows))
	for i, row := range rows {
		stored[i] = storedKEK(row)
	}
	return stored, nil
}

// enrollEncryptionKey stores a key's canary unless another hub was faster, and
// gives what is stored.
func (db *DB) enrollEncryptionKey(ctx context.Context, row seal.StoredKEK) (seal.StoredKEK, error) {
	var enrolled seal.StoredKEK
	hub := db.Operator(Actor{Type: ActorHub, ID: "hub"})
	err := db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		n, err := q.InsertEncryptionKey(ctx, query.InsertEncryptionKeyParams{
			KeyID: row.KeyID, Kind: row.Kind, Salt: row.Salt, Canary: row.Canary,
		})
		if err != nil {
			return fmt.Errorf("store encryption key: %w", err)
		}
		stored, err := q.EncryptionKeyByID(ctx, row.KeyID)
		if err != nil {
			return fmt.Errorf("read encryption key: %w", err)
		}
		enrolled = storedKEK(stored)
		if n == 0 {
			return nil
		}
		return hub.audit(ctx, q, Event{Action: "encryption_key.enroll", ObjectType: "encryption_key", ObjectID: row.KeyID})
	})
	return enrolled, err
}

func storedKEK(row query.EncryptionKey) seal.StoredKEK {
	return seal.StoredKEK{KeyID: row.KeyID, Kind: row.Kind, Salt: row.Salt, Canary: row.Canary}
}
