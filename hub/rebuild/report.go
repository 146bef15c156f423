package rebuild

import (
	"time"

	"github.com/google/uuid"
)

// Report says what an import did, or would do.
type Report struct {
	WorkerID  string    `json:"worker_id"`
	StorageID uuid.UUID `json:"storage_id"`
	DryRun    bool      `json:"dry_run"`
	Found     int64     `json:"found"`     // folders on the storage
	Imported  int64     `json:"imported"`  // snapshots that were taken in
	Partial   int64     `json:"partial"`   // of them
	Corrupt   int64     `json:"corrupt"`   // of them
	Bytes     int64     `json:"bytes"`     // of their artifacts
	Present   int64     `json:"present"`   // were in the catalog before
	Different int64     `json:"different"` // are in the catalog, and otherwise
	Refused   int64     `json:"refused"`
	// Incomplete says why the worker did not tell of everything.
	Incomplete string   `json:"incomplete,omitempty"`
	Tenants    []Tenant `json:"tenants"`
	Sources    []Source `json:"sources"`
	// Problems are the first maxProblems of what was refused, differs or was taken
	// in with a warning.
	Problems     []Problem `json:"problems"`
	MoreProblems int64     `json:"more_problems,omitempty"`
	// UnusedIdentities are files whose keys are no tenant's of this catalog.
	UnusedIdentities []string `json:"unused_identities,omitempty"`
}

// Tenant is one whose snapshots were found, or whose identity was given.
type Tenant struct {
	ID       uuid.UUID `json:"id"`
	Made     bool      `json:"made"`
	Imported int64     `json:"imported"`
	// Locked are snapshots of this storage, now in the catalog, that it cannot
	// restore: the identity of their key is missing.
	Locked int64 `json:"locked"`
	// Missing are the public keys whose identities are.
	Missing   []string `json:"missing_identities,omitempty"`
	Completed int      `json:"identities_completed"` // by this import
}

// Source is one whose snapshots were found.
type Source struct {
	ID       uuid.UUID `json:"id"`
	TenantID uuid.UUID `json:"tenant_id"`
	Type     string    `json:"type"`
	// Made: it has neither configuration nor credential nor schedules, and is
	// disabled until someone enters them.
	Made     bool      `json:"made"`
	Imported int64     `json:"imported"`
	Present  int64     `json:"present"`
	Bytes    int64     `json:"bytes"` // of those imported
	Newest   time.Time `json:"newest"`
}

// Problem is what is wrong with something on the storage.
type Problem struct {
	Place   string `json:"place"`
	Refused bool   `json:"refused"` // false: it is in the catalog
	What    string `json:"what"`
}

// maxProblems bounds what is listed one by one.
const maxProblems = 1000

func (r *Report) problem(place string, refused bool, what string) {
	if len(r.Problems) == maxProblems {
		r.MoreProblems++
		return
	}
	r.Problems = append(r.Problems, Problem{place, refused, what})
}
