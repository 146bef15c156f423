package hub

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"xvault/internal/secret"
	"xvault/migrations"
)

// pinger is a part whose health a ping tells.
type pinger interface {
	Ping(ctx context.Context) error
}

// health answers load balancers and supervisors, without a key. Its answers
// name states only, never an address or an error's text.
type health struct {
	db, redis pinger
	url       secret.Text

	// One check at a time, and its answer for all who waited: many pollers must
	// not become many connections, nor wait for each other's timeouts.
	mu    sync.Mutex
	last  readiness
	taken time.Time
}

const (
	checkTimeout = 3 * time.Second
	checkAge     = 250 * time.Millisecond
)

func newHealth(db, redis pinger, url secret.Text) *health {
	return &health{db: db, redis: redis, url: url}
}

func (h *health) alive(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{"ok": true})
}

// readiness is the answer of /readyz.
type readiness struct {
	Ready      bool   `json:"ready"`
	Postgres   string `json:"postgres"`
	Redis      string `json:"redis"`
	Migrations string `json:"migrations"`
}

const (
	stateOK          = "ok"
	stateUnreachable = "unreachable"
)

func (h *health) ready(w http.ResponseWriter, r *http.Request) {
	answer := h.check(r.Context())
	status := http.StatusOK
	if !answer.Ready {
		status = http.StatusServiceUnavailable
	}
	writeJSON(w, status, answer)
}

func (h *health) check(ctx context.Context) readiness {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.taken.IsZero() && time.Since(h.taken) < checkAge {
		return h.last
	}
	// A caller that hangs up must not make the answer for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	var answer readiness
	var checks sync.WaitGroup
	checks.Go(func() { answer.Postgres = ping(ctx, h.db) })
	checks.Go(func() { answer.Redis = ping(ctx, h.redis) })
	checks.Go(func() { answer.Migrations = h.migrations(ctx) })
	checks.Wait()
	answer.Ready = answer == readiness{Postgres: stateOK, Redis: stateOK, Migrations: stateOK}
	h.last, h.taken = answer, time.Now() //nolint:forbidigo // the age of an answer, not logic
	return answer
}

func ping(ctx context.Context, p pinger) string {
	if err := p.Ping(ctx); err != nil {
		return stateUnreachable
	}
	return stateOK
}

func (h *health) migrations(ctx context.Context) string {
	status, err := migrations.ReadStatus(ctx, h.url)
	if err != nil {
		return stateUnreachable
	}
	err = status.Err()
	switch {
	case errors.Is(err, migrations.ErrDirty):
		return "interrupted"
	case errors.Is(err, migrations.ErrNewerCatalog):
		return "newer_than_this_hub"
	case errors.Is(err, migrations.ErrOlderCatalog):
		return "missing"
	}
	return stateOK
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte("{}")
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // a client that is gone is no error of ours
}
