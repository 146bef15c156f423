package api

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// Worker is a process that does jobs. Only the operator sees workers.
type Worker struct {
	ID              string       `json:"id"`
	Name            string       `json:"name"`
	Version         string       `json:"version"`
	Status          string       `json:"status" enum:"online,offline,draining"`
	DrainRequested  bool         `json:"drain_requested" doc:"The operator wants it to take no new job"`
	Capabilities    Capabilities `json:"capabilities"`
	StorageBasePath string       `json:"storage_base_path"`
	StorageID       *uuid.UUID   `json:"storage_id" format:"uuid" nullable:"true" doc:"The identity of its storage, as first registered"`
	StorageState    string       `json:"storage_state" enum:"ok,missing,foreign" doc:"Unless ok, the worker counts as offline for all that needs storage"`
	AgeRecipient    string       `json:"age_recipient" doc:"What secrets are sealed to on their way to it"`
	PublicURL       string       `json:"public_url"`
	Incarnation     int64        `json:"incarnation" doc:"Counts its starts"`
	Slots           int          `json:"slots"`
	SlotsBusy       int          `json:"slots_busy"`
	DiskFreeBytes   int64        `json:"disk_free_bytes"`
	DiskTotalBytes  int64        `json:"disk_total_bytes"`
	Sweep           Sweep        `json:"sweep" doc:"What the last comparison of its storage with the catalog found"`
	LastSeenAt      Time         `json:"last_seen_at"`
	CreatedAt       Time         `json:"created_at"`
	UpdatedAt       Time         `json:"updated_at"`
}

// Sweep is how a worker's storage differs from the catalog.
type Sweep struct {
	At           *Time `json:"at" nullable:"true" doc:"null: never yet"`
	Snapshots    int64 `json:"snapshots" doc:"On the storage"`
	Orphans      int64 `json:"orphans" doc:"Of them unknown here; but for those kept they are removed after a grace time"`
	OrphanBytes  int64 `json:"orphan_bytes"`
	Kept         int64 `json:"kept" doc:"Of the orphans those that are never removed, for they may be all that is left of what a catalog knew once; xvault hub import takes them in"`
	Missing      int64 `json:"missing" doc:"Known here and not on the storage; each such snapshot has missing_since"`
	Removed      int64 `json:"removed" doc:"Orphans removed from this storage, ever"`
	RemovedBytes int64 `json:"removed_bytes"`
}

// Capabilities says what a worker can do.
type Capabilities struct {
	SourceTypes []string   `json:"source_types" nullable:"false"`
	JobTypes    []job.Kind `json:"job_types" nullable:"false"`
	Storage     []string   `json:"storage" nullable:"false"`
}

func workerOf(w catalog.Worker) Worker {
	return Worker{
		ID: w.ID, Name: w.Name, Version: w.Version, Status: w.Status, DrainRequested: w.DrainRequested,
		Capabilities: Capabilities{
			append([]string{}, w.Capabilities.SourceTypes...),
			append([]job.Kind{}, w.Capabilities.JobTypes...),
			append([]string{}, w.Capabilities.Storage...),
		},
		StorageBasePath: w.StorageBasePath, StorageID: w.StorageID, StorageState: w.StorageState,
		AgeRecipient: w.AgeRecipient, PublicURL: w.PublicURL, Incarnation: w.Incarnation,
		Slots: w.Slots, SlotsBusy: w.SlotsBusy, DiskFreeBytes: w.DiskFreeBytes, DiskTotalBytes: w.DiskTotalBytes,
		Sweep: Sweep{
			optionalTime(w.SweptAt), w.Sweep.Snapshots, w.Sweep.Orphans, w.Sweep.OrphanBytes, w.Sweep.Kept, w.Sweep.Missing, w.Sweep.Removed, w.Sweep.RemovedBytes,
		},
		LastSeenAt: Time{w.LastSeenAt}, CreatedAt: Time{w.CreatedAt}, UpdatedAt: Time{w.UpdatedAt},
	}
}

func (s *server) registerWorkers(api huma.API) {
	tags := []string{"workers"}
	register(s, api, huma.Operation{
		OperationID: "list-workers", Method: http.MethodGet, Path: "/workers", Tags: tags, Summary: "List workers (operator)",
	}, s.listWorkers)
	register(s, api, huma.Operation{
		OperationID: "get-worker", Method: http.MethodGet, Path: "/workers/{id}", Tags: tags, Summary: "Get a worker (operator)",
	}, s.getWorker)
	register(s, api, huma.Operation{
		OperationID: "drain-worker", Method: http.MethodPost, Path: "/workers/{id}/drain", Tags: tags,
		Summary: "Have a worker finish what it does and take no new job (operator)",
	}, s.setDrain(true))
	register(s, api, huma.Operation{
		OperationID: "resume-worker", Method: http.MethodPost, Path: "/workers/{id}/resume", Tags: tags,
		Summary: "Have a drained worker take jobs again (operator)",
	}, s.setDrain(false))
	register(s, api, huma.Operation{
		OperationID: "remove-worker", Method: http.MethodDelete, Path: "/workers/{id}", Tags: tags,
		Summary:     "Forget a worker for good (operator)",
		Description: "Its token is dead at once, and what only it could do fails with worker_removed. Its snapshots stay listed.",
	}, s.removeWorker)
}

// workersQuery is a PageQuery whose cursor is longer: a worker's id is a name.
type workersQuery struct {
	Limit  int    `query:"limit" default:"50" minimum:"1" maximum:"500" doc:"How many at most"`
	Cursor string `query:"cursor" maxLength:"160" doc:"next_cursor of the page before"`
	// TenantID is there because every list takes it.
	TenantID uuid.UUID `query:"tenant_id" format:"uuid" doc:"Changes nothing: workers serve every tenant"`
}

func (s *server) listWorkers(ctx context.Context, in *workersQuery) (*Body[List[Worker]], error) {
	if err := requireOperator(ctx); err != nil {
		return nil, err
	}
	rows, err := s.scope(ctx).Workers(ctx, in.Limit+1, in.Cursor)
	if err != nil {
		return nil, err
	}
	list := List[Worker]{Items: make([]Worker, 0, min(len(rows), in.Limit))}
	if len(rows) > in.Limit {
		rows = rows[:in.Limit]
		list.NextCursor = catalog.WorkerCursor(rows[in.Limit-1])
	}
	for _, row := range rows {
		list.Items = append(list.Items, workerOf(row))
	}
	return &Body[List[Worker]]{list}, nil
}

// workerPath is the id of a worker, which an operator chose.
type workerPath struct {
	ID string `path:"id" maxLength:"64"`
}

// workerID judges key and id together: to a tenant's key no id is right.
func workerID(ctx context.Context, in *workerPath) (string, error) {
	if err := requireOperator(ctx); err != nil {
		return "", err
	}
	if !job.ValidWorkerID(in.ID) {
		return "", catalog.ErrNotFound
	}
	return in.ID, nil
}

func (s *server) getWorker(ctx context.Context, in *workerPath) (*Body[Worker], error) {
	id, err := workerID(ctx, in)
	if err != nil {
		return nil, err
	}
	worker, err := s.scope(ctx).Worker(ctx, id)
	if err != nil {
		return nil, err
	}
	return &Body[Worker]{workerOf(worker)}, nil
}

func (s *server) setDrain(drain bool) func(context.Context, *workerPath) (*Body[Worker], error) {
	return func(ctx context.Context, in *workerPath) (*Body[Worker], error) {
		id, err := workerID(ctx, in)
		if err != nil {
			return nil, err
		}
		worker, err := s.scope(ctx).SetDrain(ctx, id, drain)
		if err != nil {
			return nil, err
		}
		return &Body[Worker]{workerOf(worker)}, nil
	}
}

func (s *server) removeWorker(ctx context.Context, in *workerPath) (*Empty, error) {
	id, err := workerID(ctx, in)
	if err != nil {
		return nil, err
	}
	return &Empty{}, s.scope(ctx).RemoveWorker(ctx, id)
}
