// Package api is the public REST API, /api/v1: one file a noun. What every
// call shares is here and in the files beside: keys are checked before
// anything of a body is read, errors are problems with a code, lists are pages,
// and POSTs may carry an Idempotency-Key.
//
// A handler takes a context and its input, works through s.scope(ctx), and
// returns errors as they are: register turns them into problems.
package api

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/hub/auth"
	"xvault/hub/notify"
	"xvault/hub/problem"
	"xvault/hub/schedule"
	"xvault/store/catalog"
)

// Config is what the API needs. All fields are required unless they say otherwise.
type Config struct {
	DB      *catalog.DB
	Keyring *seal.Keyring
	Auth    *auth.Authenticator
	// SourceType finds a registered connector by the name of its type.
	SourceType func(name string) (connectors.Type, bool)
	// Notifier tries notification channels out.
	Notifier *notify.Notifier
	// TicketKey signs download tickets.
	TicketKey ed25519.PrivateKey
	// DownloadTTL is for how long a restore can be downloaded.
	DownloadTTL time.Duration
	// DeleteGrace is how long a snapshot stays after someone deleted it, and can be
	// taken back.
	DeleteGrace time.Duration
	// Guesses slows bad keys down; nil: they are not.
	Guesses *auth.Guesses
	// Version is the program's, for the API's description.
	Version string
	Log     *slog.Logger
}

// server holds what handlers work with.
type server struct {
	db         *catalog.DB
	keyring    *seal.Keyring
	sourceType func(name string) (connectors.Type, bool)
	log        *slog.Logger
	notifier   *notify.Notifier

	ticketKey   ed25519.PrivateKey
	downloadTTL time.Duration
	deleteGrace time.Duration

	schedules schedule.Parser
}

// Prefix is where the API is mounted.
const Prefix = "/api/v1"

// Mount adds the API, its description and the documentation to the router.
func Mount(root chi.Router, cfg Config) {
	r := chi.NewRouter()
	r.Use(requireKey(cfg))
	r.NotFound(NotFound)
	r.MethodNotAllowed(MethodNotAllowed(root))
	api := New(r, cfg)
	root.Mount(Prefix, r)
	root.Get(Prefix+"/openapi.json", serveDescription(api))
	mountDocs(root)
}

// New registers every operation on the router, which sees paths below Prefix.
func New(r chi.Router, cfg Config) huma.API {
	api := humachi.New(r, humaConfig(cfg.Version))
	s := &server{
		db: cfg.DB, keyring: cfg.Keyring, sourceType: cfg.SourceType, log: cfg.Log, notifier: cfg.Notifier,
		ticketKey: cfg.TicketKey, downloadTTL: cfg.DownloadTTL, deleteGrace: cfg.DeleteGrace,
	}
	api.UseMiddleware(refuseNoID, s.idempotent(api))
	s.registerTenants(api)
	s.registerCredentials(api)
	s.registerSources(api)
	s.registerRetention(api)
	s.registerSchedules(api)
	s.registerJobs(api)
	s.registerSnapshots(api)
	s.registerRestores(api)
	s.registerWorkers(api)
	s.registerChannels(api)
	s.registerNotifications(api)
	s.registerAPIKeys(api)
	s.registerAudit(api)
	complete(api)
	return api
}

func humaConfig(version string) huma.Config {
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "xVault", Version: version,
				Description: "Backups of many customers' servers, from a hub that never carries their bytes.",
			},
			Servers:  []*huma.Server{{URL: Prefix}},
			Security: []map[string][]string{{"key": {}}},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"key": {Type: "http", Scheme: "bearer", Description: "An API key: xv_<id>_<secret>, or the operator's first key."},
				},
			},
		},
		Formats:                      map[string]huma.Format{"application/json": huma.DefaultJSONFormat, "json": huma.DefaultJSONFormat},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{toProblem},
	}
}

// register adds an operation whose handler's errors become problems.
func register[I, O any](s *server, api huma.API, op huma.Operation, handle func(context.Context, *I) (*O, error)) {
	huma.Register(api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := handle(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, err)
		}
		return out, nil
	})
}

// problem turns an error into what the client sees, and logs what it does not.
func (s *server) problem(ctx context.Context, err error) error {
	p := problem.From(catalog.Classify(err))
	if p.Status >= http.StatusInternalServerError {
		s.log.ErrorContext(ctx, "request failed", "error", err, "request_id", requestID(ctx))
	}
	return p
}

// requireKey refuses a request without a valid key, before its body is read.
func requireKey(cfg Config) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, err := cfg.Auth.Authenticate(r.Context(), r.Header.Get("Authorization"))
			switch {
			case errors.Is(err, auth.ErrUnauthenticated):
				if wait := badKey(cfg.Guesses, r); wait > 0 {
					w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
					problem.Write(w, problem.New(http.StatusTooManyRequests, problem.TooManyRequests,
						"Too many bad keys came from this address; wait, and check the key."))
					return
				}
				problem.Write(w, problem.New(http.StatusUnauthorized, problem.Unauthorized,
					"This call needs a valid key: Authorization: Bearer <key>."))
				return
			case err != nil:
				cfg.Log.ErrorContext(r.Context(), "cannot check a key", "error", err, "request_id", requestID(r.Context()))
				problem.Write(w, problem.From(err))
				return
			}
			ctx := withRemoteAddr(auth.With(r.Context(), p), r.RemoteAddr)
			next.ServeHTTP(w, r.WithContext(ctx))
		})
	}
}

// badKey counts a key that is none; a call without one is no guess.
func badKey(g *auth.Guesses, r *http.Request) time.Duration {
	if r.Header.Get("Authorization") == "" {
		return 0
	}
	return g.Bad(r.RemoteAddr)
}
