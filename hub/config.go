package hub

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/hub/auth"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// Config is everything a hub needs. The comments name the setting that a field
// comes from.
type Config struct {
	// DatabaseURL is the catalog: postgres://... (DATABASE_URL). Required.
	DatabaseURL secret.Text
	// DatabaseConns bounds the pool (HUB_DATABASE_CONNS). Default 16.
	DatabaseConns int32
	// SkipMigrations leaves the catalog as it is and only checks that it is of
	// this program's version (HUB_MIGRATE=false).
	SkipMigrations bool
	// RedisURL is the queue: redis://... (REDIS_URL). Required.
	RedisURL secret.Text
	// ListenAddr is where to serve (HUB_LISTEN_ADDR). Default ":8080".
	ListenAddr string
	// EncryptionKEK holds the key-encryption keys, in the form that
	// seal.ParseKEKs reads (HUB_ENCRYPTION_KEK). Required.
	EncryptionKEK secret.Text
	// OperatorKey is the operator's first key, 32 characters or more
	// (HUB_OPERATOR_KEY). Required.
	OperatorKey secret.Text
	// JoinToken lets new workers register, 32 characters or more
	// (HUB_WORKER_JOIN_TOKEN). Empty: no new worker may.
	JoinToken secret.Text
	// TLSCertFile and TLSKeyFile are a PEM certificate chain and its key
	// (HUB_TLS_CERT_FILE, HUB_TLS_KEY_FILE); both or none. They are read again
	// when they change.
	TLSCertFile, TLSKeyFile string
	// AllowPlainHTTP takes plain HTTP from other machines too, keys and all
	// readable on the way (HUB_ALLOW_PLAIN_HTTP). Without it and without a
	// certificate only this machine is served.
	AllowPlainHTTP bool
	// SourceTypes are the connectors whose configurations this hub knows.
	// Required.
	SourceTypes *connectors.Registry
	// BadKeysPerMinute is how many bad keys an address may present before it is
	// told to wait (HUB_BAD_KEY_LIMIT); 0: any number. Nobody guesses a key of 256
	// random bits; what a limit saves is the work of refusing.
	BadKeysPerMinute int
	// ShutdownTimeout bounds how long running requests may take once the hub
	// is told to stop (HUB_SHUTDOWN_TIMEOUT). Default 15 s.
	ShutdownTimeout time.Duration
	// Housekeeping is how often silent workers are marked and old idempotency
	// keys forgotten. Default 5 s.
	Housekeeping time.Duration
	// Limits bound the backups at once of a source, a host and a tenant
	// (HUB_SOURCE_CONCURRENCY, HUB_HOST_CONCURRENCY, HUB_TENANT_CONCURRENCY). 0: no
	// bound. The settings' defaults are 1, 16 and 64.
	Limits catalog.Limits
	// DownloadTTL is for how long restored files can be downloaded
	// (HUB_DOWNLOAD_TTL). Default 24 h.
	DownloadTTL time.Duration
	// DeleteGrace is how long a snapshot that retention or a person removes stays
	// and can be taken back (HUB_DELETE_GRACE). 0: not at all. The setting's
	// default is 24 h.
	DeleteGrace time.Duration
	// NotifyRefusePrivate keeps tenants' notifications from loopback and private
	// addresses (HUB_NOTIFY_REFUSE_PRIVATE).
	NotifyRefusePrivate bool
	// StorageLeastFree is the part of a worker's storage below which it is nearly
	// full (HUB_STORAGE_LEAST_FREE, in percent). Default 0.1.
	StorageLeastFree float64
	// MetricsSources is for how many sources /metrics has a series of its own
	// (HUB_METRICS_SOURCES); 0: none.
	MetricsSources int
	// Version is the program's, for the API's description. Default "dev".
	Version string
	// Log takes everything that is worth telling. Default: nothing is told.
	Log *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.ListenAddr == "" {
		c.ListenAddr = ":8080"
	}
	if c.DatabaseConns == 0 {
		c.DatabaseConns = 16
	}
	if c.ShutdownTimeout == 0 {
		c.ShutdownTimeout = 15 * time.Second
	}
	if c.Housekeeping == 0 {
		c.Housekeeping = 5 * time.Second
	}
	if c.DownloadTTL == 0 {
		c.DownloadTTL = 24 * time.Hour
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// Validate names every setting that is missing or wrong. New calls it.
func (c Config) Validate() error {
	c = c.withDefaults()
	var errs []error
	if _, err := seal.ParseKEKs(c.EncryptionKEK); err != nil {
		errs = append(errs, err)
	}
	if c.DatabaseURL.IsZero() {
		errs = append(errs, errors.New("DATABASE_URL is not set"))
	}
	if c.RedisURL.IsZero() {
		errs = append(errs, errors.New("REDIS_URL is not set"))
	}
	if len(c.OperatorKey.Reveal()) < auth.MinSecretLength {
		errs = append(errs, tooShort("HUB_OPERATOR_KEY"))
	}
	if !c.JoinToken.IsZero() && len(c.JoinToken.Reveal()) < auth.MinSecretLength {
		errs = append(errs, tooShort("HUB_WORKER_JOIN_TOKEN"))
	}
	if !c.JoinToken.IsZero() && c.JoinToken.Equal(c.OperatorKey) {
		errs = append(errs, errors.New("HUB_WORKER_JOIN_TOKEN and HUB_OPERATOR_KEY must differ: whoever installs a worker is not the operator"))
	}
	if c.SourceTypes == nil {
		errs = append(errs, errors.New("no source types"))
	}
	if (c.TLSCertFile == "") != (c.TLSKeyFile == "") {
		errs = append(errs, errors.New("HUB_TLS_CERT_FILE and HUB_TLS_KEY_FILE go together"))
	}
	if _, _, err := net.SplitHostPort(c.ListenAddr); err != nil {
		errs = append(errs, fmt.Errorf("HUB_LISTEN_ADDR %q is not host:port", c.ListenAddr))
	}
	if c.ShutdownTimeout < 0 || c.DownloadTTL < 0 || c.DeleteGrace < 0 || c.Housekeeping < 0 || c.DatabaseConns < 0 || c.BadKeysPerMinute < 0 || c.MetricsSources < 0 {
		errs = append(errs, errors.New("durations and limits cannot be negative"))
	}
	if c.Limits.PerSource < 0 || c.Limits.PerHost < 0 || c.Limits.PerTenant < 0 {
		errs = append(errs, errors.New("limits of backups at once cannot be negative"))
	}
	return errors.Join(errs...)
}

func tooShort(name string) error {
	return fmt.Errorf("%s needs at least %d characters: `xvault hub keygen` makes one", name, auth.MinSecretLength)
}
