package cmd

import (
	"math"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/spf13/cobra"

	"xvault/connectors/registry"
	"xvault/hub"
	"xvault/internal/heap"
	"xvault/store/catalog"
)

const hubServeHelp = `Serves the API, the workers, and the queue.

  DATABASE_URL           the catalog: postgres://...
  REDIS_URL              the queue: redis://...
  HUB_ENCRYPTION_KEK     what stored secrets are encrypted with: key_id:base64, or a passphrase
  HUB_OPERATOR_KEY       the operator's first key, 32 characters or more
  HUB_WORKER_JOIN_TOKEN  lets new workers register, 32 characters or more
  HUB_LISTEN_ADDR        where to serve (:8080)
  HUB_TLS_CERT_FILE, HUB_TLS_KEY_FILE
                         certificate and key; read again when they change
  HUB_ALLOW_PLAIN_HTTP   true: take plain HTTP from other machines, keys readable on the way
  HUB_MIGRATE            false: do not bring the catalog up to date at start
  HUB_DATABASE_CONNS     connections to the catalog (16)
  HUB_SOURCE_CONCURRENCY, HUB_HOST_CONCURRENCY, HUB_TENANT_CONCURRENCY
                         backups at once of a source (1), of all sources on one host (16),
                         of a tenant (64); 0: no limit
  HUB_DOWNLOAD_TTL       for how long restored files can be downloaded (24h)
  HUB_DELETE_GRACE       how long a removed snapshot stays and can be taken back (24h); 0s: not at all
  HUB_BAD_KEY_LIMIT      bad keys a minute from one address before it has to wait (0: any number)
  HUB_NOTIFY_REFUSE_PRIVATE
                         true: tenants' notifications never go to private addresses
  HUB_STORAGE_LEAST_FREE below how many percent of free space a storage is nearly full (10)
  HUB_METRICS_SOURCES    for how many sources /metrics has a series of its own (1000; 0: none)
  HUB_SHUTDOWN_TIMEOUT   how long running requests may take at the end (15s)
  LOG_LEVEL, LOG_FORMAT  debug, info, warn, error; json, text

"xvault hub keygen" makes the secrets. ` + settingsHelp

func newHubServeCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run a hub", Long: hubServeHelp, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return serveHub(c) },
	}
	configFlag(c)
	settingFlag(c, "listen", "HUB_LISTEN_ADDR", "where to serve")
	settingFlag(c, "tls-cert", "HUB_TLS_CERT_FILE", "certificate chain, PEM")
	settingFlag(c, "tls-key", "HUB_TLS_KEY_FILE", "the certificate's key, PEM")
	settingSwitch(c, "allow-plain-http", "HUB_ALLOW_PLAIN_HTTP", "take plain HTTP from other machines; keys can be read on the way")
	settingFlag(c, "migrate", "HUB_MIGRATE", "whether to bring the catalog up to date at start: true or false")
	settingFlag(c, "log-level", "LOG_LEVEL", "debug, info, warn or error")
	settingFlag(c, "log-format", "LOG_FORMAT", "json or text")
	return c
}

func serveHub(c *cobra.Command) error {
	s, err := loadSettings(c, knownSettings())
	if err != nil {
		return err
	}
	cfg, err := hubConfig(s)
	if err != nil {
		return err
	}
	if cfg.Log, err = logSettings(s, c.ErrOrStderr()); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return &usageError{err}
	}
	redis.SetLogger(redisLog{cfg.Log})
	heap.ForHub()
	h, err := hub.New(c.Context(), cfg)
	if err != nil {
		return err
	}
	return h.Serve(c.Context())
}

// hubConfig reads the settings of a hub, all but its log.
func hubConfig(s *settings) (hub.Config, error) {
	cfg := hub.Config{
		ListenAddr: s.text("HUB_LISTEN_ADDR", ":8080"), TLSCertFile: s.text("HUB_TLS_CERT_FILE", ""),
		TLSKeyFile: s.text("HUB_TLS_KEY_FILE", ""), SourceTypes: registry.All(), Version: buildVersion(),
	}
	read := reader{s: s}
	cfg.DatabaseURL = read.secret("DATABASE_URL")
	cfg.RedisURL = read.secret("REDIS_URL")
	cfg.EncryptionKEK = read.secret("HUB_ENCRYPTION_KEK")
	cfg.OperatorKey = read.secret("HUB_OPERATOR_KEY")
	cfg.JoinToken = read.secret("HUB_WORKER_JOIN_TOKEN")
	cfg.AllowPlainHTTP = read.boolean("HUB_ALLOW_PLAIN_HTTP", false)
	cfg.SkipMigrations = !read.boolean("HUB_MIGRATE", true)
	cfg.DatabaseConns = int32(min(read.number("HUB_DATABASE_CONNS", 16), math.MaxInt16))
	cfg.Limits = catalog.Limits{
		PerSource: read.limit("HUB_SOURCE_CONCURRENCY", 1), PerHost: read.limit("HUB_HOST_CONCURRENCY", 16),
		PerTenant: read.limit("HUB_TENANT_CONCURRENCY", 64),
	}
	cfg.DownloadTTL = read.duration("HUB_DOWNLOAD_TTL", 24*time.Hour)
	cfg.DeleteGrace = read.wait("HUB_DELETE_GRACE", 24*time.Hour)
	cfg.BadKeysPerMinute = read.limit("HUB_BAD_KEY_LIMIT", 0)
	cfg.NotifyRefusePrivate = read.boolean("HUB_NOTIFY_REFUSE_PRIVATE", false)
	cfg.StorageLeastFree = float64(read.number("HUB_STORAGE_LEAST_FREE", 10)) / 100
	cfg.MetricsSources = read.limit("HUB_METRICS_SOURCES", 1000)
	cfg.ShutdownTimeout = read.duration("HUB_SHUTDOWN_TIMEOUT", 15*time.Second)
	return cfg, read.err
}
