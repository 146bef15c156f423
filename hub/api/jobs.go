package api

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/internal/job"
	"xvault/store/catalog"
)

// Job is one unit of work.
type Job struct {
	ID             uuid.UUID       `json:"id" format:"uuid"`
	TenantID       uuid.UUID       `json:"tenant_id" format:"uuid"`
	SourceID       uuid.UUID       `json:"source_id" format:"uuid"`
	Type           string          `json:"type" enum:"backup,restore,delete_snapshot,verify,probe"`
	Status         string          `json:"status" enum:"queued,running,finalizing,completed,failed,canceled"`
	WaitingReason  *string         `json:"waiting_reason" doc:"Why a queued job does not run: worker_offline, no_worker, retry_backoff, scheduled, source_busy, host_busy, tenant_busy"`
	Priority       int             `json:"priority" doc:"0-9; 9 goes first"`
	TargetWorkerID *string         `json:"target_worker_id" doc:"The one worker that can do it"`
	WorkerID       *string         `json:"worker_id" doc:"Who has, or had, the last attempt"`
	Attempt        int             `json:"attempt"`
	MaxAttempts    int             `json:"max_attempts"`
	LeaseExpiresAt *Time           `json:"lease_expires_at" nullable:"true"`
	Progress       *JobProgress    `json:"progress"`
	Result         json.RawMessage `json:"result" doc:"What the job found out; its shape depends on the type"`
	Error          *JobError       `json:"error" doc:"Why the last attempt failed"`
	SnapshotID     *uuid.UUID      `json:"snapshot_id" format:"uuid" nullable:"true" doc:"The snapshot that it made, or works on"`
	RunAfter       Time            `json:"run_after"`
	CreatedAt      Time            `json:"created_at"`
	StartedAt      *Time           `json:"started_at" nullable:"true" doc:"The last claim"`
	FinishedAt     *Time           `json:"finished_at" nullable:"true"`
	UpdatedAt      Time            `json:"updated_at"`
}

// JobProgress is how far the current attempt is, or the last one came.
type JobProgress struct {
	Phase      string `json:"phase"`
	Files      int64  `json:"files"`
	Bytes      int64  `json:"bytes"`
	BytesTotal int64  `json:"bytes_total,omitempty" doc:"Where it is known"`
	RateBPS    int64  `json:"rate_bps"`
}

// JobError is why an attempt failed.
type JobError struct {
	Code      string `json:"code" enum:"connect_failed,auth_failed,host_key_unknown,host_key_changed,path_not_found,permission_denied,source_changed,source_empty,dump_failed,storage_full,storage_failed,lease_lost,canceled,timeout,config_invalid,worker_removed,artifact_missing,artifact_corrupt,unprovable,internal"`
	Message   string `json:"message" doc:"What happened and what to do"`
	Retryable bool   `json:"retryable" doc:"Whether failures of this code are tried again by themselves"`
}

// Schema says that it may be null, which a reference to it could not.
func (JobProgress) Schema(r huma.Registry) *huma.Schema {
	type fields JobProgress
	return nullable[fields](r)
}

// Schema says that it may be null, which a reference to it could not.
func (JobError) Schema(r huma.Registry) *huma.Schema {
	type fields JobError
	return nullable[fields](r)
}

func nullable[T any](r huma.Registry) *huma.Schema {
	schema := huma.SchemaFromType(r, reflect.TypeFor[T]())
	schema.Nullable = true
	return schema
}

func jobOf(j catalog.Job) Job {
	out := Job{
		ID: j.ID, TenantID: j.TenantID, SourceID: j.SourceID, Type: string(j.Kind), Status: string(j.Status),
		Priority: j.Priority, TargetWorkerID: j.TargetWorkerID, WorkerID: j.WorkerID,
		Attempt: j.Attempt, MaxAttempts: j.MaxAttempts, LeaseExpiresAt: optionalTime(j.LeaseExpiresAt),
		Result: j.Result, SnapshotID: j.SnapshotID, RunAfter: Time{j.RunAfter}, CreatedAt: Time{j.CreatedAt},
		StartedAt: optionalTime(j.StartedAt), FinishedAt: optionalTime(j.FinishedAt), UpdatedAt: Time{j.UpdatedAt},
	}
	if j.WaitingReason != "" {
		out.WaitingReason = &j.WaitingReason
	}
	if p := j.Progress; p != nil {
		out.Progress = &JobProgress{p.Phase, p.Files, p.Bytes, p.BytesTotal, p.RateBPS}
	}
	if e := j.Error; e != nil {
		out.Error = &JobError{string(e.Code), e.Message, e.Code.Retryable()}
	}
	return out
}

func (s *server) registerJobs(api huma.API) {
	tags := []string{"jobs"}
	register(s, api, huma.Operation{
		OperationID: "create-job", Method: http.MethodPost, Path: "/jobs", Tags: tags, DefaultStatus: http.StatusCreated,
		Summary: "Queue a backup or a probe of a source",
	}, s.createJob)
	register(s, api, huma.Operation{
		OperationID: "list-jobs", Method: http.MethodGet, Path: "/jobs", Tags: tags, Summary: "List jobs",
	}, s.listJobs)
	register(s, api, huma.Operation{
		OperationID: "get-job", Method: http.MethodGet, Path: "/jobs/{id}", Tags: tags, Summary: "Get a job",
	}, s.getJob)
	register(s, api, huma.Operation{
		OperationID: "cancel-job", Method: http.MethodPost, Path: "/jobs/{id}/cancel", Tags: tags,
		Summary: "Cancel a job",
		Description: "A queued job ends at once, a running one when its worker hears of it; one whose data is stored is past it (409). " +
			"A restore that completed stays so; its download is revoked.",
	}, s.cancelJob)
	register(s, api, huma.Operation{
		OperationID: "probe-source", Method: http.MethodPost, Path: "/sources/{id}/probe", Tags: tags,
		DefaultStatus: http.StatusCreated,
		Summary:       "Try whether a source can be reached, logged in to and read",
	}, s.probeSource)
}

type createJobInput struct {
	TenantQuery
	Body struct {
		TenantID uuid.UUID `json:"tenant_id,omitempty" format:"uuid" doc:"The source says whose the job is; a different one is refused"`
		SourceID uuid.UUID `json:"source_id" format:"uuid"`
		Type     string    `json:"type,omitempty" enum:"backup,probe" doc:"Default: backup"`
		Priority *int      `json:"priority,omitempty" minimum:"0" maximum:"9" doc:"9 goes first. Default: 5"`
	}
}

func (s *server) createJob(ctx context.Context, in *createJobInput) (*Body[Job], error) {
	tenant, err := oneTenant(in.TenantID, in.Body.TenantID)
	if err != nil {
		return nil, err
	}
	n := catalog.NewJob{TenantID: tenant, SourceID: in.Body.SourceID, Kind: job.Backup, Priority: catalog.DefaultPriority}
	if in.Body.Type != "" {
		n.Kind = job.Kind(in.Body.Type)
	}
	if in.Body.Priority != nil {
		n.Priority = *in.Body.Priority
	}
	return s.queue(ctx, n)
}

// oneTenant is the tenant named in query or body, zero where none is.
func oneTenant(query, body uuid.UUID) (uuid.UUID, error) {
	switch {
	case query == uuid.Nil || query == body:
		return body, nil
	case body == uuid.Nil:
		return query, nil
	default:
		return uuid.Nil, problem.Field("query.tenant_id", "it differs from the one in the body")
	}
}

func (s *server) queue(ctx context.Context, n catalog.NewJob) (*Body[Job], error) {
	created, err := s.scope(ctx).CreateJob(ctx, n)
	if err != nil {
		return nil, err
	}
	s.log.InfoContext(ctx, "job queued", "job_id", created.ID, "type", created.Kind, "source_id", created.SourceID, "request_id", requestID(ctx))
	return &Body[Job]{jobOf(created)}, nil
}

// probePriority: a person waits for the answer.
const probePriority = 9

func (s *server) probeSource(ctx context.Context, in *IDPath) (*Body[Job], error) {
	return s.queue(ctx, catalog.NewJob{SourceID: in.ID, Kind: job.Probe, Priority: probePriority})
}

type listJobsInput struct {
	TenantQuery
	SourceID uuid.UUID `query:"source_id" format:"uuid" doc:"Of this source only"`
	Status   string    `query:"status" enum:"queued,running,finalizing,completed,failed,canceled" doc:"In this state only"`
	Type     string    `query:"type" enum:"backup,restore,delete_snapshot,verify,probe" doc:"Of this type only"`
	PageQuery
}

func (s *server) listJobs(ctx context.Context, in *listJobsInput) (*Body[List[Job]], error) {
	page, err := in.page()
	if err != nil {
		return nil, err
	}
	filter := catalog.JobFilter{
		TenantID: in.tenant(), SourceID: optional(in.SourceID), Status: in.Status, Type: in.Type,
	}
	rows, err := s.scope(ctx).Jobs(ctx, filter, page)
	if err != nil {
		return nil, err
	}
	list := listOf(rows, in.PageQuery, jobOf, func(j catalog.Job) uuid.UUID { return j.ID })
	jobs := make([]*Job, len(list.Body.Items))
	for i := range list.Body.Items {
		jobs[i] = &list.Body.Items[i]
	}
	return list, s.withDownloads(ctx, jobs...)
}

func (s *server) getJob(ctx context.Context, in *IDPath) (*Body[Job], error) {
	found, err := s.scope(ctx).Job(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	out := &Body[Job]{jobOf(found)}
	return out, s.withDownloads(ctx, &out.Body)
}

func (s *server) cancelJob(ctx context.Context, in *IDPath) (*Body[Job], error) {
	canceled, err := s.scope(ctx).CancelJob(ctx, in.ID)
	if err != nil {
		return s.revokeDownload(ctx, in, err)
	}
	return &Body[Job]{jobOf(canceled)}, nil
}
