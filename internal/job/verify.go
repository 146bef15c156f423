package job

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/google/uuid"
)

// VerifyKind is how thoroughly a snapshot is verified. Kinds are added, never
// taken away: a worker that does not know one refuses the job.
type VerifyKind string

// The kinds of verification.
const (
	// VerifyQuick: the three files are there, the artifact has the size and the
	// SHA-256 that it had, and what stands beside it is what the catalog knows. It
	// needs no key.
	VerifyQuick VerifyKind = "quick"
	// VerifyFull: beside all that the artifact is opened, and every file in it has
	// the hash that it had at the source.
	VerifyFull VerifyKind = "full"
	// VerifyDrill: beside all that the dumps of databases are loaded into a server
	// that is made for it, and every table has the rows that the dump has.
	VerifyDrill VerifyKind = "drill"
)

// VerifyKinds are all of them.
func VerifyKinds() []VerifyKind { return []VerifyKind{VerifyQuick, VerifyFull, VerifyDrill} }

// Valid reports whether k is one of them.
func (k VerifyKind) Valid() bool { return slices.Contains(VerifyKinds(), k) }

// Opens reports whether the artifact is opened, and all in it is checked.
func (k VerifyKind) Opens() bool { return k == VerifyFull || k == VerifyDrill }

// VerifyPayload is the payload of a verify job.
type VerifyPayload struct {
	Kind VerifyKind `json:"kind"`
	// StorageID is the storage that the snapshot was put on; zero: not known.
	StorageID uuid.UUID `json:"storage_id,omitzero"`
}

// DecodeVerify reads a job's payload. Without a kind it is a quick one.
func DecodeVerify(payload json.RawMessage) (VerifyPayload, error) {
	var p VerifyPayload
	if len(payload) > 0 {
		if err := json.Unmarshal(payload, &p); err != nil {
			return VerifyPayload{}, fmt.Errorf("read the payload of a verification: %w", err)
		}
	}
	if p.Kind == "" {
		p.Kind = VerifyQuick
	}
	return p, nil
}

// VerifyResult is the result of a verification that came to a verdict. Figures
// are of what was checked, also where that failed half-way.
type VerifyResult struct {
	Kind VerifyKind `json:"kind"`
	OK   bool       `json:"ok"`
	// Files and Bytes are the files whose content was checked, and its length; 0
	// of a quick one, which does not look inside.
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
	// SizeBytes is how much of the artifact was read.
	SizeBytes  int64 `json:"size_bytes"`
	DurationMS int64 `json:"duration_ms"`
	// Code and Problem say what is wrong.
	Code    Code   `json:"code,omitempty"`
	Problem string `json:"problem,omitempty"`
	// Drill is what became of the dumps, of a drill.
	Drill *DrillResult `json:"drill,omitempty"`
	// JobID is filled in by the hub, on the snapshot.
	JobID uuid.UUID `json:"job_id,omitzero"`
}

// ProvesDamage reports whether a verification that failed with this code has
// shown that the snapshot is not what it was. Everything else, a disk that is
// not mounted or cannot be read among it, proves nothing.
func (c Code) ProvesDamage() bool { return c == ArtifactMissing || c == ArtifactCorrupt }

// OpensSnapshot reports whether a job of this kind looks into a snapshot, and so
// needs the tenant's identity.
func OpensSnapshot(kind Kind, payload json.RawMessage) bool {
	switch kind {
	case Restore:
		return true
	case Verify:
		p, err := DecodeVerify(payload)
		return err == nil && p.Kind.Opens()
	default:
		return false
	}
}
