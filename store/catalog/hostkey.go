package catalog

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

const maxHostKeyBytes = 8 << 10

// hostKeyLine is a type and its base64, as in authorized_keys, no comment.
var hostKeyLine = regexp.MustCompile(`^[a-z0-9@.-]{1,64} [A-Za-z0-9+/]+={0,2}$`)

// PinHostKey pins the key that a first connection showed, before anything is
// authenticated with it: the first key wins, and the same one again is fine.
// Errors: ErrFenced; *Conflict "host_key_changed" where another is pinned,
// "host_key_not_trusted" where the source does not trust on first use,
// "invalid_report" for what is no key. From tells the audit trail where the call
// came from.
func (db *DB) PinHostKey(ctx context.Context, f Fence, key string, from Actor) error {
	key = strings.TrimSpace(key)
	if len(key) > maxHostKeyBytes || !hostKeyLine.MatchString(key) {
		return invalidReport("the host key is not a public key line")
	}
	return db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		source, err := q.LockPinnedHostKeys(ctx, query.LockPinnedHostKeysParams{
			JobID: f.JobID, Attempt: f.attempt(), WorkerID: &f.WorkerID, Incarnation: &f.Incarnation,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return ErrFenced
		}
		if err != nil {
			return fmt.Errorf("look up source to pin its host key: %w", err)
		}
		if done, err := mayPin(source, key); done || err != nil {
			return err
		}
		if err := q.PinHostKey(ctx, query.PinHostKeyParams{ID: source.ID, Key: key}); err != nil {
			return fmt.Errorf("pin host key: %w", err)
		}
		scope := db.Tenant(source.TenantID, Actor{
			Type: ActorWorker, ID: f.WorkerID, RemoteAddr: from.RemoteAddr, RequestID: from.RequestID,
		})
		return scope.audit(ctx, q, Event{
			TenantID: &source.TenantID, Action: "source.pin_host_key", ObjectType: "source", ObjectID: source.ID.String(),
			Detail: map[string]any{"key": key, "job_id": f.JobID},
		})
	})
}

func mayPin(source query.LockPinnedHostKeysRow, key string) (done bool, err error) {
	switch {
	case slices.Contains(source.PinnedHostKeys, key):
		return true, nil
	case len(source.PinnedHostKeys) > 0:
		return false, &Conflict{Code: "host_key_changed", Message: "another host key is pinned for this source"}
	case !source.TrustOnFirstUse:
		return false, &Conflict{Code: job.RefusedFirstUse, Message: "this source does not trust a host key on first use"}
	default:
		return false, nil
	}
}
