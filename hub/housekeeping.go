package hub

import (
	"context"
	"time"
)

const (
	// idempotencyKeyAge is how long a repeated request gets its first answer.
	idempotencyKeyAge = 24 * time.Hour
	idempotencyBatch  = 1000
)

// keepHouse does small regular chores until ctx ends. Every hub does them: each
// is one statement that does nothing where another hub was faster. A failure
// is logged and tried again at the next turn.
func (h *Hub) keepHouse(ctx context.Context) error {
	ticker := time.NewTicker(h.cfg.Housekeeping)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			h.chores(ctx)
		}
	}
}

func (h *Hub) chores(ctx context.Context) {
	silent, err := h.db.MarkSilentWorkers(ctx)
	if err != nil && ctx.Err() == nil {
		h.log.Warn("cannot mark silent workers", "error", err)
	}
	for _, worker := range silent {
		h.log.Warn("worker is offline: it has not been heard of", "worker_id", worker)
	}
	if _, err := h.db.ExpireIdempotencyKeys(ctx, idempotencyKeyAge, idempotencyBatch); err != nil && ctx.Err() == nil {
		h.log.Warn("cannot forget old idempotency keys", "error", err)
	}
	if _, err := h.db.PruneTickets(ctx, idempotencyBatch); err != nil && ctx.Err() == nil {
		h.log.Warn("cannot forget old tickets", "error", err)
	}
	if _, err := h.db.PruneImports(ctx); err != nil && ctx.Err() == nil {
		h.log.Warn("cannot forget old imports", "error", err)
	}
}
