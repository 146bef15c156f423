package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// Source is one thing to back up.
type Source struct {
	ID             uuid.UUID
	TenantID       uuid.UUID
	Type           string
	Name           string
	Config         json.RawMessage // canonical; holds no secret
	CredentialID   *uuid.UUID
	Status         string   // SourceActive or SourceDisabled
	PinnedHostKeys []string // trusted on first use, as public key lines
	CreatedAt      time.Time
	UpdatedAt      time.Time
	Bandwidth      json.RawMessage // a bandwidth.Plan; nil: no limit
	// MaxAgeHours is for how long nothing may have succeeded; nil: nobody minds.
	MaxAgeHours *int32
	VerifyRhythm
}

// VerifyRhythm is how often, and how, snapshots of a source are verified by
// themselves; in hours, nil: never.
type VerifyRhythm struct {
	Kind       string // a job.VerifyKind; empty: quick
	EveryHours *int32 // the newest good snapshot
	AgainHours *int32 // good ones that were not verified for so long
}

// The states of a source.
const (
	SourceActive   = "active"
	SourceDisabled = "disabled"
)

// ErrNoCredential means that the source's tenant has no such credential for sources.
var ErrNoCredential = errors.New("no such credential")

// ErrNoSSHCredential means the same of what ssh.credential_id in its configuration
// names.
var ErrNoSSHCredential = errors.New("no such credential for ssh")

// NewSource is a source to be made, its configuration validated.
type NewSource struct {
	ID           uuid.UUID
	TenantID     uuid.UUID
	Type         string
	Name         string
	Config       json.RawMessage
	CredentialID *uuid.UUID
	Bandwidth    json.RawMessage // nil: no limit
	MaxAgeHours  *int32          // nil: nobody minds
	Verify       VerifyRhythm
}

// SourceChange is what PATCH may change; nil leaves it.
type SourceChange struct {
	Name         *string
	Status       *string
	Config       json.RawMessage
	CredentialID *uuid.UUID
	// Bandwidth replaces the whole plan; one that points to nil removes it.
	Bandwidth *json.RawMessage
	// MaxAgeHours is the new objective; 0 removes it.
	MaxAgeHours *int32
	// Verify changes a rhythm; what it does not touch stays.
	Verify func(*VerifyRhythm)
	// ForgetHostKeys empties the pinned host keys. A configuration that names
	// another host or port does so too.
	ForgetHostKeys bool
}

// CreateSource stores a source. It fails with ErrNoCredential where the
// credential is not one of the same tenant and for sources.
func (s Scope) CreateSource(ctx context.Context, n NewSource) (Source, error) {
	if !s.sees(n.TenantID) {
		return Source{}, ErrNotFound
	}
	var created Source
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		if err := shareCredentials(ctx, q, n.TenantID, n.CredentialID, n.Config); err != nil {
			return err
		}
		row, err := q.InsertSource(ctx, query.InsertSourceParams{
			ID: n.ID, TenantID: n.TenantID, Type: n.Type, Name: n.Name, Config: n.Config, CredentialID: n.CredentialID,
			Bandwidth: n.Bandwidth, MaxAgeHours: n.MaxAgeHours, VerifyKind: n.Verify.kind(),
			VerifyEveryHours: n.Verify.EveryHours, ReverifyAfterHours: n.Verify.AgainHours,
		})
		if isViolation(err, "sources_tenant_id_fkey") {
			return ErrNotFound
		}
		if err != nil {
			return fmt.Errorf("insert source: %w", err)
		}
		created = sourceOf(row)
		return s.audit(ctx, q, sourceEvent("source.create", created, nil))
	})
	return created, err
}

// Source gives one source.
func (s Scope) Source(ctx context.Context, id uuid.UUID) (Source, error) {
	row, err := s.db.q().SourceByID(ctx, query.SourceByIDParams{ID: id, TenantID: s.tenant})
	if err != nil {
		return Source{}, notFound(err)
	}
	return sourceOf(row), nil
}

// Sources lists sources; wanted confines the operator's list.
func (s Scope) Sources(ctx context.Context, wanted *uuid.UUID, p Page) ([]Source, error) {
	var f filter
	if !f.tenant("tenant_id", s, wanted) {
		return nil, ErrNotFound
	}
	sql, args := f.newestFirst(`SELECT id, tenant_id, type, name, config, credential_id, status, pinned_host_keys,
		created_at, updated_at, bandwidth, max_age_hours, verify_kind, verify_every_hours, reverify_after_hours FROM sources`, "id", p)
	rows, err := s.db.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, fmt.Errorf("list sources: %w", err)
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Source])
}

// UpdateSource changes a source.
func (s Scope) UpdateSource(ctx context.Context, id uuid.UUID, c SourceChange) (Source, error) {
	var updated Source
	err := s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		row, err := q.LockSource(ctx, query.LockSourceParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		if err := shareCredentials(ctx, q, row.TenantID, c.CredentialID, c.Config); err != nil {
			return err
		}
		changed := c.apply(&row)
		row, err = q.UpdateSource(ctx, query.UpdateSourceParams{
			TenantID: row.TenantID, ID: id, Name: row.Name, Status: row.Status, Config: row.Config,
			CredentialID: row.CredentialID, PinnedHostKeys: row.PinnedHostKeys, Bandwidth: row.Bandwidth,
			MaxAgeHours: row.MaxAgeHours,
			VerifyKind:  row.VerifyKind, VerifyEveryHours: row.VerifyEveryHours, ReverifyAfterHours: row.ReverifyAfterHours,
		})
		if err != nil {
			return fmt.Errorf("update source: %w", err)
		}
		if row.MaxAgeHours == nil || row.Status != SourceActive {
			// Nobody waits for it any more, so that nobody is told of its end.
			if err := q.EndAlert(ctx, query.EndAlertParams{SourceID: id, Kind: alertMaxAge}); err != nil {
				return fmt.Errorf("end alert of source: %w", err)
			}
		}
		updated = sourceOf(row)
		return s.audit(ctx, q, sourceEvent("source.update", updated, map[string]any{"changed": changed}))
	})
	return updated, err
}

// apply changes the row and names what it changed.
func (c SourceChange) apply(row *query.Source) []string {
	changed := []string{}
	if c.Name != nil {
		row.Name = *c.Name
		changed = append(changed, "name")
	}
	if c.Status != nil {
		row.Status = *c.Status
		changed = append(changed, "status")
	}
	if c.CredentialID != nil {
		row.CredentialID = c.CredentialID
		changed = append(changed, "credential_id")
	}
	if c.Bandwidth != nil {
		row.Bandwidth = *c.Bandwidth
		changed = append(changed, "bandwidth")
	}
	if c.MaxAgeHours != nil {
		row.MaxAgeHours = c.MaxAgeHours
		if *c.MaxAgeHours == 0 {
			row.MaxAgeHours = nil
		}
		changed = append(changed, "max_age_hours")
	}
	if c.Verify != nil {
		rhythm := rhythmOf(*row)
		c.Verify(&rhythm)
		row.VerifyKind, row.VerifyEveryHours, row.ReverifyAfterHours = rhythm.kind(), rhythm.EveryHours, rhythm.AgainHours
		changed = append(changed, "verify")
	}
	moved := c.Config != nil && endpointOf(c.Config) != endpointOf(row.Config)
	if c.Config != nil {
		row.Config = c.Config
		changed = append(changed, "config")
	}
	if (moved || c.ForgetHostKeys) && len(row.PinnedHostKeys) > 0 {
		row.PinnedHostKeys = []string{}
		changed = append(changed, "pinned_host_keys")
	}
	return changed
}

// endpoint is the machine that a source's host keys belong to.
type endpoint struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// reach is what a configuration says of the way to the source.
type reach struct {
	endpoint
	// SSH is the machine through which it is reached; nil: directly.
	SSH *struct {
		endpoint
		CredentialID *uuid.UUID `json:"credential_id"`
	} `json:"ssh"`
}

func reachOf(config json.RawMessage) reach {
	var r reach
	// A configuration without these fields has the zero endpoint.
	_ = json.Unmarshal(config, &r)
	return r
}

func endpointOf(config json.RawMessage) endpoint {
	r := reachOf(config)
	if r.SSH != nil {
		return r.SSH.endpoint
	}
	return r.endpoint
}

// DeleteSource removes a source that has neither snapshots nor unfinished jobs,
// and its old jobs with it.
func (s Scope) DeleteSource(ctx context.Context, id uuid.UUID) error {
	return s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		// The lock keeps new jobs of this source out: their foreign keys wait for it.
		row, err := q.LockSource(ctx, query.LockSourceParams{ID: id, TenantID: s.tenant})
		if err != nil {
			return notFound(err)
		}
		if err := sourceUnused(ctx, q, row); err != nil {
			return err
		}
		if err := q.DeleteSourceSnapshotRows(ctx, query.DeleteSourceSnapshotRowsParams{TenantID: row.TenantID, SourceID: id}); err != nil {
			return fmt.Errorf("delete snapshot rows: %w", err)
		}
		if err := q.DeleteSource(ctx, query.DeleteSourceParams{TenantID: row.TenantID, ID: id}); err != nil {
			return fmt.Errorf("delete source: %w", err)
		}
		return s.audit(ctx, q, sourceEvent("source.delete", sourceOf(row), nil))
	})
}

func sourceUnused(ctx context.Context, q *query.Queries, row query.Source) error {
	snapshots, err := q.CountSourceSnapshots(ctx, query.CountSourceSnapshotsParams{TenantID: row.TenantID, SourceID: row.ID})
	if err != nil {
		return fmt.Errorf("count snapshots: %w", err)
	}
	if snapshots > 0 {
		return &Conflict{"source_in_use", fmt.Sprintf("The source still has %d snapshots; delete them first, or disable the source.", snapshots)}
	}
	jobs, err := q.CountSourceUnfinishedJobs(ctx, query.CountSourceUnfinishedJobsParams{TenantID: row.TenantID, SourceID: row.ID})
	if err != nil {
		return fmt.Errorf("count jobs: %w", err)
	}
	if jobs > 0 {
		return &Conflict{"source_in_use", fmt.Sprintf("%d jobs of the source have not ended; cancel them or wait.", jobs)}
	}
	return nil
}

func shareCredential(ctx context.Context, q *query.Queries, tenant uuid.UUID, credential *uuid.UUID) error {
	if credential == nil {
		return nil
	}
	_, err := q.ShareSourceCredential(ctx, query.ShareSourceCredentialParams{TenantID: tenant, ID: *credential})
	if errors.Is(err, pgx.ErrNoRows) {
		return ErrNoCredential
	}
	return err
}

// shareCredentials keeps both credentials of a source from being deleted until the
// source is committed; what is nil stays as it is.
func shareCredentials(ctx context.Context, q *query.Queries, tenant uuid.UUID, credential *uuid.UUID, config json.RawMessage) error {
	if err := shareCredential(ctx, q, tenant, credential); err != nil {
		return err
	}
	ssh := reachOf(config).SSH
	if ssh == nil {
		return nil
	}
	err := shareCredential(ctx, q, tenant, ssh.CredentialID)
	if errors.Is(err, ErrNoCredential) {
		return ErrNoSSHCredential
	}
	return err
}

func sourceEvent(action string, source Source, detail map[string]any) Event {
	return Event{TenantID: &source.TenantID, Action: action, ObjectType: "source", ObjectID: source.ID.String(), Detail: detail}
}

func sourceOf(row query.Source) Source {
	return Source{
		row.ID, row.TenantID, row.Type, row.Name, row.Config, row.CredentialID, row.Status, row.PinnedHostKeys,
		row.CreatedAt, row.UpdatedAt, row.Bandwidth, row.MaxAgeHours, rhythmOf(row),
	}
}

func rhythmOf(row query.Source) VerifyRhythm {
	return VerifyRhythm{Kind: row.VerifyKind, EveryHours: row.VerifyEveryHours, AgainHours: row.ReverifyAfterHours}
}

func (r VerifyRhythm) kind() string {
	if r.Kind == "" {
		return string(job.VerifyQuick)
	}
	return r.Kind
}
