package catalog

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/archive/seal"
	"xvault/store/catalog/query"
)

// RekeyTables are the tables that hold enveloped secrets, in the order in
// which they are rekeyed.
func RekeyTables() []string {
	return []string{"tenant_keys", "credentials", ticketKeysTable, channelsTable}
}

// RekeyBatch is what one step of a rekey did.
type RekeyBatch struct {
	Last      uuid.UUID // where the next step begins
	Seen      int       // rows looked at; fewer than the limit: the table is done
	Rewrapped int       // rows now under the first KEK
}

// enveloped is one secret of any of the tables.
type enveloped struct {
	id, tenant uuid.UUID
	ciphertext []byte
	keyID      string
}

// Rekey rewraps up to limit secrets of a table, behind the row after, to the
// ring's first KEK, and records it, in one transaction. A secret that was
// replaced or deleted meanwhile is left alone, so it may run beside hubs and
// beside another rekey; each secret opens before, during and after.
func (s Scope) Rekey(ctx context.Context, ring *seal.Keyring, table string, after uuid.UUID, limit int) (RekeyBatch, error) {
	if s.tenant != nil {
		return RekeyBatch{}, ErrNotFound
	}
	var batch RekeyBatch
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		batch = RekeyBatch{Last: after}
		rows, err := toRekey(ctx, q, table, ring.FirstKeyID(), after, int32(limit))
		if err != nil {
			return fmt.Errorf("read %s: %w", table, err)
		}
		for _, row := range rows {
			n, err := rewrap(ctx, q, ring, table, row)
			if err != nil {
				return fmt.Errorf("rewrap %s %s: %w", table, row.id, err)
			}
			batch.Last = row.id
			batch.Seen++
			batch.Rewrapped += int(n)
		}
		if batch.Rewrapped == 0 {
			return nil
		}
		return s.audit(ctx, q, Event{
			Action: "encryption_key.rekey", ObjectType: "encryption_key", ObjectID: ring.FirstKeyID(),
			Detail: map[string]any{"table": table, "secrets": batch.Rewrapped},
		})
	})
	return batch, err
}

func toRekey(ctx context.Context, q *query.Queries, table, keyID string, after uuid.UUID, limit int32) ([]enveloped, error) {
	var found []enveloped
	if table == "tenant_keys" {
		rows, err := q.TenantKeysToRekey(ctx, query.TenantKeysToRekeyParams{KeyID: keyID, After: after, MaxRows: limit})
		for _, r := range rows {
			found = append(found, enveloped{r.ID, r.TenantID, r.EncryptedPrivateKey, r.KeyID})
		}
		return found, err
	}
	if table == ticketKeysTable {
		rows, err := q.TicketKeysToRekey(ctx, query.TicketKeysToRekeyParams{KeyID: keyID, After: after, MaxRows: limit})
		for _, r := range rows {
			found = append(found, enveloped{r.ID, uuid.Nil, r.EncryptedPrivateKey, r.KeyID})
		}
		return found, err
	}
	if table == channelsTable {
		rows, err := q.ChannelsToRekey(ctx, query.ChannelsToRekeyParams{KeyID: keyID, After: after, MaxRows: limit})
		for _, r := range rows {
			found = append(found, enveloped{r.ID, r.TenantID, r.Ciphertext, r.KeyID})
		}
		return found, err
	}
	rows, err := q.CredentialsToRekey(ctx, query.CredentialsToRekeyParams{KeyID: keyID, After: after, MaxRows: limit})
	for _, r := range rows {
		found = append(found, enveloped{r.ID, r.TenantID, r.Ciphertext, r.KeyID})
	}
	return found, err
}

func rewrap(ctx context.Context, q *query.Queries, ring *seal.Keyring, table string, e enveloped) (int64, error) {
	ad := CredentialAD(e.tenant, e.id)
	switch table {
	case "tenant_keys":
		ad = TenantKeyAD(e.tenant, e.id)
	case ticketKeysTable:
		ad = TicketKeyAD(e.id)
	case channelsTable:
		ad = ChannelAD(&e.tenant, e.id)
	}
	ciphertext, keyID, err := ring.Rewrap(e.ciphertext, e.keyID, ad)
	if err != nil {
		return 0, err
	}
	switch table {
	case "tenant_keys":
		return q.RekeyTenantKey(ctx, query.RekeyTenantKeyParams{
			ID: e.id, NewCiphertext: ciphertext, NewKeyID: keyID, OldCiphertext: e.ciphertext, OldKeyID: e.keyID,
		})
	case ticketKeysTable:
		return q.RekeyTicketKey(ctx, query.RekeyTicketKeyParams{
			ID: e.id, NewCiphertext: ciphertext, NewKeyID: keyID, OldCiphertext: e.ciphertext, OldKeyID: e.keyID,
		})
	}
	if table == channelsTable {
		return q.RekeyChannel(ctx, query.RekeyChannelParams{
			ID: e.id, NewCiphertext: ciphertext, NewKeyID: keyID, OldCiphertext: e.ciphertext, OldKeyID: e.keyID,
		})
	}
	return q.RekeyCredential(ctx, query.RekeyCredentialParams{
		ID: e.id, NewCiphertext: ciphertext, NewKeyID: keyID, OldCiphertext: e.ciphertext, OldKeyID: e.keyID,
	})
}
