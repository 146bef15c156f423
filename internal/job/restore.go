package job

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
)

// RestoreFormat is how restored files come.
type RestoreFormat string

// The formats of downloads.
const (
	FormatTar    RestoreFormat = "tar"
	FormatTarZst RestoreFormat = "tar.zst"
	FormatZip    RestoreFormat = "zip"
	FormatFile   RestoreFormat = "file" // the content of one file as it is
)

// Valid reports whether f is one of them.
func (f RestoreFormat) Valid() bool {
	switch f {
	case FormatTar, FormatTarZst, FormatZip, FormatFile:
		return true
	default:
		return false
	}
}

// Destinations of a restore.
const (
	DestinationDownload = "download"
	DestinationSource   = "source"
)

// Existing is what happens to a file that is already where one is restored to.
type Existing string

// The rules for what is already there.
const (
	ExistingSkip      Existing = "skip"      // it stays; the default
	ExistingOverwrite Existing = "overwrite" // it is replaced
	ExistingNewer     Existing = "newer"     // it is replaced where the snapshot's is newer
)

// Valid reports whether e is one of them.
func (e Existing) Valid() bool {
	switch e {
	case ExistingSkip, ExistingOverwrite, ExistingNewer:
		return true
	default:
		return false
	}
}

// RestorePayload is the payload of a restore: what of the snapshot, and how.
type RestorePayload struct {
	// Destination is DestinationDownload, the default, or DestinationSource.
	Destination string        `json:"destination,omitempty"`
	Format      RestoreFormat `json:"format,omitempty"`
	// Paths are absolute; none at all means everything. Those that are not UTF-8
	// stand in PathsBase64.
	Paths       []string `json:"paths,omitempty"`
	PathsBase64 [][]byte `json:"paths_base64,omitempty"`
	// TargetPath, of a restore to a source, is the folder under which the paths are
	// put as a whole; empty for their original places.
	TargetPath string `json:"target_path,omitempty"`
	// Existing is the rule of a restore to a source.
	Existing Existing `json:"existing,omitempty"`
	// SiteURL, of a restore to a source that is a web site, is the address that it moves
	// to, and Database the database that its dump is loaded into. Empty: it keeps its
	// address, and the connector chooses a database.
	SiteURL  string `json:"url,omitempty"`
	Database string `json:"database,omitempty"`
}

// DecodeRestore reads a job's payload.
func DecodeRestore(payload json.RawMessage) (RestorePayload, error) {
	var p RestorePayload
	if err := json.Unmarshal(payload, &p); err != nil {
		return RestorePayload{}, fmt.Errorf("read the payload of a restore: %w", err)
	}
	if p.Destination == "" {
		p.Destination = DestinationDownload
	}
	return p, nil
}

// Members are the paths as the archive has them: without the leading slash.
// None means everything.
func (p RestorePayload) Members() []string {
	members := make([]string, 0, len(p.Paths)+len(p.PathsBase64))
	for _, path := range p.Paths {
		members = append(members, strings.Trim(path, "/"))
	}
	for _, path := range p.PathsBase64 {
		members = append(members, strings.Trim(string(path), "/"))
	}
	return members
}

// MaxSourcePath is the length of a path that may be asked for, in bytes.
const MaxSourcePath = 32 << 10

// CheckSourcePath says what is wrong with a path that was asked for.
func CheckSourcePath(path string) error {
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("it must be absolute, as on the source: it begins with a slash")
	case len(path) > MaxSourcePath:
		return fmt.Errorf("it is longer than %d bytes", MaxSourcePath)
	case strings.ContainsRune(path, 0):
		return errors.New("it holds a zero byte")
	}
	trimmed := strings.Trim(path, "/")
	if trimmed == "" {
		return nil // the root: everything
	}
	for component := range strings.SplitSeq(trimmed, "/") {
		if component == "" || component == "." || component == ".." {
			return errors.New(`it must be clean: no "//", "." or ".." in it`)
		}
	}
	return nil
}

// With gives the payload with one more path, which was checked.
func (p RestorePayload) With(path string) RestorePayload {
	if utf8.ValidString(path) {
		p.Paths = append(p.Paths, path)
	} else {
		p.PathsBase64 = append(p.PathsBase64, []byte(path))
	}
	return p
}

// WritesSource reports whether a job of this kind changes something on the
// source.
func WritesSource(kind Kind, payload json.RawMessage) bool {
	return kind == Restore && UsesSource(kind, payload)
}

// UsesSource reports whether a job of this kind reaches out to the source, and
// so needs its credential.
func UsesSource(kind Kind, payload json.RawMessage) bool {
	switch kind {
	case Restore:
		p, err := DecodeRestore(payload)
		return err == nil && p.Destination == DestinationSource
	case Verify, DeleteSnapshot:
		return false
	default:
		return true
	}
}

// RedeemRequest is the body of POST /internal/tickets/redeem.
type RedeemRequest struct {
	Ticket string `json:"ticket"`
	// Client is the address that showed it, for the audit trail.
	Client string `json:"client,omitempty"`
}

// RedeemResponse is what a ticket is good for.
type RedeemResponse struct {
	TenantID   uuid.UUID     `json:"tenant_id"`
	SourceID   uuid.UUID     `json:"source_id"`
	SnapshotID uuid.UUID     `json:"snapshot_id"`
	Snapshot   ClaimSnapshot `json:"snapshot"`
	// Restore is what to give, of a download.
	Restore RestorePayload `json:"restore,omitzero"`
	// SealedIdentity is the tenant's identity, as an age file that opens with the
	// worker's own identity only. It is for this one transfer.
	SealedIdentity []byte    `json:"sealed_identity"`
	ExpiresAt      time.Time `json:"expires_at"`
}
