package catalog

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"xvault/internal/secret"
	"xvault/store/catalog/query"
)

var (
	// ErrBadToken says that no worker has, or lately had, this token.
	ErrBadToken = errors.New("the worker token is not valid")
	// ErrSuperseded says that the token or incarnation was the worker's, but it
	// started anew since.
	ErrSuperseded = errors.New("a later start of this worker took over")
)

// TokenHash is all that the catalog keeps of a worker's token.
type TokenHash [sha256.Size]byte

// HashToken makes the hash under which a token is looked up. A token is 256
// random bits, so that no salt or stretching is needed.
func HashToken(token secret.Text) TokenHash { return sha256.Sum256([]byte(token.Reveal())) }

// Equal compares in constant time.
func (h TokenHash) Equal(other TokenHash) bool { return h.matches(other[:]) }

// matches compares in constant time.
func (h TokenHash) matches(stored []byte) bool { return subtle.ConstantTimeCompare(h[:], stored) == 1 }

// storedToken is nil for no hash.
func storedToken(h *TokenHash) []byte {
	if h == nil {
		return nil
	}
	return h[:]
}

func newWorkerToken() (secret.Text, error) {
	b := make([]byte, 32)
	if _, err := rand.Read(b); err != nil {
		return secret.Text{}, fmt.Errorf("make worker token: %w", err)
	}
	return secret.New("xvw_" + base64.RawURLEncoding.EncodeToString(b)), nil
}

// WorkerByToken finds the worker whose current token it is. ErrSuperseded comes
// with the worker whose token it was; ErrBadToken: it is nobody's.
func (db *DB) WorkerByToken(ctx context.Context, token secret.Text) (Worker, error) {
	hash := HashToken(token)
	row, err := db.q().WorkerByToken(ctx, hash[:])
	if errors.Is(err, pgx.ErrNoRows) {
		return db.workerByPastToken(ctx, hash)
	}
	if err != nil {
		return Worker{}, fmt.Errorf("look up worker token: %w", err)
	}
	if !hash.matches(row.TokenHash) {
		return Worker{}, ErrBadToken
	}
	return workerOf(row)
}

func (db *DB) workerByPastToken(ctx context.Context, hash TokenHash) (Worker, error) {
	row, err := db.q().PastTokenWorker(ctx, hash[:])
	if errors.Is(err, pgx.ErrNoRows) {
		return Worker{}, ErrBadToken
	}
	if err != nil {
		return Worker{}, fmt.Errorf("look up past worker token: %w", err)
	}
	w, err := workerOf(row)
	if err != nil {
		return Worker{}, err
	}
	return w, ErrSuperseded
}

// pastTokensKept is how many earlier tokens of a worker are remembered; an
// older one is merely not valid.
const pastTokensKept = 32

func keepPastToken(ctx context.Context, q *query.Queries, w query.Worker) error {
	err := q.KeepPastToken(ctx, query.KeepPastTokenParams{TokenHash: w.TokenHash, WorkerID: w.ID, Incarnation: w.Incarnation})
	if err != nil {
		return fmt.Errorf("keep past token of worker %s: %w", w.ID, err)
	}
	err = q.PrunePastTokens(ctx, query.PrunePastTokensParams{WorkerID: w.ID, UpTo: w.Incarnation - pastTokensKept})
	if err != nil {
		return fmt.Errorf("prune past tokens of worker %s: %w", w.ID, err)
	}
	return nil
}
