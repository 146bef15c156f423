package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

const jobKeys = `id tenant_id source_id type status waiting_reason priority target_worker_id worker_id attempt max_attempts
	lease_expires_at progress result error snapshot_id run_after created_at started_at finished_at updated_at`

var microseconds = regexp.MustCompile(`^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"$`)

func (a answer) times(names ...string) {
	a.t.Helper()
	var object map[string]json.RawMessage
	a.is(a.status, &object)
	for _, name := range names {
		if !microseconds.Match(object[name]) {
			a.t.Errorf("%s: %s is %s", a.what, name, object[name])
		}
	}
}

// equalJSON ignores how the members are written down.
func equalJSON(t *testing.T, a, b []byte) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal(a, &x), json.Unmarshal(b, &y)); err != nil {
		t.Fatal(err)
	}
	return reflect.DeepEqual(x, y)
}

func (a answer) nulls(names ...string) {
	a.t.Helper()
	var object map[string]json.RawMessage
	a.is(a.status, &object)
	for _, name := range names {
		if string(object[name]) != "null" {
			a.t.Errorf("%s: %s is %s, want null", a.what, name, object[name])
		}
	}
}

type jobView struct {
	ID            uuid.UUID
	TenantID      uuid.UUID `json:"tenant_id"`
	SourceID      uuid.UUID `json:"source_id"`
	Type, Status  string
	WaitingReason string `json:"waiting_reason"`
	Priority      int
	Attempt       int
	Progress      *job.Progress
	Result        map[string]any
	Error         *struct {
		Code, Message string
		Retryable     bool
	}
	SnapshotID *uuid.UUID `json:"snapshot_id"`
	WorkerID   *string    `json:"worker_id"`
}

func TestCreateJob(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	var got jobView
	r := a.post("/jobs", map[string]any{"source_id": a.source})
	r.created(&got)
	r.keys(jobKeys)
	r.times("run_after", "created_at", "updated_at")
	r.nulls("target_worker_id", "worker_id", "lease_expires_at", "progress", "result", "error", "snapshot_id", "started_at", "finished_at")
	if got.TenantID != a.id || got.SourceID != a.source || got.Type != "backup" || got.Status != "queued" || got.Priority != 5 || got.Attempt != 0 {
		t.Errorf("job: %s", r.body)
	}
	again := a.get("/jobs/" + got.ID.String())
	again.ok(nil)
	if string(again.body) != string(r.body) {
		t.Errorf("read back: %s, want %s", again.body, r.body)
	}
	for _, priority := range []int{0, 9} {
		d.operator().post("/jobs", map[string]any{"source_id": a.source, "priority": priority, "type": "probe", "tenant_id": a.id}).created(&got)
		if got.Priority != priority || got.Type != "probe" {
			t.Errorf("job: %+v", got)
		}
	}
	a.post("/sources/"+a.source.String()+"/probe", nil).created(&got)
	if got.Type != "probe" || got.SourceID != a.source {
		t.Errorf("probe: %+v", got)
	}
	if n := d.one("SELECT count(*)::text FROM audit_events WHERE action = 'job.create' AND tenant_id = $1", a.id); n != "4" {
		t.Errorf("%s audit events", n)
	}
}

func TestCreateJobRefusals(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	for location, body := range map[string]map[string]any{
		"body.source_id": {},
		"body.type":      {"source_id": a.source, "type": "restore"},
		"body.priority":  {"source_id": a.source, "priority": 10},
		"body.prio":      {"source_id": a.source, "prio": 1},
	} {
		a.post("/jobs", body).names(location)
	}
	a.post("/jobs", map[string]any{"source_id": "x"}).names("body.source_id")
	a.post("/jobs", map[string]any{"source_id": a.source, "priority": -1}).names("body.priority")
	a.post("/jobs", map[string]any{"source_id": b.source}).refused(http.StatusNotFound, "not_found")
	a.post("/jobs", map[string]any{"source_id": uuid.New()}).refused(http.StatusNotFound, "not_found")
	a.post("/jobs", map[string]any{"source_id": a.source, "tenant_id": b.id}).refused(http.StatusNotFound, "not_found")
	d.operator().post("/jobs", map[string]any{"source_id": a.source, "tenant_id": b.id}).refused(http.StatusNotFound, "not_found")
	d.operator().post("/jobs?tenant_id="+b.id.String(), map[string]any{"source_id": a.source, "tenant_id": a.id}).names("query.tenant_id")
	a.post("/sources/"+b.source.String()+"/probe", nil).refused(http.StatusNotFound, "not_found")
	if n := d.one("SELECT count(*)::text FROM jobs"); n != "0" {
		t.Errorf("refused requests made %s jobs", n)
	}
	d.exec("UPDATE sources SET status = 'disabled' WHERE id = $1", a.source)
	a.post("/jobs", map[string]any{"source_id": a.source}).refused(http.StatusConflict, "source_disabled")
}

func TestCreateJobOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	body := map[string]any{"source_id": a.source}
	first := a.send("POST", "/jobs", body, "Idempotency-Key", "k")
	first.created(nil)
	again := a.send("POST", "/jobs", body, "Idempotency-Key", "k")
	again.created(nil)
	if !equalJSON(t, first.body, again.body) {
		t.Errorf("repeated: %s, want %s", again.body, first.body)
	}
	a.send("POST", "/jobs", map[string]any{"source_id": a.source, "priority": 1}, "Idempotency-Key", "k").refused(http.StatusConflict, "idempotency_mismatch")
	b.send("POST", "/jobs", map[string]any{"source_id": b.source}, "Idempotency-Key", "k").created(nil)
	if n := d.one("SELECT count(*)::text FROM jobs WHERE tenant_id = $1", a.id); n != "1" {
		t.Errorf("%s jobs", n)
	}
	// The answer was lost, the key was not.
	d.exec("UPDATE idempotency_keys SET status = 0, body = jsonb_build_object('object_type', 'job', 'object_id', body ->> 'id')")
	lost := a.send("POST", "/jobs", body, "Idempotency-Key", "k")
	lost.created(nil)
	if !equalJSON(t, first.body, lost.body) {
		t.Errorf("rebuilt: %s, want %s", lost.body, first.body)
	}
}

func TestCreateJobOnceAtOnce(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	const racers = 8
	replies := make(chan answer, racers)
	for range racers {
		go func() {
			replies <- a.send("POST", "/jobs", map[string]any{"source_id": a.source}, "Idempotency-Key", "k")
		}()
	}
	for range racers {
		if r := <-replies; r.status != http.StatusCreated {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	if n := d.one("SELECT count(*)::text FROM jobs"); n != "1" {
		t.Errorf("%s jobs", n)
	}
}

func TestJobLife(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	var got jobView
	a.post("/jobs", map[string]any{"source_id": a.source}).created(&got)
	if got.WaitingReason != catalog.WaitingNoWorker {
		t.Errorf("waiting reason without a worker: %q", got.WaitingReason)
	}
	w := d.worker("w1")
	path := "/jobs/" + got.ID.String()
	_, fence := d.claim(w, got.ID)
	_, err := d.db.RenewLease(t.Context(), fence, job.Progress{Phase: "read", Files: 2, Bytes: 3, RateBPS: 4})
	d.must(err)
	r := a.get(path)
	r.ok(&got)
	r.keys(jobKeys)
	r.times("lease_expires_at", "started_at")
	r.nulls("waiting_reason", "result", "error", "finished_at")
	if !strings.Contains(string(r.body), `"progress":{"phase":"read","files":2,"bytes":3,"rate_bps":4}`) {
		t.Errorf("running: %s", r.body)
	}
	d.must(d.db.CompleteJob(t.Context(), fence, job.CompleteRequest{
		Attempt: 1, Status: job.Failed, Error: &job.WireError{Code: job.ConnectFailed, Message: "no answer"},
	}))
	r = a.get(path)
	r.ok(&got)
	if got.Status != "queued" || got.WaitingReason != catalog.WaitingRetryBackoff || got.Error == nil ||
		got.Error.Code != "connect_failed" || got.Error.Message != "no answer" || !got.Error.Retryable {
		t.Errorf("after a transient failure: %s", r.body)
	}
	a.post(path+"/cancel", nil).ok(&got)
	if got.Status != "canceled" {
		t.Errorf("canceled: %+v", got)
	}
	a.get(path).times("finished_at")
	a.post(path+"/cancel", nil).ok(nil)

	id, snapshot := d.backUp(a, w)
	a.get("/jobs/" + id.String()).ok(&got)
	if got.Status != "completed" || got.SnapshotID == nil || *got.SnapshotID != snapshot || got.Result["files"] != 3.0 || *got.WorkerID != "w1" {
		t.Errorf("completed: %+v", got)
	}
	a.post("/jobs/"+id.String()+"/cancel", nil).refused(http.StatusConflict, "job_ended")
	a.post(path+"/restore", nil).refused(http.StatusConflict, "job_has_no_snapshot")

	a.post("/jobs", map[string]any{"source_id": a.source}).created(&got)
	_, fence = d.claim(w, got.ID)
	d.must(d.db.FinalizeJob(t.Context(), fence))
	a.post("/jobs/"+got.ID.String()+"/cancel", nil).refused(http.StatusConflict, "job_finalizing")
}

func TestListJobs(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	var of []string
	for i := range 5 {
		var got jobView
		kind := "backup"
		if i == 2 {
			kind = "probe"
		}
		a.post("/jobs", map[string]any{"source_id": a.source, "type": kind}).created(&got)
		of = append(of, got.ID.String())
	}
	var other jobView
	b.post("/jobs", map[string]any{"source_id": b.source}).created(&other)
	a.post("/jobs/"+of[0]+"/cancel", nil).ok(nil)
	slices.Reverse(of) // newest first
	tests := map[string]struct {
		client client
		query  string
		want   []string
	}{
		"all of a":         {a.client, "", of},
		"canceled":         {a.client, "status=canceled&", of[4:]},
		"probes":           {a.client, "type=probe&", of[2:3]},
		"by source":        {a.client, "source_id=" + a.source.String() + "&", of},
		"foreign source":   {a.client, "source_id=" + b.source.String() + "&", nil},
		"operator":         {d.operator(), "", append([]string{other.ID.String()}, of...)},
		"operator, tenant": {d.operator(), "tenant_id=" + a.id.String() + "&", of},
		"operator, source": {d.operator(), "source_id=" + a.source.String() + "&status=queued&type=backup&", []string{of[0], of[1], of[3]}},
	}
	for name, tt := range tests {
		for _, limit := range []string{"1", "2", "500"} {
			if got := tt.client.list("/jobs?"+tt.query, limit); !slices.Equal(got, tt.want) {
				t.Errorf("%s by %s: %v, want %v", name, limit, got, tt.want)
			}
		}
	}
	for _, query := range []string{"status=done", "type=dump", "source_id=x", "limit=0", "limit=501", "cursor=%21", "since=1"} {
		r := a.get("/jobs?" + query)
		r.names("query." + strings.Split(query, "=")[0])
	}
	if r := a.get("/jobs?tenant_id=" + b.id.String()); r.status == http.StatusOK && strings.Contains(string(r.body), other.ID.String()) {
		t.Errorf("another tenant's jobs: %s", r.body)
	}
}

// Every route of jobs, snapshots and workers: without a key, with a wrong one,
// with another tenant's.
func TestWhoMayCallWhat(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	w := d.worker("w1")
	id, snapshot := d.backUp(a, w)
	never := uuid.Must(uuid.NewV7()).String()
	hold := map[string]any{"hold": true}
	routes := []struct {
		method, path, id string
		body             any
	}{
		{"GET", "/jobs/%s", id.String(), nil},
		{"POST", "/jobs/%s/cancel", id.String(), nil},
		{"POST", "/jobs/%s/restore", id.String(), map[string]any{}},
		{"POST", "/sources/%s/probe", a.source.String(), nil},
		{"GET", "/snapshots/%s", snapshot.String(), nil},
		{"PATCH", "/snapshots/%s", snapshot.String(), hold},
		{"DELETE", "/snapshots/%s", snapshot.String(), nil},
		{"POST", "/snapshots/%s/verify", snapshot.String(), nil},
		{"POST", "/snapshots/%s/restore", snapshot.String(), map[string]any{}},
		{"GET", "/workers/%s", "w1", nil},
		{"POST", "/workers/%s/drain", "w1", nil},
		{"POST", "/workers/%s/resume", "w1", nil},
		{"DELETE", "/workers/%s", "w1", nil},
	}
	before := d.one(`SELECT concat(j, s, w) FROM jobs j, snapshots s, workers w`)
	for _, r := range routes {
		path := fmt.Sprintf(r.path, r.id)
		for _, key := range []string{"", "garbage", a.key + "x"} {
			(client{d, key}).send(r.method, path, []byte(`{"half`)).refused(http.StatusUnauthorized, "unauthorized")
		}
		if strings.HasPrefix(r.path, "/workers") {
			for _, c := range []client{a.client, b.client} {
				c.send(r.method, path, r.body).refused(http.StatusForbidden, "forbidden")
				c.send(r.method, fmt.Sprintf(r.path, "never"), r.body).refused(http.StatusForbidden, "forbidden")
			}
			d.operator().send(r.method, fmt.Sprintf(r.path, "never"), r.body).refused(http.StatusNotFound, "not_found")
			d.operator().send(r.method, fmt.Sprintf(r.path, "n%00"), r.body).refused(http.StatusNotFound, "not_found")
			continue
		}
		foreign, unknown := b.send(r.method, path, r.body), b.send(r.method, fmt.Sprintf(r.path, never), r.body)
		foreign.refused(http.StatusNotFound, "not_found")
		if string(foreign.body) != string(unknown.body) {
			t.Errorf("%s tells that the object exists: %s, unknown: %s", foreign.what, foreign.body, unknown.body)
		}
		b.send(r.method, fmt.Sprintf(r.path, "no-id"), r.body).refused(http.StatusNotFound, "not_found")
	}
	for _, path := range []string{"/jobs", "/snapshots", "/workers"} {
		(client{d, ""}).get(path).refused(http.StatusUnauthorized, "unauthorized")
	}
	b.get("/workers").refused(http.StatusForbidden, "forbidden")
	if after := d.one(`SELECT concat(j, s, w) FROM jobs j, snapshots s, workers w`); after != before {
		t.Errorf("somebody else's calls changed something:\n%s\n%s", before, after)
	}
}

// The description tells which members may be null, for clients made from it.
func TestDescriptionKnowsNulls(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	var doc struct {
		Components struct {
			Schemas map[string]struct {
				Properties map[string]struct {
					Type json.RawMessage `json:"type"`
				}
			}
		}
	}
	(client{d, ""}).get("/openapi.json").ok(&doc)
	for schema, members := range map[string]string{
		"Job":      "waiting_reason target_worker_id worker_id lease_expires_at progress error snapshot_id started_at finished_at",
		"Snapshot": "worker_id local_path bucket object_key etag verified_at fully_verified_at drilled_at verify_result accepted_at missing_since deleting_from delete_after deleted_at",
		"Worker":   "storage_id",
		"APIKey":   "tenant_id expires_at last_used_at", "NewAPIKey": "tenant_id expires_at last_used_at",
		"AuditEvent": "tenant_id",
	} {
		for member := range strings.FieldsSeq(members) {
			if got := string(doc.Components.Schemas[schema].Properties[member].Type); !strings.Contains(got, `"null"`) {
				t.Errorf("%s.%s is described as %s", schema, member, got)
			}
		}
	}
}
