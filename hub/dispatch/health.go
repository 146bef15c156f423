package dispatch

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// health turns the failures of one loop into growing waits, and into two log
// lines an outage: its begin and its end.
type health struct {
	log      *slog.Logger
	name     string
	most     time.Duration
	failures int
}

const firstBackoff = 100 * time.Millisecond

func newHealth(cfg Config, name string) *health {
	return &health{log: cfg.Log, name: name, most: cfg.MaxBackoff}
}

func (h *health) ok() {
	if h.failures > 0 {
		h.log.Info("queue works again", "loop", h.name, "failures", h.failures)
		h.failures = 0
	}
}

// after takes the outcome of a pass and says how long to wait because of it.
func (h *health) after(ctx context.Context, err error) time.Duration {
	switch {
	case err == nil:
		h.ok()
		return 0
	case ctx.Err() != nil:
		return 0
	}
	if h.failures == 0 {
		h.log.Warn("queue is disturbed; nothing is lost, trying again", "loop", h.name, "error", err)
	}
	h.failures++
	wait := min(h.most, firstBackoff<<min(h.failures-1, 16))
	return wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads hubs, guards nothing
}
