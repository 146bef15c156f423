// Package connectors is the seam between xVault and the machines it backs up.
// A connector reads one type of source (and, for some types, writes back to
// it); this package holds the contract they all keep, the registry that lists
// them, and the validation of their configuration.
//
// The rule that every connector keeps: what it cannot read it reports, by name;
// it never ends a broken run as a smaller success.
package connectors

import (
	"context"
	"io"
	"log/slog"
	"net"

	"xvault/internal/entry"
	"xvault/internal/job"
)

// Env is what a worker lends a connector for one job.
type Env struct {
	// Credential is the source's secret, in memory only.
	Credential job.Credential
	// SSHCredential is what the configuration's ssh.credential_id names: it lets
	// into the machine through which the source is reached. Empty without one.
	SSHCredential job.Credential
	// PinnedHostKeys were pinned at the hub on first use; they count like those
	// of the configuration.
	PinnedHostKeys []string
	// PinHostKey asks the hub to pin the key that a first connection showed. It
	// is called before anything is authenticated, and only where the
	// configuration says trust_on_first_use and nothing is pinned yet.
	PinHostKey func(ctx context.Context, key string) error
	// Dial opens outbound connections; it refuses forbidden addresses.
	Dial Dialer
	// TempDir makes the job's own folder, which nobody else can look into, and gives
	// its absolute path, always the same. The worker removes it with all that is in it when the
	// job is over, or when it starts anew. It is for what cannot be kept in memory,
	// a socket say; nothing that is worth anything to a thief belongs there.
	TempDir func() (string, error)
	Log     *slog.Logger
	// Warnings go into the job's result; nil: into the log alone.
	Warnings *Warnings
}

// Item is one entry on its way from the source to the archive.
type Item struct {
	entry.Header
	// Body yields the content of a file: Header.Size bytes, then io.EOF, or the
	// endings that package entry names. Nil for everything that is not a file.
	// It is valid until the visit that received it returns.
	Body io.Reader
	// Err says that the entry exists but could not be read at all; the reader
	// goes on with the next. Its code is one of internal/job. With a folder that
	// was visited just before it says that not all may have been seen that is in it.
	Err *job.Error
	// Vanished says that the entry was listed, but gone before it could be read.
	// It is no part of the backup, which is complete without it; the job's
	// result tells of it.
	Vanished bool
}

// Source reads one source for one job. It is used by one goroutine; Close
// releases everything and may be called at any time, also twice.
type Source interface {
	// Probe connects, authenticates and looks whether every configured path is
	// there, without reading content. Errors are *job.Error.
	Probe(ctx context.Context) (ProbeResult, error)
	// Read visits every entry once, in archive order: depth first, a directory
	// directly before its contents, names compared component by component as
	// bytes. It lists and reads ahead on its own within a bounded memory. An
	// error of visit ends the reading and is returned as it is; its own errors
	// are *job.Error: connect_failed when the source went away, and so on.
	Read(ctx context.Context, visit func(Item) error) error
	Close() error
}

// ProbeResult is what a probe job answers with.
type ProbeResult struct {
	HostKey            string `json:"host_key,omitempty"` // public key line
	HostKeyFingerprint string `json:"host_key_fingerprint,omitempty"`
	ServerVersion      string `json:"server_version,omitempty"`
	// Transport says how it would be read, and why so, where there are several ways.
	Transport string      `json:"transport,omitempty"`
	Paths     []ProbePath `json:"paths"`
	Warnings  []string    `json:"warnings,omitempty"` // what to fix, in words
}

// ProbePath tells of one configured path.
type ProbePath struct {
	Path      string    `json:"path"`
	Reachable bool      `json:"reachable"`
	Kind      string    `json:"kind,omitempty"` // "file", "dir", "symlink"
	Error     *ProbeErr `json:"error,omitempty"`
}

// ProbeErr is why a path is not reachable.
type ProbeErr struct {
	Code    job.Code `json:"code"`
	Message string   `json:"message"`
}

// FieldError names the field of a configuration that is wrong, as a dotted
// path: "paths[1]". Value is never a secret, for configurations hold none.
type FieldError struct {
	Field   string
	Message string
}

// Dialer opens outbound connections. The guarded one checks the resolved
// address, so that a name cannot lead to a forbidden one. A connection may have a
// method Held() time.Duration, which says for how long reading from it was held
// back so far, by a limit on bandwidth: the other side was not silent meanwhile.
type Dialer interface {
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// Type is one type of source.
type Type struct {
	Name    string // "sftp"
	Version string // of the connector; goes into the manifest
	// Validate checks a raw configuration, unknown fields included, and returns
	// it in canonical form with defaults filled in, or every fault it found.
	Validate func(raw []byte) (canonical []byte, faults []FieldError)
	// Open makes a Source of a canonical configuration. It does not connect yet.
	Open func(config []byte, env Env) (Source, error)
	// OpenTarget makes a Target of a canonical configuration. It does not connect
	// yet. Nil: sources of this type cannot be written to.
	OpenTarget func(config []byte, env Env, opts TargetOptions) (Target, error)
	// Site says that sources of this type are web sites, whose targets heed SiteURL and
	// Database of TargetOptions.
	Site bool
	// Run logs in, runs a command of Hooks on the source, and gives the end of what
	// it said, escaped. Errors are *job.Error, or the cause of the context. Nil: sources of
	// this type have no hooks.
	Run func(ctx context.Context, config []byte, env Env, command string) (output string, err error)
	// Drill loads the dumps of a snapshot. Nil: there are none in snapshots of this type.
	Drill Drill
}

// Writable reports whether snapshots can be restored to sources of this type.
func (t Type) Writable() bool { return t.OpenTarget != nil }

// Drillable reports whether snapshots of this type hold dumps that can be loaded.
func (t Type) Drillable() bool { return t.Drill != nil }
