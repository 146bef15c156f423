package archive

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"xvault/archive/seal"
)

// maxManifest bounds what is read as a manifest or meta file.
const maxManifest = 1 << 20

// Manifest is manifest.json, which stands beside the artifact and in the
// catalog, in clear. It holds no file names.
type Manifest struct {
	Format     string    `json:"format"`
	TenantID   uuid.UUID `json:"tenant_id"`
	SourceID   uuid.UUID `json:"source_id"`
	SnapshotID uuid.UUID `json:"snapshot_id"`
	JobID      uuid.UUID `json:"job_id"`
	WorkerID   string    `json:"worker_id"`
	CreatedAt  time.Time `json:"created_at"`

	Artifact    Artifact    `json:"artifact"`
	Content     Content     `json:"content"`
	Compression Compression `json:"compression"`
	Encryption  Encryption  `json:"encryption"`
	Source      SourceInfo  `json:"source"`
	DurationMS  int64       `json:"duration_ms"`
	Tool        Tool        `json:"tool"`
}

// Artifact describes the sealed file.
type Artifact struct {
	Name      string `json:"name"`
	SizeBytes int64  `json:"size_bytes"`
	SHA256    string `json:"sha256"`
}

// Content counts what is in an artifact.
type Content struct {
	Files            int64 `json:"files"`
	Dirs             int64 `json:"dirs"`
	Links            int64 `json:"links"` // symbolic and hard
	Bytes            int64 `json:"bytes"` // of the files' content
	Skipped          int64 `json:"skipped"`
	ChangedWhileRead int64 `json:"changed_while_read"`
	Errors           int64 `json:"errors"`
}

// Compression says how the frames were made.
type Compression struct {
	Algorithm string `json:"algorithm"` // "zstd"
	Level     int    `json:"level"`
}

// Encryption says to whom the artifact is sealed.
type Encryption struct {
	Algorithm  string    `json:"algorithm"` // "age-x25519"
	Recipients []string  `json:"recipients"`
	KeyID      uuid.UUID `json:"key_id"`
}

// SourceInfo says what was backed up.
type SourceInfo struct {
	Type             string `json:"type"`
	ConnectorVersion string `json:"connector_version"`
	// WordPress is of a source that is a WordPress site.
	WordPress *Software `json:"wordpress,omitempty"`
}

// Software is which versions of what a site is made of: names that their makers gave
// them, none of files.
type Software struct {
	Version   string      `json:"version"`
	Plugins   []Component `json:"plugins"`
	MUPlugins []Component `json:"mu_plugins"`
	Themes    []Component `json:"themes"`
	Omitted   int         `json:"omitted"` // components that are too many to stand here
}

// Component is a part of a site that has a version of its own.
type Component struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Active  bool   `json:"active"`
}

// Tool says what wrote the snapshot.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// Encode gives the file's bytes, of a manifest that Validate accepts.
func (m *Manifest) Encode() ([]byte, error) { return encodeJSON("manifest", m, m.Validate) }

// DecodeManifest reads a manifest and refuses one that is not whole. Unknown
// fields are left for later versions.
func DecodeManifest(b []byte) (*Manifest, error) {
	var m Manifest
	if err := decodeJSON("manifest", b, &m); err != nil {
		return nil, err
	}
	return &m, m.Validate()
}

// Validate reports the first thing that is wrong.
func (m *Manifest) Validate() error {
	err := errors.Join(
		checkFormat(m.Format),
		checkIDs(m.TenantID, m.SourceID, m.SnapshotID, m.JobID),
		checkThat(m.WorkerID != "", "worker_id is empty"),
		checkThat(!m.CreatedAt.IsZero(), "created_at is missing"),
		m.Artifact.validate(), m.Content.validate(), m.Encryption.validate(),
		checkThat(m.Compression.Algorithm == "zstd", "compression.algorithm is not zstd"),
		checkThat(m.Source.Type != "", "source.type is empty"),
		checkThat(m.DurationMS >= 0, "duration_ms is negative"),
		checkThat(m.Tool.Name != "", "tool.name is empty"),
	)
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return nil
}

func (a *Artifact) validate() error {
	sum, err := hex.DecodeString(a.SHA256)
	return errors.Join(
		checkThat(a.Name == ArtifactName, "artifact.name is not "+ArtifactName),
		checkThat(a.SizeBytes > 0, "artifact.size_bytes is not positive"),
		checkThat(err == nil && len(sum) == 32 && hex.EncodeToString(sum) == a.SHA256,
			"artifact.sha256 is not 64 lower-case hex digits"),
	)
}

func (c *Content) validate() error {
	for _, n := range []int64{c.Files, c.Dirs, c.Links, c.Bytes, c.Skipped, c.ChangedWhileRead, c.Errors} {
		if n < 0 {
			return errors.New("content has a negative count")
		}
	}
	return nil
}

func (e *Encryption) validate() error {
	err := errors.Join(
		checkThat(e.Algorithm == seal.Algorithm, "encryption.algorithm is not "+seal.Algorithm),
		checkThat(len(e.Recipients) > 0, "encryption.recipients is empty"),
		checkThat(e.KeyID != uuid.Nil, "encryption.key_id is missing"),
	)
	for _, r := range e.Recipients {
		err = errors.Join(err, seal.ValidRecipient(r))
	}
	return err
}

func checkFormat(format string) error {
	return checkThat(format == Format, fmt.Sprintf("format %q is not %s", format, Format))
}

func checkIDs(ids ...uuid.UUID) error {
	return checkThat(!slices.Contains(ids, uuid.Nil), "an id is missing")
}

func checkThat(ok bool, otherwise string) error {
	if ok {
		return nil
	}
	return errors.New(otherwise)
}

func encodeJSON(what string, v any, validate func() error) ([]byte, error) {
	if err := validate(); err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", what, err)
	}
	return append(b, '\n'), nil
}

func decodeJSON(what string, b []byte, v any) error {
	if len(b) > maxManifest {
		return fmt.Errorf("%s: %d bytes are too many", what, len(b))
	}
	if err := json.Unmarshal(b, v); err != nil {
		return fmt.Errorf("decode %s: %w", what, err)
	}
	return nil
}
