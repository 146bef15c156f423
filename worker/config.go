package worker

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"xvault/connectors"
	"xvault/internal/bandwidth"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// Config is all that a worker needs to know. It has neither the catalog's
// address nor a key-encryption key: those are the hub's alone.
type Config struct {
	// ID is the worker's id, as job.ValidWorkerID takes it. Empty: one is made
	// at the first start and kept in StateDir.
	ID string
	// Name is for people. Default: the host name.
	Name string
	// Version of the program, for the hub's list and for manifests.
	Version string

	// HubURL is the hub's address.
	HubURL string
	// AllowPlainHTTP lets HubURL be http to a host that is not loopback, and
	// serves downloads to other machines without TLS.
	AllowPlainHTTP bool
	// JoinToken registers an id that the hub does not know. A worker that is
	// registered does not need it.
	JoinToken secret.Text
	// RedisURL is where deliveries come from: redis://, rediss://, unix:// or
	// redis-sentinel://.
	RedisURL secret.Text

	// StorageBase is the folder of the snapshots, an absolute path.
	StorageBase string
	// StateDir keeps the worker's token and identity; never under StorageBase.
	StateDir string
	// TempDir is for what a connector cannot avoid putting down. Workers of one
	// machine may share it.
	TempDir string
	// ReadBack reads every artifact once more after it was written.
	ReadBack bool

	// Concurrency is how many jobs of the common queue run at once. Default 4.
	Concurrency int
	// OwnConcurrency is how many jobs that this worker alone can do run at once
	// beside them. Default 2.
	OwnConcurrency int
	// ListenAddr is where downloads are served (WORKER_LISTEN_ADDR). Empty: they
	// are not. Port 0 takes any free one.
	ListenAddr string
	// PublicURL is how people reach the worker's downloads. Default: ListenAddr,
	// with the host's name where it has none.
	PublicURL string
	// TLSCertFile and TLSKeyFile are a PEM certificate chain and its key for
	// downloads; both or none. They are read again when they change.
	TLSCertFile, TLSKeyFile string
	// Downloads is how many of them run at once. Default 8.
	Downloads int

	// DrainTimeout is how long a stopping worker waits for its jobs before it
	// hands them back. Default 60 s.
	DrainTimeout time.Duration
	// ReconcileEvery is how often the storage is compared with the catalog.
	// Default 1 h.
	ReconcileEvery time.Duration
	// OrphanGrace is for how long the hub must have called a snapshot unknown
	// before it is deleted from the storage. Default 24 h.
	OrphanGrace time.Duration

	// DrillUser is who scratch servers run as, where the worker runs as root.
	// Default: xvault-drill or, where there is none of that name, nobody.
	DrillUser string

	// SourceTypes are the connectors that this worker reads sources with.
	SourceTypes *connectors.Registry
	// Dial opens connections to sources.
	Dial connectors.Dialer
	// Bandwidth limits what passes between this worker and all sources together.
	// Default: no limit.
	Bandwidth bandwidth.Plan
	// Log takes what happens. Default: nothing is logged.
	Log *slog.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// withDefaults fills in what is not set.
func (c Config) withDefaults() Config {
	if c.Name == "" {
		if host, err := os.Hostname(); err == nil {
			c.Name = host
		}
	}
	// The hub compares the paths of snapshots with what was registered.
	c.StorageBase = cleanIfAbs(c.StorageBase)
	setDefault(&c.Version, "unknown")
	setDefault(&c.Concurrency, 4)
	setDefault(&c.OwnConcurrency, 2)
	setDefault(&c.Downloads, 8)
	setDefault(&c.DrainTimeout, time.Minute)
	setDefault(&c.ReconcileEvery, time.Hour)
	setDefault(&c.OrphanGrace, 24*time.Hour)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Now == nil {
		now := time.Now
		c.Now = now
	}
	return c
}

func cleanIfAbs(path string) string {
	if !filepath.IsAbs(path) {
		return path // validate refuses it
	}
	return filepath.Clean(path)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// validate names every setting that is wrong, as the operator knows it.
func (c Config) validate() error {
	var faults []error
	fault := func(wrong bool, message string) {
		if wrong {
			faults = append(faults, errors.New(message))
		}
	}
	fault(c.ID != "" && !job.ValidWorkerID(c.ID), "WORKER_ID must be 1 to 64 characters of A-Z a-z 0-9 _ and -")
	fault(c.RedisURL.IsZero(), "REDIS_URL is not set; it is the Redis that the hub uses, such as redis://redis.example.net:6379/0")
	fault(!filepath.IsAbs(c.StorageBase), "WORKER_STORAGE_BASE must be an absolute path")
	fault(!filepath.IsAbs(c.StateDir), "WORKER_STATE_DIR must be an absolute path")
	fault(!filepath.IsAbs(c.TempDir), "WORKER_TEMP_DIR must be an absolute path")
	fault(c.Concurrency < 1 || c.Concurrency > 64, "WORKER_CONCURRENCY must be between 1 and 64")
	fault(c.OwnConcurrency < 1 || c.OwnConcurrency > 64, "the own concurrency must be between 1 and 64")
	fault(c.Downloads < 1 || c.Downloads > 1024, "WORKER_DOWNLOADS must be between 1 and 1024")
	fault((c.TLSCertFile == "") != (c.TLSKeyFile == ""), "WORKER_TLS_CERT_FILE and WORKER_TLS_KEY_FILE go together")
	fault(!validListen(c.ListenAddr), "WORKER_LISTEN_ADDR must be host:port, or off")
	fault(c.DrainTimeout < 0, "WORKER_DRAIN_TIMEOUT must not be negative")
	fault(c.ReconcileEvery < 0, "WORKER_RECONCILE_EVERY must not be negative")
	fault(c.OrphanGrace < 0, "WORKER_ORPHAN_GRACE must not be negative")
	fault(c.SourceTypes == nil || c.Dial == nil, "a worker needs connectors and a dialer")
	if err := errors.Join(faults...); err != nil {
		return err
	}
	return c.validateFolders()
}

// validateFolders keeps secrets and scratch files off the storage, which is
// copied, mounted elsewhere and read by others.
func (c Config) validateFolders() error {
	base, err := resolve(c.StorageBase)
	if err != nil {
		return fmt.Errorf("WORKER_STORAGE_BASE: %w", err)
	}
	for name, dir := range map[string]string{"WORKER_STATE_DIR": c.StateDir, "WORKER_TEMP_DIR": c.TempDir} {
		resolved, err := resolve(dir)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if resolved == base || strings.HasPrefix(resolved, strings.TrimSuffix(base, "/")+"/") {
			return fmt.Errorf("%s (%s) must not be under WORKER_STORAGE_BASE (%s)", name, dir, c.StorageBase)
		}
	}
	return nil
}

// resolve follows the links of a path as far as it exists.
func resolve(path string) (string, error) {
	path = filepath.Clean(path)
	resolved, err := filepath.EvalSymlinks(path)
	if err == nil {
		return resolved, nil
	}
	if !errors.Is(err, os.ErrNotExist) || path == "/" {
		return "", err
	}
	parent, err := resolve(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	return filepath.Join(parent, filepath.Base(path)), nil
}
