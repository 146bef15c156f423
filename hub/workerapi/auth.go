package workerapi

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"xvault/hub/problem"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// maxToken bounds what is hashed of an Authorization header.
const maxToken = 512

// call is one authenticated request of a worker.
type call struct {
	worker catalog.Worker
	r      *http.Request
}

func (c *call) ref() catalog.WorkerRef {
	return catalog.WorkerRef{ID: c.worker.ID, Incarnation: c.worker.Incarnation}
}

type workerKey struct{}

// authenticate lets through the current incarnation of a worker and nobody
// else, before anything of the body is read.
func (a *api) authenticate(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := bearer(r)
		if !ok {
			a.refuse(w, r, catalog.ErrBadToken)
			return
		}
		worker, err := a.db.WorkerByToken(r.Context(), token)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), workerKey{}, worker)))
	})
}

func bearer(r *http.Request) (secret.Text, bool) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	token = strings.TrimSpace(token)
	if !found || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > maxToken {
		return secret.Text{}, false
	}
	return secret.New(token), true
}

// mayTryToRegister tells good tokens from bad ones before the body is read;
// which id a token may register is decided with the body, in the catalog.
func (a *api) mayTryToRegister(ctx context.Context, token secret.Text) (join bool, err error) {
	if a.isJoinToken(token) {
		return true, nil
	}
	_, err = a.db.WorkerByToken(ctx, token)
	if errors.Is(err, catalog.ErrSuperseded) {
		// It may be a registration whose answer was lost.
		return false, nil
	}
	return false, err
}

// isJoinToken compares hashes, so that not even the length takes another time.
func (a *api) isJoinToken(token secret.Text) bool {
	return !a.join.IsZero() && catalog.HashToken(token).Equal(catalog.HashToken(a.join))
}

// actor is who the audit trail names: a worker, which may not be known yet.
func actor(r *http.Request, workerID string) catalog.Actor {
	return catalog.Actor{
		Type: catalog.ActorWorker, ID: workerID, RemoteAddr: remoteAddr(r), RequestID: requestID(r),
	}
}

// unauthorized is the problem of a token that is nobody's.
func unauthorized() *problem.Problem {
	return problem.New(http.StatusUnauthorized, problem.Unauthorized,
		"A worker's token is needed in the Authorization header; this one is missing, wrong, or of a removed worker.")
}
