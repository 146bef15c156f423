package hub

import (
	"log/slog"
	"net/http"

	"github.com/go-chi/chi/v5"

	"xvault/hub/api"
)

type routerConfig struct {
	Public         api.Config
	Workers        http.Handler
	Health         *health
	Metrics        *metrics
	AllowPlainHTTP bool
	Log            *slog.Logger
}

// newRouter puts the parts under one roof. Order matters: a request gets its id
// first, so that whatever refuses it is logged with it.
func newRouter(cfg routerConfig) http.Handler {
	r := chi.NewRouter()
	r.Use(withRequestID, observe(cfg.Log, cfg.Metrics), recoverPanics(cfg.Log), securityHeaders)
	r.NotFound(api.NotFound)
	r.MethodNotAllowed(api.MethodNotAllowed(r))
	r.Get("/healthz", cfg.Health.alive)
	r.Head("/healthz", cfg.Health.alive)
	r.Get("/readyz", cfg.Health.ready)
	r.Head("/readyz", cfg.Health.ready)
	r.Handle("/metrics", cfg.Metrics.handler())
	// What carries keys and secrets.
	r.Group(func(r chi.Router) {
		r.Use(refusePlaintext(cfg.AllowPlainHTTP))
		r.Mount("/internal", cfg.Workers)
		api.Mount(r, cfg.Public)
	})
	return r
}
