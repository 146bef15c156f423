// Package hub is the control plane: it serves the public API and the workers'
// internal one, dispatches jobs and keeps house. It never carries backup bytes.
//
// Hubs are stateless; several of them may share one Postgres and one Redis, and
// each may be stopped or killed at any moment. A hub that stops in order takes
// no new request, ends the running ones within a bound, and then hangs up.
package hub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"xvault/archive/seal"
	"xvault/hub/api"
	"xvault/hub/auth"
	"xvault/hub/dispatch"
	"xvault/hub/notify"
	"xvault/hub/prune"
	"xvault/hub/scheduler"
	"xvault/hub/workerapi"
	"xvault/internal/certfile"
	"xvault/internal/failpoint"
	"xvault/migrations"
	"xvault/store/catalog"
)

// Hub is a hub that listens. Serve must be called, or Close.
type Hub struct {
	cfg        Config
	log        *slog.Logger
	db         *catalog.DB
	dispatcher *dispatch.Dispatcher
	scheduler  *scheduler.Scheduler
	pruner     *prune.Pruner
	notifier   *notify.Notifier
	backups    *backupMetrics
	listener   net.Listener
	server     *http.Server
}

// Limits of the HTTP server. A body is small, and an answer is quick: nothing
// here carries backup bytes.
const (
	readHeaderTimeout = 10 * time.Second
	readTimeout       = 30 * time.Second
	writeTimeout      = 60 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 32 << 10
)

// New opens the catalog, migrates it unless told not to, proves the encryption
// keys, and listens. It serves nothing yet.
func New(ctx context.Context, cfg Config) (_ *Hub, err error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	keks, err := seal.ParseKEKs(cfg.EncryptionKEK)
	if err != nil {
		return nil, err
	}
	backups := newBackupMetrics()
	db, err := catalog.Open(ctx, catalog.Config{
		URL: cfg.DatabaseURL, MaxConns: cfg.DatabaseConns, Limits: cfg.Limits, Recorded: backups.observe,
	})
	if err != nil {
		return nil, err
	}
	h := &Hub{cfg: cfg, log: cfg.Log, db: db, backups: backups}
	defer func() {
		if err != nil {
			h.Close()
		}
	}()
	if err := migrate(ctx, cfg); err != nil {
		return nil, err
	}
	keyring, err := db.Keyring(ctx, keks)
	if err != nil {
		return nil, err
	}
	return h, h.assemble(ctx, keyring)
}

func migrate(ctx context.Context, cfg Config) error {
	if !cfg.SkipMigrations {
		return migrations.Up(ctx, cfg.DatabaseURL)
	}
	status, err := migrations.ReadStatus(ctx, cfg.DatabaseURL)
	if err != nil {
		return err
	}
	return status.Err()
}

// assemble wires the parts and listens.
func (h *Hub) assemble(ctx context.Context, keyring *seal.Keyring) error {
	authenticator, err := auth.New(h.db, h.cfg.OperatorKey, h.log)
	if err != nil {
		return err
	}
	workers, err := workerapi.Handler(workerapi.Config{DB: h.db, Keyring: keyring, JoinToken: h.cfg.JoinToken, Log: h.log})
	if err != nil {
		return err
	}
	h.dispatcher, err = dispatch.New(dispatch.Config{
		DB: h.db, RedisURL: h.cfg.RedisURL, Log: h.log,
		Tick:           failpoint.Hurry(time.Second, 200*time.Millisecond),
		ReconcileEvery: failpoint.Hurry(10*time.Second, time.Second), ReapEvery: failpoint.Hurry(5*time.Second, time.Second),
		PullBackEvery: failpoint.Hurry(time.Minute, 2*time.Second),
	})
	if err != nil {
		return err
	}
	if h.scheduler, err = scheduler.New(scheduler.Config{DB: h.db, Log: h.log, Tick: failpoint.Hurry(time.Second, 100*time.Millisecond)}); err != nil {
		return err
	}
	h.pruner, err = prune.New(prune.Config{
		DB: h.db, Grace: h.cfg.DeleteGrace, Log: h.log,
		Every: failpoint.Hurry(5*time.Minute, time.Second), DueEvery: failpoint.Hurry(5*time.Second, 300*time.Millisecond),
	})
	if err != nil {
		return err
	}
	h.notifier, err = notify.New(notify.Config{
		DB: h.db, Keyring: keyring, RefusePrivate: h.cfg.NotifyRefusePrivate, LeastFree: h.cfg.StorageLeastFree, Log: h.log,
	})
	if err != nil {
		return err
	}
	ticketKey, err := h.db.TicketSigner(ctx, keyring)
	if err != nil {
		return err
	}
	handler := newRouter(routerConfig{
		Public: api.Config{
			DB: h.db, Keyring: keyring, Auth: authenticator, SourceType: h.cfg.SourceTypes.Lookup,
			Guesses:  auth.NewGuesses(h.cfg.BadKeysPerMinute, time.Now), //nolint:forbidigo // a minute of this hub's own
			Notifier: h.notifier, TicketKey: ticketKey, DownloadTTL: h.cfg.DownloadTTL, DeleteGrace: h.cfg.DeleteGrace,
			Version: h.cfg.Version, Log: h.log,
		},
		Workers:        workers,
		Health:         newHealth(h.db, h.dispatcher, h.cfg.DatabaseURL),
		Metrics:        newMetrics(h.db, h.log, h.backups, newSourceCollector(h.db, h.log, h.cfg.MetricsSources)),
		AllowPlainHTTP: h.cfg.AllowPlainHTTP,
		Log:            h.log,
	})
	h.server = &http.Server{
		Handler: handler, ReadHeaderTimeout: readHeaderTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout,
		IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	return h.listen(ctx)
}

func (h *Hub) listen(ctx context.Context) error {
	var lc net.ListenConfig
	listener, err := lc.Listen(ctx, "tcp", h.cfg.ListenAddr)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", h.cfg.ListenAddr, err)
	}
	h.listener = listener
	if h.cfg.TLSCertFile == "" {
		return nil
	}
	cert, err := certfile.Open(h.cfg.TLSCertFile, h.cfg.TLSKeyFile, h.log)
	if err != nil {
		return err
	}
	h.server.TLSConfig = cert.Config()
	return nil
}

// Addr is where the hub listens.
func (h *Hub) Addr() net.Addr { return h.listener.Addr() }

// Close hangs up at once. Serve does it on its own.
func (h *Hub) Close() {
	if h.listener != nil {
		// Serve may have closed it.
		_ = h.listener.Close()
	}
	if h.dispatcher != nil {
		if err := h.dispatcher.Close(); err != nil {
			h.log.Warn("close the dispatcher", "error", err)
		}
	}
	h.db.Close()
}

// Serve runs the hub until ctx ends, then stops it in order. It returns nil
// after an orderly stop.
func (h *Hub) Serve(ctx context.Context) error {
	defer h.Close()
	h.announce()
	// What runs in the background outlives the requests: a request that is
	// being finished may still create a job.
	background, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	var workers errgroup.Group
	workers.Go(func() error { return ended(background, "dispatcher", h.dispatcher.Run(background)) })
	workers.Go(func() error { return ended(background, "retention", h.pruner.Run(background)) })
	workers.Go(func() error { return ended(background, "scheduler", h.scheduler.Run(background)) })
	workers.Go(func() error { return ended(background, "notifications", h.notifier.Run(background)) })
	workers.Go(func() error { return ended(background, "housekeeping", h.keepHouse(background)) })
	failed := make(chan error, 1)
	go func() {
		err := workers.Wait()
		stop(err)
		failed <- err
	}()
	err := h.serveHTTP(ctx, background)
	stop(errStopping)
	return errors.Join(err, <-failed)
}

var errStopping = errors.New("the hub is stopping")

// ended makes an error of the end of a part that was not told to end.
func ended(ctx context.Context, part string, err error) error {
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	if err == nil {
		err = errors.New("ended on its own")
	}
	return fmt.Errorf("%s: %w", part, err)
}

// serveHTTP serves until ctx or background ends, and then lets running
// requests finish within the bound.
func (h *Hub) serveHTTP(ctx, background context.Context) error {
	served := make(chan error, 1)
	go func() {
		if h.server.TLSConfig != nil {
			served <- h.server.ServeTLS(h.listener, "", "")
			return
		}
		served <- h.server.Serve(h.listener)
	}()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	case <-background.Done():
	}
	h.log.Info("hub stops: no new requests, running ones are finished")
	bound, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.ShutdownTimeout)
	defer cancel()
	if err := h.server.Shutdown(bound); err != nil {
		h.log.Warn("requests did not end in time and are cut off", "error", err)
		if err := h.server.Close(); err != nil {
			h.log.Warn("close connections", "error", err)
		}
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

func (h *Hub) announce() {
	h.log.Info("hub serves", "address", h.Addr().String(), "tls", h.server.TLSConfig != nil, "version", h.cfg.Version)
	if h.cfg.JoinToken.IsZero() {
		h.log.Warn("HUB_WORKER_JOIN_TOKEN is not set: no new worker can register")
	}
	if h.server.TLSConfig != nil {
		return
	}
	if h.cfg.AllowPlainHTTP {
		h.log.Warn("HUB_ALLOW_PLAIN_HTTP is set: keys, tokens and secrets are readable by everybody between this hub and its clients")
		return
	}
	h.log.Warn("plain HTTP: only clients on this machine are served; set HUB_TLS_CERT_FILE and HUB_TLS_KEY_FILE for others")
}
