package hub

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/google/uuid"

	"xvault/archive/seal"
	"xvault/internal/failpoint"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// RekeyConfig is what a rekey needs.
type RekeyConfig struct {
	// DatabaseURL is the catalog (DATABASE_URL). Required.
	DatabaseURL secret.Text
	// EncryptionKEK holds the new KEK first and behind it every one that stored
	// secrets still need (HUB_ENCRYPTION_KEK). Required.
	EncryptionKEK secret.Text
	// Batch is how many secrets one transaction rewraps. Default 100.
	Batch int
	// Progress is told after each batch; may be nil.
	Progress func(table string, done, left int64)
	// Log takes what happened. Default: nothing is told.
	Log *slog.Logger
}

// RekeyReport is what a rekey did.
type RekeyReport struct {
	KeyID     string // the KEK that all secrets are under now
	Rewrapped int64
	// Left counts secrets that other hubs stored under another KEK meanwhile.
	Left int64
}

// maxRekeyPasses bounds how often a table is gone over for what hubs that still
// seal with another KEK add meanwhile.
const maxRekeyPasses = 3

// Rekey puts every stored secret under the first KEK while hubs run. It may be
// killed at any moment and run again: each batch is one transaction, and a
// secret opens with the ring before, during and after. All hubs must know the
// first KEK before it begins: their settings list both, in either order.
func Rekey(ctx context.Context, cfg RekeyConfig) (RekeyReport, error) {
	if cfg.Batch <= 0 {
		cfg.Batch = 100
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	keks, err := seal.ParseKEKs(cfg.EncryptionKEK)
	if err != nil {
		return RekeyReport{}, err
	}
	db, err := catalog.Open(ctx, catalog.Config{URL: cfg.DatabaseURL, MaxConns: 2})
	if err != nil {
		return RekeyReport{}, err
	}
	defer db.Close()
	known, err := db.KnowsKey(ctx, keks.FirstKeyID())
	if err != nil {
		return RekeyReport{}, err
	}
	if !known {
		cfg.Log.Warn("no hub was started with the new key yet: hubs that run without it cannot open what is moved to it; restart them with both keys",
			"key_id", keks.FirstKeyID())
	}
	ring, err := db.Keyring(ctx, keks)
	if err != nil {
		return RekeyReport{}, err
	}
	r := &rekey{cfg: cfg, db: db, ring: ring, scope: db.Operator(catalog.Actor{Type: catalog.ActorCommand, ID: "rekey"})}
	return r.run(ctx)
}

type rekey struct {
	cfg   RekeyConfig
	db    *catalog.DB
	ring  *seal.Keyring
	scope catalog.Scope
	done  int64
}

func (r *rekey) run(ctx context.Context) (RekeyReport, error) {
	left, err := r.left(ctx)
	for pass := 0; err == nil && left > 0 && pass < maxRekeyPasses; pass++ {
		for _, table := range catalog.RekeyTables() {
			if err := r.table(ctx, table, left); err != nil {
				return r.report(left), err
			}
		}
		left, err = r.left(ctx)
	}
	return r.report(left), err
}

func (r *rekey) report(left int64) RekeyReport {
	return RekeyReport{KeyID: r.ring.FirstKeyID(), Rewrapped: r.done, Left: left}
}

// table goes over one table, batch by batch.
func (r *rekey) table(ctx context.Context, table string, total int64) error {
	after := uuid.Nil
	for {
		batch, err := r.scope.Rekey(ctx, r.ring, table, after, r.cfg.Batch)
		if err != nil {
			return fmt.Errorf("rekey %s after %d secrets (it may be run again): %w", table, r.done, err)
		}
		r.done += int64(batch.Rewrapped)
		after = batch.Last
		if batch.Seen > 0 {
			r.cfg.Log.Info("rewrapped a batch of secrets", "table", table, "key_id", r.ring.FirstKeyID(), "secrets", batch.Rewrapped)
			if r.cfg.Progress != nil {
				r.cfg.Progress(table, r.done, max(total-r.done, 0))
			}
		}
		if batch.Seen < r.cfg.Batch {
			return nil
		}
		if err := failpoint.Hit("rekey.batch"); err != nil {
			return err
		}
	}
}

// left counts the secrets that are not under the first KEK.
func (r *rekey) left(ctx context.Context) (int64, error) {
	uses, err := r.db.KeyUse(ctx)
	if err != nil {
		return 0, err
	}
	var left int64
	for _, use := range uses {
		if use.KeyID != r.ring.FirstKeyID() {
			left += use.Secrets
		}
	}
	return left, nil
}
