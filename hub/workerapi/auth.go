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
	token  catalog.TokenHash
	r      *http.Request
}

func (c *call) ref() catalog.WorkerRef {
	return catalog.WorkerRef{ID: c.worker.ID, Incarnation: c.worker.Incarnation, Token: &c.token}
}

type callerKey struct{}

// caller is who calls, by a token that was looked up or is remembered.
type caller struct {
	worker     catalog.Worker
	bearer     secret.Text
	remembered bool
}

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
		a.callers.remember(token, worker)
		next.ServeHTTP(w, withCaller(r, caller{worker: worker, bearer: token}))
	})
}

// recall is authenticate for calls whose every statement holds the token
// against the catalog by itself: a token seen before is not looked up, unless
// the call fails. Then refuse does, so that a token that has ended is told so.
func (a *api) recall(next http.Handler) http.Handler {
	lookUp := a.authenticate(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if token, ok := bearer(r); ok {
			if worker, ok := a.callers.recall(token); ok {
				next.ServeHTTP(w, withCaller(r, caller{worker, token, true}))
				return
			}
		}
		lookUp.ServeHTTP(w, r)
	})
}

// lookedUp puts the refusal of a token before any other where the caller was
// only remembered.
func (a *api) lookedUp(r *http.Request, err error) error {
	c, ok := callerOf(r)
	if !ok || !c.remembered {
		return err
	}
	if _, bad := a.db.WorkerByToken(r.Context(), c.bearer); bad != nil {
		a.callers.forget(c.bearer)
		return bad
	}
	return err
}

func withCaller(r *http.Request, c caller) *http.Request {
	return r.WithContext(context.WithValue(r.Context(), callerKey{}, c))
}

func callerOf(r *http.Request) (caller, bool) {
	c, ok := r.Context().Value(callerKey{}).(caller)
	return c, ok
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
