package worker

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"xvault/internal/job"
	"xvault/worker/hubclient"
)

// claimFor is how long one delivery tries to claim its job before asynq is
// asked to bring it back.
const claimFor = 5 * time.Second

// deliver is asynq's handler. It ignores asynq's context: the hub's lease
// decides who has a job. After a claim it always returns nil, for what becomes
// of the job then stands in the catalog, and the hub dispatches it again.
func (w *Worker) deliver(_ context.Context, l *line, task *asynq.Task) error {
	var d job.Delivery
	if err := json.Unmarshal(task.Payload(), &d); err != nil || d.JobID == uuid.Nil {
		w.log.Error("a delivery that names no job was dropped", "queue", l.queue)
		return nil
	}
	if !w.accept() {
		return errNotTaking
	}
	defer w.running.Done()
	if !l.slots.take() {
		return errNoSlot
	}
	defer l.slots.free()
	claimID, ok := w.inHand.begin(d.JobID)
	if !ok {
		return nil // the same job is at work here: a second delivery
	}
	claim, err := w.claim(job.ClaimRequest{JobID: d.JobID, ClaimID: claimID})
	if hubclient.Transient(err) {
		w.inHand.end(d.JobID, false)
		return errHubAway
	}
	defer w.inHand.end(d.JobID, true)
	if err != nil {
		if !hubclient.NothingToDo(err) {
			w.log.Error("a job could not be claimed", "job_id", d.JobID, "error", err)
		}
		return nil
	}
	w.perform(claim)
	return nil
}

// claim asks with the same claim id until it is answered, so that an answer
// that was lost is given again.
func (w *Worker) claim(req job.ClaimRequest) (job.Claim, error) {
	until, cancel := context.WithTimeout(w.life, claimFor)
	defer cancel()
	a := attempt{hub: w.hub, log: w.log.With("job_id", req.JobID), life: w.life, timing: w.timing, lostToken: w.lostToken}
	var claim job.Claim
	err := a.insist(until, func(ctx context.Context) (err error) {
		claim, err = w.hub.Claim(ctx, req)
		return err
	})
	return claim, err
}

// perform runs a claimed job to its end.
func (w *Worker) perform(claim job.Claim) {
	kind, known := w.kinds[claim.Kind]
	defer w.limits.hold(claim.Source)()
	a := &attempt{
		claim: claim, hub: w.hub, now: w.cfg.Now, timing: w.timing,
		log:         w.log.With("job_id", claim.JobID, "attempt", claim.Attempt, "tenant_id", claim.TenantID),
		actsOutside: kind.actsOutside || job.WritesSource(claim.Kind, claim.Payload), lostToken: w.lostToken, recorded: w.unconfirmed.confirm,
		life: w.life, until: w.until, folder: w.temp.folder(claim.JobID, claim.Attempt),
	}
	defer func() {
		if err := a.folder.remove(); err != nil {
			a.log.Error("a temporary folder could not be removed; the next start does", "error", err)
		}
	}()
	if !known {
		a.run(func(context.Context, *attempt) outcome {
			return outcome{err: job.Errorf(job.ConfigInvalid, "This worker does not do jobs of type %q; update it.", claim.Kind)}
		})
		return
	}
	a.run(kind.run)
}

// kind is what a worker knows of a type of job.
type kind struct {
	run func(context.Context, *attempt) outcome
	// actsOutside: it changes something beside this worker's storage.
	actsOutside bool
}

// inHand are the jobs that are being claimed or done here, and the claim ids of
// those whose claim was not answered: the hub may have granted it.
type inHand struct {
	mu     sync.Mutex
	active map[uuid.UUID]uuid.UUID
	asked  map[uuid.UUID]uuid.UUID
}

// maxAsked bounds what is remembered; forgetting costs a lease's time.
const maxAsked = 1000

func newInHand() *inHand {
	return &inHand{active: make(map[uuid.UUID]uuid.UUID), asked: make(map[uuid.UUID]uuid.UUID)}
}

// begin gives the id to claim the job with; false where it is in hand already.
func (h *inHand) begin(jobID uuid.UUID) (claimID uuid.UUID, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, busy := h.active[jobID]; busy {
		return uuid.Nil, false
	}
	claimID, again := h.asked[jobID]
	if !again {
		claimID = uuid.New()
	}
	delete(h.asked, jobID)
	h.active[jobID] = claimID
	return claimID, true
}

// end forgets the job; where the claim was not answered its id is kept.
func (h *inHand) end(jobID uuid.UUID, answered bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	claimID := h.active[jobID]
	delete(h.active, jobID)
	if answered {
		return
	}
	if len(h.asked) >= maxAsked {
		clear(h.asked)
	}
	h.asked[jobID] = claimID
}
