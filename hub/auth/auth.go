// Package auth knows who calls the public API: the operator, who acts on every
// tenant's objects by id, or one tenant, for whom nobody else's exist. It makes
// and checks keys; what a principal may do with an object is decided by the
// catalog's scope that it gets here.
package auth

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/google/uuid"

	"xvault/internal/secret"
	"xvault/store/catalog"
)

// ErrUnauthenticated means no key, or a malformed, unknown, revoked or expired
// one. It does not tell which, for that would help guessing.
var ErrUnauthenticated = errors.New("no valid key")

// Principal is who calls.
type Principal struct {
	Operator bool
	TenantID uuid.UUID // zero for the operator
	KeyID    string    // "operator" for the key of the configuration
	// Bearer is the presented key. It keys the hashes of idempotent requests,
	// so that the catalog holds nothing from which a request could be guessed.
	Bearer secret.Text
}

// OperatorKeyID is the KeyID of the key that the configuration holds.
const OperatorKeyID = "operator"

// Scope is what the principal may see and change.
func (p Principal) Scope(db *catalog.DB, actor catalog.Actor) catalog.Scope {
	if p.Operator {
		return db.Operator(actor)
	}
	return db.Tenant(p.TenantID, actor)
}

// Actor is the principal as the audit trail names it.
func (p Principal) Actor(remoteAddr, requestID string) catalog.Actor {
	actor := catalog.Actor{Type: catalog.ActorAPIKey, ID: p.KeyID, RemoteAddr: remoteAddr, RequestID: requestID}
	if p.KeyID == OperatorKeyID {
		actor.Type = catalog.ActorOperator
	}
	return actor
}

type principalKey struct{}

// With puts the principal into the context of its request.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, principalKey{}, p)
}

// From gives the request's principal. Without one it is a principal that sees
// nothing: a tenant that does not exist.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(principalKey{}).(Principal)
	return p
}

// Authenticator checks bearer keys. It is safe for concurrent use.
type Authenticator struct {
	db       *catalog.DB
	operator [sha256.Size]byte
	log      *slog.Logger
}

// MinSecretLength is how long the operator's key and the join token must be.
const MinSecretLength = 32

// New makes an Authenticator; operatorKey is the operator's first key.
func New(db *catalog.DB, operatorKey secret.Text, log *slog.Logger) (*Authenticator, error) {
	if len(operatorKey.Reveal()) < MinSecretLength {
		return nil, fmt.Errorf("HUB_OPERATOR_KEY needs at least %d characters: `xvault hub keygen` makes one", MinSecretLength)
	}
	return &Authenticator{db: db, operator: sha256.Sum256([]byte(operatorKey.Reveal())), log: log}, nil
}

// Authenticate judges the value of an Authorization header. Errors are
// ErrUnauthenticated, or the catalog's when it could not be asked.
func (a *Authenticator) Authenticate(ctx context.Context, authorization string) (Principal, error) {
	bearer, ok := bearerOf(authorization)
	if !ok {
		return Principal{}, ErrUnauthenticated
	}
	sum := sha256.Sum256([]byte(bearer))
	if subtle.ConstantTimeCompare(sum[:], a.operator[:]) == 1 {
		return Principal{Operator: true, KeyID: OperatorKeyID, Bearer: secret.New(bearer)}, nil
	}
	id, hash, ok := parseKey(bearer)
	if !ok {
		return Principal{}, ErrUnauthenticated
	}
	return a.login(ctx, id, hash, bearer)
}

func (a *Authenticator) login(ctx context.Context, id uuid.UUID, hash []byte, bearer string) (Principal, error) {
	login, err := a.db.Login(ctx, id)
	if errors.Is(err, catalog.ErrNotFound) {
		return Principal{}, ErrUnauthenticated
	}
	if err != nil {
		return Principal{}, fmt.Errorf("look up key: %w", catalog.Classify(err))
	}
	if subtle.ConstantTimeCompare(hash, login.SecretHash) != 1 || login.Expired {
		return Principal{}, ErrUnauthenticated
	}
	if login.Stale {
		if err := a.db.TouchAPIKey(ctx, id); err != nil {
			// A nicety; the call itself need not fail for it.
			a.log.WarnContext(ctx, "cannot note the use of a key", "key_id", id, "error", err)
		}
	}
	p := Principal{Operator: login.Key.TenantID == nil, KeyID: id.String(), Bearer: secret.New(bearer)}
	if login.Key.TenantID != nil {
		p.TenantID = *login.Key.TenantID
	}
	return p, nil
}

func bearerOf(authorization string) (string, bool) {
	scheme, bearer, ok := strings.Cut(authorization, " ")
	bearer = strings.TrimSpace(bearer)
	return bearer, ok && strings.EqualFold(scheme, "Bearer") && bearer != ""
}
