// Package prune carries retention out: it has package retention decide which
// snapshots of a source stay, and the catalog mark the others. It runs after each
// backup that completed, on a slow tick for whatever a stopped hub missed, and
// once more right before the grace time of what was marked is over.
//
// Every hub runs it. Runs on one source follow one another, and each looks anew,
// so that a second one finds nothing left to do. What a run marked and a later
// one would keep, because a newer snapshot turned out corrupt or the policy
// changed, is taken back.
package prune

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"xvault/store/catalog"
)

// Config is what a Pruner needs.
type Config struct {
	// DB is the catalog. Required.
	DB *catalog.DB
	// Grace is how long a snapshot stays after it was marked, and can be taken
	// back. 0: not at all.
	Grace time.Duration
	// Every is how often sources are looked for about which something changed.
	// Default 5 min.
	Every time.Duration
	// DueEvery is how often deletions are looked for whose grace time is over.
	// Default 5 s.
	DueEvery time.Duration
	// Log takes what was done. Default: nothing is told.
	Log *slog.Logger
}

// Pruner runs retention. Run it once.
type Pruner struct{ cfg Config }

// New checks the configuration.
func New(cfg Config) (*Pruner, error) {
	if cfg.DB == nil {
		return nil, errors.New("retention needs a catalog")
	}
	if cfg.Grace < 0 || cfg.Every < 0 || cfg.DueEvery < 0 {
		return nil, errors.New("durations of retention cannot be negative")
	}
	if cfg.Every == 0 {
		cfg.Every = 5 * time.Minute
	}
	if cfg.DueEvery == 0 {
		cfg.DueEvery = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Pruner{cfg}, nil
}

// batch is how many sources or deletions are taken at once.
const batch = 200

// Run works until ctx ends. A failure is logged and tried again at the next
// turn.
func (p *Pruner) Run(ctx context.Context) error {
	slow, due := time.NewTicker(p.cfg.Every), time.NewTicker(p.cfg.DueEvery)
	defer slow.Stop()
	defer due.Stop()
	p.changed(ctx)
	for {
		select {
		case <-ctx.Done():
			return nil
		case source := <-p.cfg.DB.Stored():
			p.stored(ctx, source)
		case <-due.C:
			p.due(ctx)
		case <-slow.C:
			p.changed(ctx)
		}
	}
}

// stored looks at a source of which a backup was stored.
func (p *Pruner) stored(ctx context.Context, source uuid.UUID) {
	if p.source(ctx, source) == nil {
		p.queue(ctx, nil)
	}
}

// changed looks at every source about which something changed.
func (p *Pruner) changed(ctx context.Context) {
	after := uuid.Nil
	for ctx.Err() == nil {
		ids, err := p.cfg.DB.SourcesToRetain(ctx, after, batch)
		if err != nil {
			p.warn(ctx, "cannot look for sources to apply retention to", err)
			return
		}
		for _, id := range ids {
			_ = p.source(ctx, id) // logged
		}
		if len(ids) < batch {
			return
		}
		after = ids[len(ids)-1]
	}
}

// due makes jobs of what was marked and whose grace is over, after one last
// look. Where that fails nothing of the source is deleted.
func (p *Pruner) due(ctx context.Context) {
	sources, err := p.cfg.DB.SourcesWithDueDeletions(ctx, batch)
	if err != nil {
		p.warn(ctx, "cannot look for due deletions", err)
		return
	}
	var spared []uuid.UUID
	for _, id := range sources {
		if p.source(ctx, id) != nil {
			spared = append(spared, id)
		}
	}
	p.queue(ctx, spared)
}

func (p *Pruner) queue(ctx context.Context, spared []uuid.UUID) {
	n, err := p.cfg.DB.QueueDueDeletions(ctx, batch, spared)
	if err != nil {
		p.warn(ctx, "cannot queue deletions", err)
		return
	}
	if n > 0 {
		p.cfg.Log.InfoContext(ctx, "snapshots whose grace time is over are deleted", "snapshots", n)
	}
}

// source runs retention on one source.
func (p *Pruner) source(ctx context.Context, id uuid.UUID) error {
	done, err := p.Source(ctx, id)
	if errors.Is(err, catalog.ErrNotFound) {
		return nil // deleted meanwhile
	}
	if err != nil {
		p.cfg.Log.WarnContext(ctx, "retention failed on a source; nothing of it was removed", "source_id", id, "error", err)
		return err
	}
	if len(done.Removed)+len(done.TakenBack) > 0 {
		p.cfg.Log.InfoContext(ctx, "retention marked snapshots of a source", "source_id", id,
			"removed", len(done.Removed), "taken_back", len(done.TakenBack), "grace", p.cfg.Grace.String())
	}
	return nil
}

// Source runs retention on one source, now.
func (p *Pruner) Source(ctx context.Context, id uuid.UUID) (catalog.Retention, error) {
	return p.cfg.DB.Retain(ctx, id, p.cfg.Grace, Plan)
}

func (p *Pruner) warn(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		p.cfg.Log.WarnContext(ctx, what, "error", err) //nolint:sloglint // one of the few texts above
	}
}
