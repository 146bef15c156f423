package workerapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
)

// calls is the whole internal API, without registering.
func calls(jobID, credential, tenant uuid.UUID) map[string]string {
	j := "/jobs/" + jobID.String()
	return map[string]string{
		"/workers/heartbeat": "POST", "/workers/reconcile": "POST", "/jobs/claim": "POST", j + "/renew": "POST",
		j + "/host-key": "POST", j + "/finalize": "POST", j + "/release": "POST", j + "/complete": "POST",
		"/tickets/redeem": "POST", "/credentials/" + credential.String(): "GET",
		"/tenants/" + tenant.String() + "/public-key": "GET",
	}
}

func TestEveryCallNeedsAWorkersToken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	claim := w.claim(l.job(c, job.Backup))
	before := l.jobNow(claim.JobID)
	old := w.token
	removed := l.join("removed")
	l.must(l.operator().RemoveWorker(t.Context(), "removed"))

	halfBody := []byte(`{"half a body`)
	for path, method := range calls(claim.JobID, c.credential, c.tenant) {
		for what, token := range map[string]string{
			"none": "", "garbage": "garbage", "join token": joinToken, "altered": w.token[:len(w.token)-1],
			"longer": w.token + "x", "very long": strings.Repeat("x", 5000), "removed worker": removed.token,
		} {
			r := send(t, l.base, token, method, path, halfBody)
			if r.status != http.StatusUnauthorized || r.header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with %s: %d %s", path, what, r.status, r.body)
			}
			r.refused(http.StatusUnauthorized, "unauthorized")
		}
	}
	for what, token := range map[string]string{"none": "", "garbage": "garbage", "removed worker": removed.token} {
		r := send(t, l.base, token, "POST", "/workers/register", halfBody)
		r.what += " with " + what
		r.refused(http.StatusUnauthorized, "unauthorized")
	}
	if after := l.jobNow(claim.JobID); after.UpdatedAt != before.UpdatedAt {
		t.Errorf("the job changed: %+v", after)
	}

	w.register()
	for path, method := range calls(claim.JobID, c.credential, c.tenant) {
		send(t, l.base, old, method, path, halfBody).refused(http.StatusUnauthorized, job.RefusedSuperseded)
	}
	w.token = old
	w.call("POST", "/workers/register", w.reg).refused(http.StatusUnauthorized, job.RefusedSuperseded)
}

func TestOtherMethodsAndPaths(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	for path, method := range calls(uuid.New(), uuid.New(), uuid.New()) {
		for _, other := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if other != method && path != "/jobs/claim" {
				r := w.call(other, path, map[string]any{})
				r.refused(http.StatusMethodNotAllowed, "method_not_allowed")
				if got := r.header.Get("Allow"); got != method {
					t.Errorf("%s: Allow: %q, want %s", r.what, got, method)
				}
			}
		}
	}
	w.call("GET", "/nothing", nil).refused(http.StatusNotFound, "not_found")
	w.call("POST", "/jobs", nil).refused(http.StatusNotFound, "not_found")
}

// A worker's token opens what that worker is doing right now and nothing else.
func TestAnotherWorkersJob(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w, thief := l.join("w1"), l.join("thief")
	claim := w.claim(l.job(c, job.Backup))
	a := job.AttemptRequest{Attempt: claim.Attempt}
	id := claim.JobID

	thief.on(id, "renew", job.RenewRequest{Attempt: claim.Attempt}).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.on(id, "finalize", a).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.on(id, "release", a).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.on(id, "host-key", job.HostKeyRequest{Attempt: claim.Attempt, Key: hostKey(t)}).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.on(id, "complete", thief.success(claim)).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.on(id, "complete", w.success(claim)).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.on(id, "complete", failure(claim, job.Internal)).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.call("POST", "/jobs/claim", job.ClaimRequest{JobID: id, ClaimID: uuid.New()}).refused(http.StatusConflict, job.RefusedNotClaimable)
	thief.call("GET", "/credentials/"+c.credential.String(), nil).refused(http.StatusNotFound, "not_found")
	thief.reg.WorkerID = "w1"
	thief.call("POST", "/workers/register", thief.reg).refused(http.StatusForbidden, "forbidden")

	never := uuid.New()
	thief.on(never, "finalize", a).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.on(never, "complete", failure(claim, job.Internal)).refused(http.StatusConflict, job.RefusedLeaseLost)
	thief.call("GET", "/credentials/"+never.String(), nil).refused(http.StatusNotFound, "not_found")

	if now := l.jobNow(id); now.Status != job.Running || *now.WorkerID != "w1" || now.Attempt != claim.Attempt {
		t.Errorf("the thief changed the job: %+v", now)
	}
	w.on(id, "complete", w.success(claim)).ok(nil)
}

func TestCredentialOnlyWhileTheLeaseHolds(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	a, b := l.customer("a"), l.customer("b")
	w := l.join("w1")
	path := "/credentials/" + a.credential.String()
	w.call("GET", path, nil).refused(http.StatusNotFound, "not_found")
	claim := w.claim(l.job(a, job.Backup))
	var answer job.SealedCredentialResponse
	w.call("GET", path, nil).ok(&answer)
	w.opens(answer.SealedCredential)
	w.call("GET", "/credentials/"+b.credential.String(), nil).refused(http.StatusNotFound, "not_found")
	w.call("GET", "/credentials/not-an-id", nil).refused(http.StatusNotFound, "not_found")
	w.on(claim.JobID, "complete", w.success(claim)).ok(nil)
	w.call("GET", path, nil).refused(http.StatusNotFound, "not_found")
}

func TestPublicKey(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	var key job.PublicKeyResponse
	w.call("GET", "/tenants/"+c.tenant.String()+"/public-key", nil).ok(&key)
	if key.ID != c.key || key.Algorithm != "age-x25519" || key.PublicKey != c.recipient {
		t.Errorf("public key: %+v", key)
	}
	w.call("GET", "/tenants/"+uuid.NewString()+"/public-key", nil).refused(http.StatusNotFound, "not_found")
	w.call("GET", "/tenants/x/public-key", nil).refused(http.StatusNotFound, "not_found")
}

func TestNoTicketsYet(t *testing.T) {
	t.Parallel()
	w := newLab(t).join("w1")
	w.call("POST", "/tickets/redeem", map[string]any{"ticket": "x"}).refused(http.StatusNotFound, "ticket_unknown")
}
