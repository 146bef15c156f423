package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/catalog/query"
)

// ErrNotYours says that the token is good, but not for registering this worker
// id: a join token makes new ids only, a worker's token registers that worker
// only.
var ErrNotYours = errors.New("this token may not register this worker id")

// Registration is a worker's start, with the token that it came with.
type Registration struct {
	job.RegisterRequest
	// Join says that the caller checked the join token; otherwise Token is
	// looked at.
	Join  bool
	Token secret.Text
	// From tells the audit trail where it came from.
	From Actor
}

// Registered is what a registration hands out.
type Registered struct {
	Token       secret.Text
	Incarnation int64
	KnownSince  time.Time // when the worker joined this catalog
}

// RegisterWorker begins a new incarnation of a worker: the earlier one's token
// and leases end in the same transaction. Errors: ErrNotYours, ErrSuperseded,
// ErrBadToken.
//
// A registration whose answer was lost may be repeated with the token that it
// used and the same RegistrationID, until the new token has shown up in a
// heartbeat.
func (db *DB) RegisterWorker(ctx context.Context, reg Registration) (Registered, error) {
	token, err := newWorkerToken()
	if err != nil {
		return Registered{}, err
	}
	scope := db.Operator(reg.From)
	var worker query.Worker
	err = db.inTx(ctx, func(tx pgx.Tx, q *query.Queries) error {
		if worker, err = scope.beginIncarnation(ctx, tx, q, reg, HashToken(token)); err != nil {
			return err
		}
		return scope.audit(ctx, q, Event{
			Action: "worker.register", ObjectType: "worker", ObjectID: worker.ID,
			Detail: map[string]any{"incarnation": worker.Incarnation, "version": worker.Version, "joined": reg.Join},
		})
	})
	if err != nil {
		return Registered{}, err
	}
	db.queueChanged() // its slots, and what its earlier start had
	return Registered{Token: token, Incarnation: worker.Incarnation, KnownSince: worker.CreatedAt.UTC()}, nil
}

func (s Scope) beginIncarnation(ctx context.Context, tx pgx.Tx, q *query.Queries, reg Registration, token TokenHash) (query.Worker, error) {
	if reg.Join {
		worker, err := insertWorker(ctx, q, reg, token)
		if !errors.Is(err, pgx.ErrNoRows) {
			return worker, err
		}
	}
	current, err := q.LockWorker(ctx, reg.WorkerID)
	if errors.Is(err, pgx.ErrNoRows) {
		return query.Worker{}, ErrNotYours
	}
	if err != nil {
		return query.Worker{}, fmt.Errorf("look up worker %s: %w", reg.WorkerID, err)
	}
	if err := mayRegister(ctx, q, reg, current); err != nil {
		return query.Worker{}, err
	}
	if err := keepPastToken(ctx, q, current); err != nil {
		return query.Worker{}, err
	}
	worker, err := startIncarnation(ctx, q, reg, current, token)
	if err != nil {
		return query.Worker{}, err
	}
	return worker, s.endLeases(ctx, tx, q, worker.ID)
}

// mayRegister checks the token against the worker's row, which is locked.
func mayRegister(ctx context.Context, q *query.Queries, reg Registration, current query.Worker) error {
	repeated := reg.RegistrationID != uuid.Nil && registrationHash(reg.RegistrationID).matches(current.RegistrationHash)
	if reg.Join {
		if repeated {
			return nil
		}
		return ErrNotYours
	}
	hash := HashToken(reg.Token)
	if hash.matches(current.TokenHash) {
		return nil
	}
	past, err := q.PastTokenWorker(ctx, hash[:])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return mayRegisterOther(ctx, q, hash)
	case err != nil:
		return fmt.Errorf("look up past worker token: %w", err)
	case past.ID != current.ID:
		return ErrNotYours
	case repeated:
		return nil
	default:
		return ErrSuperseded
	}
}

// mayRegisterOther tells a token of another worker from no token at all.
func mayRegisterOther(ctx context.Context, q *query.Queries, hash TokenHash) error {
	_, err := q.WorkerByToken(ctx, hash[:])
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return ErrBadToken
	case err != nil:
		return fmt.Errorf("look up worker token: %w", err)
	default:
		return ErrNotYours
	}
}

func registrationHash(id uuid.UUID) TokenHash { return sha256.Sum256(id[:]) }

// storedRegistration is nil for a worker that sends none.
func storedRegistration(id uuid.UUID) []byte {
	if id == uuid.Nil {
		return nil
	}
	h := registrationHash(id)
	return h[:]
}

func insertWorker(ctx context.Context, q *query.Queries, reg Registration, token TokenHash) (query.Worker, error) {
	capabilities, err := json.Marshal(reg.Capabilities)
	if err != nil {
		return query.Worker{}, fmt.Errorf("encode capabilities: %w", err)
	}
	storage := optionalID(reg.StorageID)
	state := job.StorageOK
	if storage == nil {
		state = job.StorageMissing
	}
	return q.InsertWorker(ctx, query.InsertWorkerParams{
		ID: reg.WorkerID, Name: reg.Name, Version: reg.Version, Capabilities: capabilities,
		StorageBasePath: reg.StorageBasePath, StorageID: storage, StorageState: state,
		AgeRecipient: reg.AgeRecipient, TokenHash: token[:], RegistrationHash: storedRegistration(reg.RegistrationID),
		PublicUrl: reg.PublicURL, Slots: int32(reg.Slots),
	})
}

func startIncarnation(ctx context.Context, q *query.Queries, reg Registration, current query.Worker, token TokenHash) (query.Worker, error) {
	capabilities, err := json.Marshal(reg.Capabilities)
	if err != nil {
		return query.Worker{}, fmt.Errorf("encode capabilities: %w", err)
	}
	storage, state, err := registeredStorage(ctx, q, current, reg.StorageID)
	if err != nil {
		return query.Worker{}, err
	}
	worker, err := q.StartIncarnation(ctx, query.StartIncarnationParams{
		ID: reg.WorkerID, TokenHash: token[:], RegistrationHash: storedRegistration(reg.RegistrationID),
		Name: reg.Name, Version: reg.Version, Capabilities: capabilities, StorageBasePath: reg.StorageBasePath,
		AgeRecipient: reg.AgeRecipient, PublicUrl: reg.PublicURL, StorageID: storage, StorageState: state,
		Slots: int32(reg.Slots),
	})
	if err != nil {
		return query.Worker{}, fmt.Errorf("start incarnation of worker %s: %w", reg.WorkerID, err)
	}
	return worker, nil
}

// registeredStorage decides which storage counts as the worker's own. Another
// one takes its place only if no snapshot stands on the one known so far: a
// disk that is not mounted must not make a fresh folder pass for it.
func registeredStorage(ctx context.Context, q *query.Queries, current query.Worker, shown uuid.UUID) (*uuid.UUID, string, error) {
	switch {
	case shown == uuid.Nil:
		return current.StorageID, job.StorageMissing, nil
	case current.StorageID == nil || *current.StorageID == shown:
		return &shown, job.StorageOK, nil
	}
	inUse, err := q.StorageInUse(ctx, query.StorageInUseParams{WorkerID: &current.ID, StorageID: current.StorageID})
	if err != nil {
		return nil, "", fmt.Errorf("look for snapshots of worker %s: %w", current.ID, err)
	}
	if inUse {
		return current.StorageID, job.StorageForeign, nil
	}
	return &shown, job.StorageOK, nil
}
