package catalog

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog/query"
)

const (
	// spareRows is how many rows a dispatch may look at beyond twice its room.
	spareRows = 128
	// otherSources is how many sources of a tenant a dispatch looks at whose
	// first jobs are all held up.
	otherSources = 32
)

// Queue is a queue with undispatched jobs and room for deliveries.
type Queue struct {
	Name string
	Room int
}

// DispatchQueues lists the queues that have something to hand out and room for
// it: twice as many deliveries as there are live slots, less those that stand
// in Redis or are at work.
func (db *DB) DispatchQueues(ctx context.Context) ([]Queue, error) {
	rows, err := db.q().DispatchQueues(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for jobs to dispatch: %w", err)
	}
	queues := make([]Queue, len(rows))
	for i, row := range rows {
		queues[i] = Queue{Name: row.Queue, Room: int(row.Room)}
	}
	return queues, nil
}

// TenantsInTurn lists up to limit tenants that have undispatched jobs in the
// queue, by id from behind after.
func (db *DB) TenantsInTurn(ctx context.Context, queue string, after uuid.UUID, limit int) ([]uuid.UUID, error) {
	tenants, err := db.q().TenantsInTurn(ctx, query.TenantsInTurnParams{
		Queue: queue, After: after, MaxTenants: int32(min(limit, 1<<20)),
	})
	if err != nil {
		return nil, fmt.Errorf("look for tenants in turn: %w", err)
	}
	return tenants, nil
}

// Handout is a job that was taken to be enqueued.
type Handout struct {
	job.Delivery
	TenantID uuid.UUID
}

// Dispatch takes up to room due jobs of these tenants, in turn over them, and
// commits a new sequence for each. What a tenant has in Redis or at work counts
// as turns that it had; within a turn the higher priority goes first, then the
// earlier in the list; within a tenant priority, then age. The jobs come in the
// order in which they are to be enqueued. Where tenants are many, one gives at
// most a fair share twice over and calling again gives the rest, so that the rows
// looked at do not grow with the product.
//
// Several dispatchers never take the same job. Of a source, host or tenant there
// are never more backups in Redis and at work than the Limits allow, but where
// two hubs dispatch in the same moment; of a source ClaimJob sees to it then.
func (db *DB) Dispatch(ctx context.Context, queue Queue, tenants []uuid.UUID) ([]Handout, error) {
	if len(tenants) == 0 || queue.Room <= 0 {
		return nil, nil
	}
	room := min(queue.Room, 1<<20)
	depth := min(room, (2*room+spareRows)/len(tenants)+1)
	ids, err := db.pickJobs(ctx, queue.Name, tenants, room, depth)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	rows, err := db.q().SendJobs(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("dispatch jobs: %w", err)
	}
	taken := make([]Handout, len(rows))
	for i, row := range rows {
		taken[i] = Handout{Delivery: job.Delivery{JobID: row.ID, Seq: row.DispatchSeq}, TenantID: row.TenantID}
	}
	return taken, nil
}

// pickJobs chooses what to dispatch.
func (db *DB) pickJobs(ctx context.Context, queue string, tenants []uuid.UUID, room, depth int) ([]uuid.UUID, error) {
	busy, err := db.q().BusyJobs(ctx, queue)
	if err != nil {
		return nil, fmt.Errorf("look for jobs at work: %w", err)
	}
	p := newPicker(db.limits, tenants, busy)
	front, err := db.q().WaitingJobs(ctx, query.WaitingJobsParams{
		Tenants: tenants, Queue: queue, Depth: int32(depth), NoVerify: p.verifying >= maxVerifying,
	})
	if err != nil {
		return nil, fmt.Errorf("look for waiting jobs: %w", err)
	}
	for _, row := range front {
		p.add(waitingJob(row))
	}
	p.pick(room)
	stuck := p.stuck(depth)
	if len(p.picked) >= room || len(stuck) == 0 {
		return p.picked, nil
	}
	others, err := db.q().OtherWaitingBackups(ctx, query.OtherWaitingBackupsParams{Tenants: stuck, Sources: otherSources})
	if err != nil {
		return nil, fmt.Errorf("look for other waiting jobs: %w", err)
	}
	for _, row := range others {
		p.add(waitingJob(row))
	}
	p.pick(room)
	return p.picked, nil
}

// Undispatch makes jobs dispatchable again whose deliveries did not reach
// Redis, or are no longer there. A job that was claimed, ended or dispatched
// anew since is left alone. It returns how many changed.
func (db *DB) Undispatch(ctx context.Context, deliveries []job.Delivery) (int, error) {
	if len(deliveries) == 0 {
		return 0, nil
	}
	params := query.UndispatchParams{Ids: make([]uuid.UUID, len(deliveries)), Seqs: make([]int64, len(deliveries))}
	for i, d := range deliveries {
		params.Ids[i], params.Seqs[i] = d.JobID, d.Seq
	}
	changed, err := db.q().Undispatch(ctx, params)
	if err != nil {
		return 0, fmt.Errorf("take deliveries back: %w", err)
	}
	return len(changed), nil
}

// Dispatched is a delivery that should stand in Redis.
type Dispatched struct {
	job.Delivery
	Queue string
	Age   time.Duration // since it was handed out
}

// Dispatched lists up to limit deliveries of queued jobs that were handed out
// at least minAge ago.
func (db *DB) Dispatched(ctx context.Context, minAge time.Duration, limit int) ([]Dispatched, error) {
	rows, err := db.q().Dispatched(ctx, query.DispatchedParams{
		MinAgeSeconds: minAge.Seconds(), MaxRows: int32(min(limit, 1<<20)),
	})
	if err != nil {
		return nil, fmt.Errorf("list dispatched jobs: %w", err)
	}
	dispatched := make([]Dispatched, len(rows))
	for i, row := range rows {
		dispatched[i] = Dispatched{
			Delivery: job.Delivery{JobID: row.ID, Seq: row.DispatchSeq}, Queue: row.Queue,
			Age: time.Duration(row.AgeMs) * time.Millisecond,
		}
	}
	return dispatched, nil
}
