package catalog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

// Why a queued job does not run. Empty: it is about to.
const (
	WaitingWorkerOffline = "worker_offline" // the one worker that can do it is away
	WaitingNoWorker      = "no_worker"      // no worker at all is up
	WaitingRetryBackoff  = "retry_backoff"  // an attempt failed; RunAfter says when the next is due
	WaitingScheduled     = "scheduled"      // its time, RunAfter, has not come yet
	WaitingSourceBusy    = "source_busy"    // another backup of its source is made, see Limits
	WaitingHostBusy      = "host_busy"      // as many backups of its source's host are made as may be at once
	WaitingTenantBusy    = "tenant_busy"    // as many backups of its tenant are made as may be at once
)

// Job is one unit of work.
type Job struct {
	ID              uuid.UUID
	TenantID        uuid.UUID
	SourceID        uuid.UUID
	Kind            job.Kind
	Status          job.Status
	WaitingReason   string
	Priority        int
	TargetWorkerID  *string // the one worker that can do it
	WorkerID        *string // who has, or had, the last attempt
	Attempt         int
	MaxAttempts     int
	LeaseExpiresAt  *time.Time
	CancelRequested bool
	Progress        *job.Progress
	Result          json.RawMessage
	// Error is the last attempt's failure, also while another try is due.
	Error      *JobError
	SnapshotID *uuid.UUID // the snapshot that it made, or works on
	Payload    json.RawMessage
	RunAfter   time.Time
	CreatedAt  time.Time
	StartedAt  *time.Time // the last claim
	FinishedAt *time.Time
	UpdatedAt  time.Time
}

// JobError is why an attempt failed.
type JobError struct {
	Code    job.Code
	Message string
}

// DefaultPriority is that of a job for which none was asked.
const DefaultPriority = 5

// NewJob is a job to be made.
type NewJob struct {
	TenantID       uuid.UUID // zero: whose the source is
	SourceID       uuid.UUID
	Kind           job.Kind
	Priority       int             // 0..9, 9 goes first
	TargetWorkerID *string         // nil: any worker
	SnapshotID     *uuid.UUID      // to work on; nil for a backup
	Payload        json.RawMessage // an object, or empty
}

// CreateJob queues a job. Errors: ErrNotFound for a source outside the scope,
// *Conflict "source_disabled" for a backup of a disabled one, "snapshot_deleting"
// or "snapshot_deleted" for work on a snapshot that goes or is gone.
func (s Scope) CreateJob(ctx context.Context, n NewJob) (Job, error) {
	tenant, ok := s.confine(optionalID(n.TenantID))
	if !ok {
		return Job{}, ErrNotFound
	}
	if n.Priority < 0 || n.Priority > 9 {
		return Job{}, fmt.Errorf("create job: priority %d is not within 0 and 9", n.Priority)
	}
	payload := n.Payload
	if len(payload) == 0 {
		payload = json.RawMessage("{}")
	}
	attempts := job.MaxAttempts
	if n.Kind == job.Probe {
		attempts = job.MaxProbes
	}
	row, err := s.insertJob(ctx, query.CreateJobParams{
		ID: NewID(), TenantID: tenant, SourceID: n.SourceID, Type: string(n.Kind),
		Priority: int16(n.Priority),
		Payload:  payload, TargetWorkerID: n.TargetWorkerID, SnapshotID: n.SnapshotID, MaxAttempts: int32(attempts),
		EventID: NewID(), ActorType: string(s.actor.Type), ActorID: s.actor.ID,
		RemoteAddr: s.actor.RemoteAddr, RequestID: s.actor.RequestID,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return Job{}, s.whyNoJob(ctx, tenant, n)
	}
	if err != nil {
		return Job{}, fmt.Errorf("create job: %w", err)
	}
	s.db.queueChanged()
	return createdJob(row), nil
}

func createdJob(row query.CreateJobRow) Job {
	j := Job{
		ID: row.ID, TenantID: row.TenantID, SourceID: row.SourceID, Kind: job.Kind(row.Type), Status: job.Status(row.Status),
		Priority: int(row.Priority), TargetWorkerID: row.TargetWorkerID, SnapshotID: row.SnapshotID, Payload: row.Payload,
		MaxAttempts: int(row.MaxAttempts), RunAfter: row.RunAfter, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt,
	}
	if !row.WorkerOnline {
		j.WaitingReason = WaitingNoWorker
		if j.TargetWorkerID != nil {
			j.WaitingReason = WaitingWorkerOffline
		}
	}
	return j
}

// insertJob is one statement, or with an Idempotency-Key one transaction that
// takes the key too.
func (s Scope) insertJob(ctx context.Context, p query.CreateJobParams) (row query.CreateJobRow, err error) {
	if s.idempotency == nil {
		return s.db.together().CreateJob(ctx, p)
	}
	err = s.db.inTx(ctx, func(_ pgx.Tx, q *query.Queries) error {
		if err := s.takeIdempotencyKey(ctx, q, "job", p.ID.String()); err != nil {
			return err
		}
		row, err = q.CreateJob(ctx, p)
		return err
	})
	return row, err
}

// confine narrows the tenant that was asked for to the scope; false: outside.
func (s Scope) confine(wanted *uuid.UUID) (*uuid.UUID, bool) {
	switch {
	case s.tenant == nil:
		return wanted, true
	case wanted != nil && *wanted != *s.tenant:
		return nil, false
	default:
		return s.tenant, true
	}
}

func (s Scope) whyNoJob(ctx context.Context, tenant *uuid.UUID, n NewJob) error {
	status, err := s.db.q().SourceStatus(ctx, query.SourceStatusParams{ID: n.SourceID, TenantID: tenant})
	if err != nil {
		return notFound(err)
	}
	if n.Kind == job.Backup && status != "active" || n.SnapshotID == nil {
		return &Conflict{Code: "source_disabled", Message: "the source is disabled: enable it to back it up"}
	}
	found, err := s.Snapshot(ctx, *n.SnapshotID)
	if err != nil {
		return err
	}
	if found.Status == SnapshotDeleting {
		return &Conflict{Code: "snapshot_deleting", Message: "The snapshot is being deleted; take that back first (undelete)."}
	}
	return &Conflict{Code: "snapshot_deleted", Message: "The snapshot is deleted; its files are gone."}
}

// Job finds one job of the scope.
func (s Scope) Job(ctx context.Context, id uuid.UUID) (Job, error) {
	var where filter
	where.add("j.id = ?", id)
	where.tenant("j.tenant_id", s, nil)
	found, err := s.listJobs(ctx, &where, Page{Limit: 1})
	if err != nil {
		return Job{}, err
	}
	if len(found) == 0 {
		return Job{}, ErrNotFound
	}
	return found[0], nil
}

// JobFilter narrows a list; zero fields do not.
type JobFilter struct {
	TenantID *uuid.UUID // the operator's choice; a tenant's scope implies its own
	SourceID *uuid.UUID
	Status   string
	Type     string
}

// Jobs lists jobs of the scope, newest first.
func (s Scope) Jobs(ctx context.Context, f JobFilter, page Page) ([]Job, error) {
	var where filter
	if !where.tenant("j.tenant_id", s, f.TenantID) {
		return []Job{}, nil
	}
	if f.SourceID != nil {
		if s.tenant == nil && f.TenantID == nil {
			// The index of a source's jobs begins with its tenant.
			where.add("j.tenant_id = (SELECT tenant_id FROM sources WHERE id = ?)", *f.SourceID)
		}
		where.add("j.source_id = ?", *f.SourceID)
	}
	if f.Status != "" {
		where.add("j.status = ?", f.Status)
	}
	if f.Type != "" {
		where.add("j.type = ?", f.Type)
		if f.Type != string(job.Backup) {
			// Said again in the words of the partial index, which a
			// parameter could not match.
			where.conditions = append(where.conditions, "j.type <> 'backup'")
		}
	}
	return s.listJobs(ctx, &where, page)
}

// busyBackups are those that the limits count.
const busyBackups = `WITH busy AS MATERIALIZED (
	SELECT b.tenant_id, b.source_id, (SELECT s.host FROM sources s WHERE s.id = b.source_id) AS host FROM jobs b
	WHERE b.status IN ('running', 'finalizing') AND b.type = 'backup'
	UNION ALL
	SELECT d.tenant_id, d.source_id, (SELECT s.host FROM sources s WHERE s.id = d.source_id) FROM jobs d
	WHERE d.status = 'queued' AND d.dispatched_at IS NOT NULL AND d.type = 'backup')
`

// selectJobs is every column of a job and why it waits. A worker without its
// storage is away for all but probes. The limits stand for {source}, {host} and
// {tenant}.
const selectJobs = busyBackups + `SELECT j.*, CASE
	WHEN j.status <> 'queued' THEN ''
	WHEN j.target_worker_id IS NOT NULL AND NOT EXISTS (
		SELECT 1 FROM workers w WHERE w.id = j.target_worker_id AND w.status = 'online'
			AND (w.storage_state = 'ok' OR j.type = 'probe')) THEN '` + WaitingWorkerOffline + `'
	WHEN j.run_after > xvault_now() AND j.attempt = 0 THEN '` + WaitingScheduled + `'
	WHEN j.run_after > xvault_now() THEN '` + WaitingRetryBackoff + `'
	WHEN j.target_worker_id IS NULL AND NOT EXISTS (
		SELECT 1 FROM workers w WHERE w.status = 'online' AND (w.storage_state = 'ok' OR j.type = 'probe')) THEN '` + WaitingNoWorker + `'
	WHEN j.type <> 'backup' OR j.dispatched_at IS NOT NULL THEN ''
	WHEN {source} > 0 AND (SELECT count(*) FROM busy WHERE busy.source_id = j.source_id) >= {source} THEN '` + WaitingSourceBusy + `'
	WHEN {host} > 0 AND (SELECT count(*) FROM busy WHERE busy.host = (SELECT s.host FROM sources s WHERE s.id = j.source_id)) >= {host} THEN '` + WaitingHostBusy + `'
	WHEN {tenant} > 0 AND (SELECT count(*) FROM busy WHERE busy.tenant_id = j.tenant_id) >= {tenant} THEN '` + WaitingTenantBusy + `'
	ELSE '' END AS waiting_reason FROM jobs j`

// selectJobs fills the limits in.
func (l Limits) selectJobs() string {
	return strings.NewReplacer(
		"{source}", strconv.Itoa(l.PerSource), "{host}", strconv.Itoa(l.PerHost), "{tenant}", strconv.Itoa(l.PerTenant),
	).Replace(selectJobs)
}

type jobRow struct {
	query.Job
	WaitingReason string
}

func (s Scope) listJobs(ctx context.Context, where *filter, page Page) ([]Job, error) {
	statement, args := where.newestFirst(s.db.limits.selectJobs(), "j.id", page)
	rows, err := s.db.pool.Query(ctx, statement, args...)
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[jobRow])
	if err != nil {
		return nil, fmt.Errorf("list jobs: %w", err)
	}
	jobs := make([]Job, len(found))
	for i, row := range found {
		if jobs[i], err = jobOf(row); err != nil {
			return nil, err
		}
	}
	return jobs, nil
}

func jobOf(r jobRow) (Job, error) {
	j := Job{
		ID: r.ID, TenantID: r.TenantID, SourceID: r.SourceID, Kind: job.Kind(r.Type), Status: job.Status(r.Status),
		WaitingReason: r.WaitingReason, Priority: int(r.Priority), TargetWorkerID: r.TargetWorkerID, WorkerID: r.WorkerID,
		Attempt: int(r.Attempt), MaxAttempts: int(r.MaxAttempts), LeaseExpiresAt: r.LeaseExpiresAt,
		CancelRequested: r.CancelRequested, Result: r.Result, SnapshotID: r.SnapshotID, Payload: r.Payload,
		RunAfter: r.RunAfter, CreatedAt: r.CreatedAt, StartedAt: r.StartedAt, FinishedAt: r.FinishedAt, UpdatedAt: r.UpdatedAt,
	}
	if r.ErrorCode != nil {
		j.Error = &JobError{Code: job.Code(*r.ErrorCode)}
		if r.ErrorMessage != nil {
			j.Error.Message = *r.ErrorMessage
		}
	}
	if len(r.Progress) > 0 {
		j.Progress = new(job.Progress)
		if err := json.Unmarshal(r.Progress, j.Progress); err != nil {
			return Job{}, fmt.Errorf("read progress of job %s: %w", r.ID, err)
		}
	}
	return j, nil
}
