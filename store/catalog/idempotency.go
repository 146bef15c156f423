package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"xvault/store/catalog/query"
)

// ErrRepeated means that the Idempotency-Key was taken by an earlier request, whose
// answer is to be given again.
var ErrRepeated = errors.New("the idempotency key was used before")

// Idempotency is the Idempotency-Key of one request.
type Idempotency struct {
	Principal   string
	Key         string
	RequestHash []byte

	taken    bool // by this request, with its first audit event
	repeated bool // an earlier request has it
}

// Answer is the first answer to an idempotent request. Status is 0 where the
// hub stopped between the commit and the answer; then only the object is known.
type Answer struct {
	Status     int
	Body       json.RawMessage
	ObjectType string
	ObjectID   string
}

type answeredObject struct {
	ObjectType string `json:"object_type"`
	ObjectID   string `json:"object_id"`
}

// WithIdempotency ties what the scope creates to the key; nil ties nothing.
func (s Scope) WithIdempotency(i *Idempotency) Scope {
	s.idempotency = i
	return s
}

// takeIdempotencyKey commits the key together with the object that is made.
func (s Scope) takeIdempotencyKey(ctx context.Context, q *query.Queries, objectType, objectID string) error {
	i := s.idempotency
	if i == nil || i.taken {
		return nil
	}
	object, err := json.Marshal(answeredObject{objectType, objectID})
	if err != nil {
		return fmt.Errorf("encode idempotency key: %w", err)
	}
	n, err := q.TakeIdempotencyKey(ctx, query.TakeIdempotencyKeyParams{
		Principal: i.Principal, Key: i.Key, RequestHash: i.RequestHash, Body: object,
	})
	if err != nil {
		return fmt.Errorf("take idempotency key: %w", err)
	}
	if n == 0 {
		i.repeated = true
		return ErrRepeated
	}
	i.taken = true
	return nil
}

// EarlierAnswer gives the first answer to the key, ErrNotFound where there was
// none, and a *Conflict where the key was used for another request.
func (db *DB) EarlierAnswer(ctx context.Context, i *Idempotency) (Answer, error) {
	row, err := db.q().IdempotencyKeyByName(ctx, query.IdempotencyKeyByNameParams{Principal: i.Principal, Key: i.Key})
	if err != nil {
		return Answer{}, notFound(err)
	}
	if !bytes.Equal(row.RequestHash, i.RequestHash) {
		return Answer{}, &Conflict{"idempotency_mismatch", "This Idempotency-Key was used for a different request; use a new one."}
	}
	answer := Answer{Status: int(row.Status), Body: row.Body}
	if answer.Status == 0 {
		var object answeredObject
		if err := json.Unmarshal(row.Body, &object); err != nil {
			return Answer{}, fmt.Errorf("decode idempotency key: %w", err)
		}
		answer.ObjectType, answer.ObjectID = object.ObjectType, object.ObjectID
	}
	return answer, nil
}

// SaveAnswer keeps the answer for repetitions of the request.
func (db *DB) SaveAnswer(ctx context.Context, i *Idempotency, status int, body []byte) error {
	return db.q().SaveIdempotentAnswer(ctx, query.SaveIdempotentAnswerParams{
		Principal: i.Principal, Key: i.Key, Status: int32(status), Body: body,
	})
}

// Repeated reports whether the request ended with ErrRepeated.
func (i *Idempotency) Repeated() bool { return i.repeated }

// ExpireIdempotencyKeys forgets keys older than age, at most limit of them.
func (db *DB) ExpireIdempotencyKeys(ctx context.Context, age time.Duration, limit int32) (int64, error) {
	return db.q().DeleteOldIdempotencyKeys(ctx, query.DeleteOldIdempotencyKeysParams{
		Age: pgtype.Interval{Microseconds: age.Microseconds(), Valid: true}, MaxRows: limit,
	})
}
