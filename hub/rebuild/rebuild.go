package rebuild

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"xvault/archive/seal"
	"xvault/internal/failpoint"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// Config is what an import needs.
type Config struct {
	// DatabaseURL is the catalog (DATABASE_URL). Required.
	DatabaseURL secret.Text
	// EncryptionKEK is what stored secrets are encrypted with
	// (HUB_ENCRYPTION_KEK). Required.
	EncryptionKEK secret.Text
	// WorkerID is the worker whose storage is taken in. Required.
	WorkerID string
	// Identities are those of the tenants.
	Identities []Identity
	// DryRun: nothing is changed, only told.
	DryRun bool
	// Patience is how long the worker may say nothing. Default 2 min.
	Patience time.Duration
	// Progress is told now and then what is being done; may be nil.
	Progress func(what string, done, total int64)
	// Log takes what happened. Default: nothing is told.
	Log *slog.Logger
}

const (
	pageSize  = 500
	batchSize = 200
	pollEvery = 250 * time.Millisecond
)

// Run has a worker list its storage and takes what it finds into the catalog. It
// may be killed at any moment and run again. Errors: catalog.ErrNotFound, of the
// worker; catalog.ErrImportRuns.
func Run(ctx context.Context, cfg Config) (Report, error) {
	if cfg.Patience <= 0 {
		cfg.Patience = 2 * time.Minute
	}
	if cfg.Progress == nil {
		cfg.Progress = func(string, int64, int64) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	identities, err := newRing(cfg.Identities)
	if err != nil {
		return Report{}, err
	}
	keks, err := seal.ParseKEKs(cfg.EncryptionKEK)
	if err != nil {
		return Report{}, err
	}
	db, err := catalog.Open(ctx, catalog.Config{URL: cfg.DatabaseURL, MaxConns: 4})
	if err != nil {
		return Report{}, err
	}
	defer db.Close()
	kek, err := db.Keyring(ctx, keks)
	if err != nil {
		return Report{}, err
	}
	unlock, err := db.LockImports(ctx, cfg.WorkerID)
	if err != nil {
		return Report{}, err
	}
	defer unlock()
	scope := db.Operator(catalog.Actor{Type: catalog.ActorCommand, ID: "import"})
	return (&rebuild{cfg: cfg, db: db, scope: scope, kek: kek, identities: identities}).run(ctx)
}

type rebuild struct {
	cfg        Config
	db         *catalog.DB
	scope      catalog.Scope
	kek        *seal.Keyring
	identities ring
	listing    catalog.Import
}

func (r *rebuild) run(ctx context.Context) (_ Report, err error) {
	im, err := r.scope.Importer()
	if err != nil {
		return Report{}, err
	}
	r.listing, err = r.scope.StartImport(ctx, r.cfg.WorkerID)
	if err != nil {
		return Report{}, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		err = errors.Join(err, r.scope.EndImport(ctx, r.listing.ID))
	}()
	if err := r.waitForListing(ctx); err != nil {
		return Report{}, err
	}
	if err := failpoint.Hit("import.listed"); err != nil {
		return Report{}, err
	}
	var report Report
	take := func(im catalog.Importer) (err error) {
		report, err = r.take(ctx, im)
		return err
	}
	if r.cfg.DryRun {
		err = im.Dry(ctx, take)
	} else {
		err = take(im)
	}
	return report, err
}

// waitForListing waits as long as pages keep coming.
func (r *rebuild) waitForListing(ctx context.Context) error {
	silence := time.NewTimer(r.cfg.Patience)
	defer silence.Stop()
	found := int64(-1)
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		now, err := r.scope.ImportByID(ctx, r.listing.ID)
		switch {
		case errors.Is(err, catalog.ErrNotFound):
			return fmt.Errorf("the worker %q was removed, or another import took this one's place", r.cfg.WorkerID)
		case err != nil:
			return err
		case now.Listed:
			r.listing = now
			return nil
		case now.Found != found:
			silence.Reset(r.cfg.Patience)
			found = now.Found
			r.cfg.Progress("waiting for the worker's list of its storage", now.Found, 0)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-silence.C:
			return r.silent(ctx)
		case <-ticker.C:
		}
	}
}

// silent says what may keep the worker from answering.
func (r *rebuild) silent(ctx context.Context) error {
	w, err := r.scope.Worker(ctx, r.cfg.WorkerID)
	if err != nil {
		return err
	}
	return fmt.Errorf("the worker %q has not told for %s what is on its storage (it is %s, its storage is %s, it was last heard of at %s, its version is %q): "+
		"is it running, with its disk mounted, and no older than this program? Nothing was changed; run this again",
		w.ID, r.cfg.Patience, w.Status, w.StorageState, w.LastSeenAt.UTC().Format(time.RFC3339), w.Version)
}

// take goes over the listing twice: for the keys, and for the snapshots.
func (r *rebuild) take(ctx context.Context, im catalog.Importer) (Report, error) {
	now, err := r.db.Now(ctx)
	if err != nil {
		return Report{}, err
	}
	t := newTaking(r, im, now)
	if err := t.collectKeys(ctx); err != nil {
		return t.result(), err
	}
	if err := t.makeTenants(ctx); err != nil {
		return t.result(), err
	}
	if err := t.completeKeys(ctx); err != nil {
		return t.result(), err
	}
	for _, unconfirmed := range []bool{false, true} {
		if err := t.takeSnapshots(ctx, unconfirmed); err != nil {
			return t.result(), err
		}
	}
	return t.result(), failpoint.Hit("import.end")
}

// each visits what was found, in the order of places.
func (r *rebuild) each(ctx context.Context, unconfirmed []bool, visit func(candidate, error) error, now time.Time) error {
	after := ""
	for {
		page, err := r.scope.FoundItems(ctx, r.listing.ID, unconfirmed, after, pageSize)
		if err != nil {
			return err
		}
		for _, f := range page {
			c, wrong := judge(f, now)
			c.found = f
			if err := visit(c, wrong); err != nil {
				return err
			}
			after = f.Place
		}
		if len(page) < pageSize {
			return nil
		}
	}
}
