package cmd

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"xvault/connectors"
	"xvault/connectors/registry"
	"xvault/internal/heap"
	"xvault/internal/secret"
	"xvault/worker"
)

// Where a worker keeps things unless it is told otherwise.
const (
	defaultStorageBase = "/var/lib/xvault/backups"
	defaultStateDir    = "/var/lib/xvault/worker"
	defaultTempDir     = "/tmp/gobackup"
	defaultListenAddr  = ":8081"
)

// defaultRedisURL is that of a machine that runs everything.
const defaultRedisURL = "redis://127.0.0.1:6379/0"

const workerRunHelp = `Runs a worker: it takes jobs from the queue, fetches data from sources, seals it
and stores it. It needs a hub and the hub's Redis; it has neither the catalog's
address nor a key of the hub, and they should not be in its environment.

  HUB_BASE_URL              the hub's address (https, or http on this machine)
  REDIS_URL                 the Redis that the hub uses (default ` + defaultRedisURL + `)
  WORKER_JOIN_TOKEN         the hub's HUB_WORKER_JOIN_TOKEN, for the first start
  WORKER_ID                 its name (default: one is made and kept)
  WORKER_NAME               for people (default: the host name)
  WORKER_STORAGE_BASE       the folder of the snapshots (default ` + defaultStorageBase + `)
  WORKER_STATE_DIR          its token and identity (default ` + defaultStateDir + `)
  WORKER_TEMP_DIR           temporary files of jobs (default ` + defaultTempDir + `)
  WORKER_CONCURRENCY        jobs at once (default 4)
  WORKER_LISTEN_ADDR        for downloads (default ` + defaultListenAddr + `); off: none
  WORKER_PUBLIC_URL         how people reach it (default: that address)
  WORKER_TLS_CERT_FILE, WORKER_TLS_KEY_FILE
                            a PEM certificate chain and its key for downloads
  WORKER_DOWNLOADS          downloads at once (default 8)
  WORKER_DRAIN_TIMEOUT      how long a stop waits for jobs before it hands them
                            back (default 1m)
  WORKER_RECONCILE_EVERY    how often storage and catalog are compared (default 1h)
  WORKER_ORPHAN_GRACE       for how long the hub must not have known a snapshot
                            before it is deleted from the storage (default 24h)
  WORKER_VERIFY_WRITES      true: read every artifact again after it was written
  WORKER_DRILL_USER         who the scratch servers of restore drills run as, where
                            the worker runs as root (default xvault-drill, or nobody)
  WORKER_BANDWIDTH_LIMIT    of all sources together, by the hours of the day:
                            20MB/s, or 20MB/s,mon-fri 08:00-18:00=5MB/s,timezone=Europe/Berlin
                            (default: no limit)
  WORKER_REFUSE_PRIVATE     true: never connect to private addresses
  WORKER_ALLOW_PLAIN_HTTP   true: let HUB_BASE_URL be http to another machine,
                            and serve downloads to others without TLS: anyone on
                            the way can read the worker's token and those files
  LOG_LEVEL, LOG_FORMAT     debug, info, warn or error; json or text

The first SIGINT or SIGTERM lets running jobs finish or hands them back, the
second ends the process at once.

`

func newWorkerRunCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "run", Short: "Run a worker", Long: workerRunHelp + settingsHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runWorker(c) },
	}
	configFlag(c)
	settingFlag(c, "id", "WORKER_ID", "the worker's id")
	settingFlag(c, "hub", "HUB_BASE_URL", "the hub's address")
	settingFlag(c, "storage", "WORKER_STORAGE_BASE", "folder of the snapshots")
	settingFlag(c, "state", "WORKER_STATE_DIR", "folder of the worker's token and identity")
	settingFlag(c, "concurrency", "WORKER_CONCURRENCY", "jobs at once")
	return c
}

func runWorker(c *cobra.Command) error {
	s, err := loadSettings(c, knownSettings())
	if err != nil {
		return err
	}
	log, err := logSettings(s, c.ErrOrStderr())
	if err != nil {
		return err
	}
	heap.ForArchives()
	cfg, err := workerConfig(s, log)
	if err != nil {
		return err
	}
	warnOfHubSecrets(s, log)
	redis.SetLogger(redisLog{log})
	w, err := worker.New(c.Context(), cfg)
	if err != nil {
		return usagef("%w", err)
	}
	return w.Run(c.Context())
}

// workerConfig puts a worker's configuration together from its settings.
func workerConfig(s *settings, log *slog.Logger) (worker.Config, error) {
	cfg := worker.Config{
		ID: s.text("WORKER_ID", ""), Name: s.text("WORKER_NAME", ""), Version: buildVersion(),
		HubURL:      s.text("HUB_BASE_URL", ""),
		StorageBase: s.text("WORKER_STORAGE_BASE", defaultStorageBase),
		StateDir:    s.text("WORKER_STATE_DIR", defaultStateDir),
		TempDir:     s.text("WORKER_TEMP_DIR", defaultTempDir),
		ListenAddr:  s.text("WORKER_LISTEN_ADDR", defaultListenAddr),
		PublicURL:   s.text("WORKER_PUBLIC_URL", ""),
		TLSCertFile: s.text("WORKER_TLS_CERT_FILE", ""),
		TLSKeyFile:  s.text("WORKER_TLS_KEY_FILE", ""),
		DrillUser:   s.text("WORKER_DRILL_USER", ""),
		SourceTypes: registry.All(), Log: log,
	}
	r := &reader{s: s}
	if cfg.RedisURL = r.secret("REDIS_URL"); cfg.RedisURL.IsZero() {
		cfg.RedisURL = secret.New(defaultRedisURL)
		log.Info("REDIS_URL is not set: using the Redis of this machine", "address", defaultRedisURL)
	}
	cfg.JoinToken = r.secret("WORKER_JOIN_TOKEN")
	if cfg.ListenAddr == "off" {
		cfg.ListenAddr = ""
	}
	cfg.Downloads = r.number("WORKER_DOWNLOADS", 8)
	cfg.Concurrency = r.number("WORKER_CONCURRENCY", 4)
	cfg.DrainTimeout = r.duration("WORKER_DRAIN_TIMEOUT", time.Minute)
	cfg.ReconcileEvery = r.duration("WORKER_RECONCILE_EVERY", time.Hour)
	cfg.OrphanGrace = r.duration("WORKER_ORPHAN_GRACE", 24*time.Hour)
	cfg.AllowPlainHTTP = r.boolean("WORKER_ALLOW_PLAIN_HTTP", false)
	cfg.ReadBack = r.boolean("WORKER_VERIFY_WRITES", false)
	cfg.Bandwidth = r.bandwidth("WORKER_BANDWIDTH_LIMIT")
	refusePrivate := r.boolean("WORKER_REFUSE_PRIVATE", false)
	if r.err != nil {
		return worker.Config{}, r.err
	}
	cfg.Dial = connectors.NewDialer(connectors.DialerConfig{RefusePrivate: refusePrivate})
	return cfg, nil
}

// warnOfHubSecrets: whoever takes over a worker should find nothing of the hub.
func warnOfHubSecrets(s *settings, log *slog.Logger) {
	for _, name := range []string{"DATABASE_URL", "HUB_ENCRYPTION_KEK", "HUB_OPERATOR_KEY"} {
		if s.getenv(name) != "" || s.getenv(name+"_FILE") != "" {
			log.Warn("a worker does not need this setting of the hub; keep it out of its environment", "setting", name)
		}
	}
}

// redisLog keeps the Redis client from writing to standard error on its own.
type redisLog struct{ log *slog.Logger }

// Printf implements the client's logger.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.DebugContext(ctx, "redis client", "detail", fmt.Sprintf(format, v...))
}

func newWorkerHealthCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "health", Short: "Tell whether the worker on this machine reaches its hub", Args: cobra.NoArgs,
		Long: "Looks into WORKER_STATE_DIR for a sign that the hub took one of the worker's\nheartbeats lately; ends with an error if not. For health checks of containers.",
		RunE: func(c *cobra.Command, _ []string) error {
			s, err := loadSettings(c, knownSettings())
			if err != nil {
				return err
			}
			return worker.Healthy(s.text("WORKER_STATE_DIR", defaultStateDir), time.Now())
		},
	}
	configFlag(c)
	settingFlag(c, "state", "WORKER_STATE_DIR", "folder of the worker's token and identity")
	return c
}
