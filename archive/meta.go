package archive

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
)

// Meta is meta.json: whose snapshot a folder is, so that a catalog can be
// rebuilt from the storage alone.
type Meta struct {
	Format     string    `json:"format"`
	TenantID   uuid.UUID `json:"tenant_id"`
	SourceID   uuid.UUID `json:"source_id"`
	SnapshotID uuid.UUID `json:"snapshot_id"`
	JobID      uuid.UUID `json:"job_id"`
	WorkerID   string    `json:"worker_id"`
	CreatedAt  time.Time `json:"created_at"`
}

// Meta gives the meta file that belongs to a manifest.
func (m *Manifest) Meta() Meta {
	return Meta{
		Format: m.Format, TenantID: m.TenantID, SourceID: m.SourceID, SnapshotID: m.SnapshotID,
		JobID: m.JobID, WorkerID: m.WorkerID, CreatedAt: m.CreatedAt,
	}
}

// Encode gives the file's bytes, of a meta that Validate accepts.
func (m *Meta) Encode() ([]byte, error) { return encodeJSON("meta", m, m.Validate) }

// DecodeMeta reads a meta file and refuses one that is not whole.
func DecodeMeta(b []byte) (*Meta, error) {
	var m Meta
	if err := decodeJSON("meta", b, &m); err != nil {
		return nil, err
	}
	return &m, m.Validate()
}

// Validate reports what is wrong.
func (m *Meta) Validate() error {
	err := errors.Join(
		checkFormat(m.Format),
		checkIDs(m.TenantID, m.SourceID, m.SnapshotID, m.JobID),
		checkThat(m.WorkerID != "", "worker_id is empty"),
		checkThat(!m.CreatedAt.IsZero(), "created_at is missing"),
	)
	if err != nil {
		return fmt.Errorf("meta: %w", err)
	}
	return nil
}
