package workerapi_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
)

// busy is a worker whose token the hub has seen in every call about jobs, with
// one job at work and one that it has completed.
type busy struct {
	*worker
	claimed, ended job.Claim
	last           job.CompleteRequest
	claimID        uuid.UUID
	waiting        uuid.UUID
}

func newBusy(t *testing.T) *busy {
	t.Helper()
	l := newLab(t)
	c := l.customer("a")
	b := &busy{worker: l.join("w1"), claimID: uuid.New()}
	released := b.claim(l.job(c, job.Backup))
	b.on(released.JobID, "release", job.AttemptRequest{Attempt: released.Attempt}).ok(nil)
	b.waiting = released.JobID
	b.ended = b.claim(l.job(c, job.Backup))
	b.last = b.success(b.ended)
	b.on(b.ended.JobID, "finalize", job.AttemptRequest{Attempt: b.ended.Attempt}).ok(nil)
	b.on(b.ended.JobID, "complete", b.last).ok(nil)
	b.call("POST", "/jobs/claim", job.ClaimRequest{JobID: l.job(c, job.Backup), ClaimID: b.claimID}).ok(&b.claimed)
	b.on(b.claimed.JobID, "renew", job.RenewRequest{Attempt: b.claimed.Attempt}).ok(nil)
	return b
}

// refusedEverywhere says everything that a worker may say of jobs, what it said
// before included, and expects that nothing of it is heard.
func (b *busy) refusedEverywhere(token, code string) {
	b.t.Helper()
	id, current := b.claimed.JobID, job.AttemptRequest{Attempt: b.claimed.Attempt}
	before := b.one("SELECT string_agg(md5(j::text), ',' ORDER BY id) FROM jobs j")
	for _, said := range []struct {
		path string
		body any
	}{
		{"/jobs/claim", job.ClaimRequest{JobID: b.waiting, ClaimID: uuid.New()}},
		{"/jobs/claim", job.ClaimRequest{JobID: id, ClaimID: b.claimID}},
		{"/jobs/" + id.String() + "/renew", job.RenewRequest{Attempt: b.claimed.Attempt}},
		{"/jobs/" + id.String() + "/finalize", current},
		{"/jobs/" + id.String() + "/complete", b.success(b.claimed)},
		{"/jobs/" + id.String() + "/complete", failure(b.claimed, job.Internal)},
		{"/jobs/" + id.String() + "/release", current},
		{"/jobs/" + b.ended.JobID.String() + "/finalize", job.AttemptRequest{Attempt: b.ended.Attempt}},
		{"/jobs/" + b.ended.JobID.String() + "/complete", b.last},
		{"/jobs/" + uuid.NewString() + "/finalize", current},
		{"/jobs/claim", []byte(`{"half a body`)},
	} {
		r := send(b.t, b.base, token, "POST", said.path, said.body)
		r.refused(http.StatusUnauthorized, code)
		if r.header.Get("WWW-Authenticate") == "" {
			b.t.Errorf("%s: no WWW-Authenticate", r.what)
		}
	}
	if after := b.one("SELECT string_agg(md5(j::text), ',' ORDER BY id) FROM jobs j"); after != before {
		b.t.Error("what was refused changed a job")
	}
}

// holds gives the job back to the worker's first start, as a claim does that
// slips past the end of that start.
func (b *busy) holds() {
	b.t.Helper()
	b.exec(`UPDATE jobs SET status = 'running', worker_id = 'w1', worker_incarnation = 1, attempt = $2, claim_id = $3, attempt_snapshot_id = $4,
		attempt_outcome = NULL, error_code = NULL, error_message = NULL, finished_at = NULL,
		lease_expires_at = xvault_now() + interval '1 min' WHERE id = $1`, b.claimed.JobID, b.claimed.Attempt, b.claimID, b.claimed.SnapshotID)
}

func TestASupersededTokenEndsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBusy(t)
	old := b.token
	b.register()
	b.refusedEverywhere(old, job.RefusedSuperseded)
	b.holds()
	b.refusedEverywhere(old, job.RefusedSuperseded)
	b.call("POST", "/workers/heartbeat", job.Heartbeat{}).ok(nil)
	b.claim(b.waiting)
}

func TestARemovedWorkersTokenEndsAtOnce(t *testing.T) {
	t.Parallel()
	for _, late := range []bool{false, true} {
		b := newBusy(t)
		b.must(b.operator().RemoveWorker(t.Context(), "w1"))
		if late {
			b.holds()
		}
		b.refusedEverywhere(b.token, "unauthorized")
	}
}

// The id comes back, with another token: the earlier one opens nothing of it.
func TestARemovedWorkerThatJoinsAgain(t *testing.T) {
	t.Parallel()
	b := newBusy(t)
	old := b.token
	b.must(b.operator().RemoveWorker(t.Context(), "w1"))
	b.token = joinToken
	b.register() // its first start, as the removed one's was
	b.refusedEverywhere(old, "unauthorized")
	b.holds()
	b.refusedEverywhere(old, "unauthorized")
}
