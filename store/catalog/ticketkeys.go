package catalog

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/archive/seal"
	"xvault/store/catalog/query"
)

// TicketKeyAD is what a ticket key's private half is bound to.
func TicketKeyAD(key uuid.UUID) seal.AD {
	return seal.AD{Table: ticketKeysTable, Row: key, Column: "encrypted_private_key"}
}

const ticketKeysTable = "ticket_keys"

// TicketSigner gives the private half that all hubs of this catalog sign
// download tickets with. The first hub to ask makes the pair.
func (db *DB) TicketSigner(ctx context.Context, ring *seal.Keyring) (ed25519.PrivateKey, error) {
	row, err := db.q().ActiveTicketKey(ctx)
	if errors.Is(err, pgx.ErrNoRows) {
		row, err = db.makeTicketKey(ctx, ring)
	}
	if err != nil {
		return nil, fmt.Errorf("read ticket key: %w", err)
	}
	seed, err := ring.Open(row.EncryptedPrivateKey, row.KeyID, TicketKeyAD(row.ID))
	if err != nil {
		return nil, fmt.Errorf("open ticket key: %w", err)
	}
	defer clear(seed)
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("open ticket key: %w", seal.ErrEnvelope)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// makeTicketKey stores a new pair unless another hub was faster, and gives what
// is stored.
func (db *DB) makeTicketKey(ctx context.Context, ring *seal.Keyring) (query.TicketKey, error) {
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		return query.TicketKey{}, err
	}
	defer clear(private)
	id := NewID()
	ciphertext, keyID, err := ring.Seal(private.Seed(), TicketKeyAD(id))
	if err != nil {
		return query.TicketKey{}, err
	}
	hub := db.Operator(Actor{Type: ActorHub, ID: "hub"})
	err = db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		n, err := q.InsertTicketKey(ctx, query.InsertTicketKeyParams{
			ID: id, PublicKey: public, EncryptedPrivateKey: ciphertext, KeyID: keyID,
		})
		if err != nil || n == 0 {
			return err
		}
		return hub.audit(ctx, q, Event{Action: "ticket_key.create", ObjectType: "ticket_key", ObjectID: id.String()})
	})
	if err != nil {
		return query.TicketKey{}, err
	}
	return db.q().ActiveTicketKey(ctx)
}

// TicketPublicKeys are the public halves by which workers know a ticket.
func (db *DB) TicketPublicKeys(ctx context.Context) ([]ed25519.PublicKey, error) {
	rows, err := db.q().TicketPublicKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("read ticket keys: %w", err)
	}
	keys := make([]ed25519.PublicKey, len(rows))
	for i, row := range rows {
		keys[i] = row
	}
	return keys, nil
}
