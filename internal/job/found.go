package job

import "github.com/google/uuid"

// Limits of a listing of a worker's storage, which an operator asks for to
// rebuild a catalog.
const (
	// MaxFoundFile is how large a manifest or meta file may be, in bytes; an
	// honest one has less than two thousand.
	MaxFoundFile = 32 << 10
	// FoundPageItems and FoundPageBytes are what goes into one page.
	FoundPageItems = 500
	FoundPageBytes = 1 << 20
	// MaxFoundItems and MaxFoundBytes are what the hub takes of one listing. What
	// is over that comes with the next one, for what was imported need not come
	// again.
	MaxFoundItems = 2_000_000
	MaxFoundBytes = 4 << 30
	// MaxPlace is the length of a Found's place, in bytes.
	MaxPlace = 1000
)

// FoundPage is the body of POST /internal/workers/found: some of what stands on
// a worker's storage. Saying a page again is harmless.
type FoundPage struct {
	// ImportID is what the hub asked for in the answer to a heartbeat.
	ImportID uuid.UUID `json:"import_id"`
	// ListingID is one for all pages of a listing. A worker that has to begin anew
	// makes another, and what came before is forgotten.
	ListingID uuid.UUID `json:"listing_id"`
	StorageID uuid.UUID `json:"storage_id"`
	Items     []Found   `json:"items"`
	// Last says that this is all.
	Last bool `json:"last"`
	// Problem says why it is not all, with Last.
	Problem string `json:"problem,omitempty"`
}

// Found is one folder where a snapshot should be, as it is: nothing of it was
// checked.
type Found struct {
	// Place is the path below the storage's root.
	Place string `json:"place"`
	// The ids that the place is named by; zero where it is named otherwise.
	TenantID   uuid.UUID `json:"tenant_id,omitzero"`
	SourceID   uuid.UUID `json:"source_id,omitzero"`
	SnapshotID uuid.UUID `json:"snapshot_id,omitzero"`
	// Unconfirmed: this worker put it there, and no hub ever said that it took it.
	Unconfirmed bool `json:"unconfirmed,omitempty"`
	// ArtifactBytes is the artifact's size; -1: there is none.
	ArtifactBytes int64  `json:"artifact_bytes"`
	Meta          []byte `json:"meta,omitempty"`
	Manifest      []byte `json:"manifest,omitempty"`
	// Problem says why it cannot be a snapshot.
	Problem string `json:"problem,omitempty"`
}

// Bytes is about how much room it takes.
func (f Found) Bytes() int64 {
	return int64(len(f.Place)+len(f.Meta)+len(f.Manifest)+len(f.Problem)) + 100
}
