// Package workerapi is the hub's half of the internal API: what workers call.
// Its messages are those of internal/job.
//
// What it guarantees: the token is checked before anything of the body is
// read; a worker reaches only attempts that it holds; every secret in an
// answer is sealed to that worker's own age recipient; repeating a call whose
// answer was lost is harmless; unknown fields are ignored, so that hubs and
// workers can be upgraded one after the other.
package workerapi

import (
	"errors"
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"xvault/archive/seal"
	"xvault/hub/problem"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// Config is what the internal API stands on.
type Config struct {
	// DB is the catalog.
	DB *catalog.DB
	// Keyring opens stored credentials, to seal them to a worker.
	Keyring *seal.Keyring
	// JoinToken lets unknown worker ids register; empty: none may.
	JoinToken secret.Text
	// Log takes what happens to jobs and refusals; nil: nothing is logged.
	Log *slog.Logger
}

// Body limits in bytes. A reconciliation lists up to maxReconcile ids.
const (
	smallBody     = 64 << 10
	completeBody  = 2 << 20
	reconcileBody = 8 << 20
	foundBody     = 4 << 20 // base64 and all
)

type api struct {
	db      *catalog.DB
	keyring *seal.Keyring
	join    secret.Text
	log     *slog.Logger
	callers callers
}

// Handler serves the internal API. Its paths are relative: mount it at
// /internal.
func Handler(cfg Config) (http.Handler, error) {
	if cfg.DB == nil || cfg.Keyring == nil {
		return nil, errors.New("workerapi: DB and Keyring are needed")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	a := &api{db: cfg.DB, keyring: cfg.Keyring, join: cfg.JoinToken, log: cfg.Log}
	r := chi.NewRouter()
	r.NotFound(func(w http.ResponseWriter, _ *http.Request) {
		problem.Write(w, problem.New(http.StatusNotFound, problem.NotFound, "There is no such call in the internal API."))
	})
	r.MethodNotAllowed(methodNotAllowed(r))
	r.Post("/workers/register", a.register)
	r.Group(func(r chi.Router) {
		r.Use(a.authenticate)
		r.Post("/workers/heartbeat", body(a, smallBody, a.heartbeat))
		r.Post("/workers/reconcile", body(a, reconcileBody, a.reconcile))
		r.Post("/workers/found", body(a, foundBody, a.found))
		r.Post("/workers/sweep", body(a, smallBody, a.sweep))
		r.Post("/jobs/{id}/host-key", body(a, smallBody, a.hostKey))
		r.Post("/tickets/redeem", body(a, smallBody, a.redeemTicket))
		r.Get("/credentials/{id}", noBody(a, a.credential))
		r.Get("/tenants/{id}/public-key", noBody(a, a.publicKey))
	})
	r.Group(func(r chi.Router) {
		r.Use(a.recall)
		r.Post("/jobs/claim", body(a, smallBody, a.claim))
		r.Post("/jobs/{id}/renew", body(a, smallBody, a.renew))
		r.Post("/jobs/{id}/finalize", body(a, smallBody, a.finalize))
		r.Post("/jobs/{id}/release", body(a, smallBody, a.release))
		r.Post("/jobs/{id}/complete", body(a, completeBody, a.complete))
	})
	return r, nil
}

// methodNotAllowed names the method that the call takes in Allow.
func methodNotAllowed(routes chi.Routes) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if mounted := chi.RouteContext(r.Context()).RoutePath; mounted != "" {
			path = mounted
		}
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			if routes.Match(chi.NewRouteContext(), method, path) {
				w.Header().Add("Allow", method)
			}
		}
		problem.Write(w, problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed, "This call takes another method; Allow names it."))
	}
}
