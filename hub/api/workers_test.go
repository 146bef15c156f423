package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
)

const workerKeys = `id name version status drain_requested capabilities storage_base_path storage_id storage_state age_recipient
	public_url incarnation slots slots_busy disk_free_bytes disk_total_bytes sweep last_seen_at created_at updated_at`

func TestWorkers(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	op := d.operator()
	for _, id := range []string{"w1", "w2", strings.Repeat("w", 64)} {
		d.worker(id)
	}
	if got := op.list("/workers?", "1"); !slices.Equal(got, []string{strings.Repeat("w", 64), "w2", "w1"}) {
		t.Errorf("workers: %v", got)
	}
	op.get("/workers?cursor=%21").names("query.cursor")
	if got := op.list("/workers?tenant_id="+uuid.NewString()+"&", "1"); len(got) != 3 {
		t.Errorf("workers serve every tenant, but with a tenant_id the list is %v", got)
	}

	r := op.get("/workers/w1")
	r.ok(nil)
	r.keys(workerKeys)
	r.times("last_seen_at", "created_at", "updated_at")
	if !strings.Contains(string(r.body), `"capabilities":{"source_types":["sftp"],"job_types":[],"storage":[]}`) {
		t.Errorf("worker: %s", r.body)
	}
	if strings.Contains(string(r.body), "token") || strings.Contains(string(r.body), "hash") {
		t.Errorf("a worker shows its token: %s", r.body)
	}
	var got struct {
		Status string
		Drain  bool `json:"drain_requested"`
	}
	for range 2 {
		op.post("/workers/w1/drain", nil).ok(&got)
		if got.Status != "draining" || !got.Drain {
			t.Errorf("drained: %+v", got)
		}
	}
	op.post("/workers/w1/resume", nil).ok(&got)
	if got.Drain {
		t.Errorf("resumed: %+v", got)
	}
}

func TestRemoveWorker(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	w := d.worker("w1")
	_, snapshot := d.backUp(a, w)
	var anywhere, onlyThere jobView
	a.post("/jobs", map[string]any{"source_id": a.source}).created(&anywhere)
	d.claim(w, anywhere.ID)
	a.post("/jobs", map[string]any{"source_id": a.source}).created(&onlyThere)
	d.exec("UPDATE jobs SET target_worker_id = 'w1' WHERE id = $1", onlyThere.ID)

	d.operator().send("DELETE", "/workers/w1", nil).is(http.StatusNoContent, nil)
	d.operator().send("DELETE", "/workers/w1", nil).refused(http.StatusNotFound, "not_found")
	a.get("/jobs/" + anywhere.ID.String()).ok(&anywhere)
	a.get("/jobs/" + onlyThere.ID.String()).ok(&onlyThere)
	if anywhere.Status != "queued" {
		t.Errorf("what others can do: %+v", anywhere)
	}
	if onlyThere.Status != "failed" || onlyThere.Error == nil || onlyThere.Error.Code != string(job.WorkerRemoved) {
		t.Errorf("what only it could do: %+v", onlyThere)
	}
	a.get("/snapshots/" + snapshot.String()).ok(nil)
	if n := d.one("SELECT count(*)::text FROM audit_events WHERE action = 'worker.remove' AND actor_type = 'operator' AND object_id = 'w1'"); n != "1" {
		t.Errorf("%s audit events", n)
	}
}
