package workerapi_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
)

func TestRegister(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	var answer job.RegisterResponse
	w.call("POST", "/workers/register", w.reg).ok(&answer)
	if answer.Incarnation != 2 || answer.HeartbeatEveryMS != 10_000 || len(answer.Token) < 43 || answer.Token == w.token {
		t.Errorf("second start: incarnation %d, heartbeat %d", answer.Incarnation, answer.HeartbeatEveryMS)
	}
	w.token = joinToken
	w.call("POST", "/workers/register", w.reg).refused(http.StatusForbidden, "forbidden")
	w.token, w.reg.WorkerID = answer.Token, "w2"
	w.call("POST", "/workers/register", w.reg).refused(http.StatusForbidden, "forbidden")
	if got := l.one("SELECT string_agg(id || ' ' || incarnation, ',') FROM workers"); got != "w1 2" {
		t.Errorf("workers: %s", got)
	}
}

func TestRegisterAgainAfterALostAnswer(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	before := w.token
	w.reg.RegistrationID = uuid.New()
	w.register() // this answer gets lost
	w.token = before
	w.register()
	w.call("POST", "/workers/heartbeat", job.Heartbeat{}).ok(nil)
	w.token = before
	w.call("POST", "/workers/register", w.reg).refused(http.StatusUnauthorized, job.RefusedSuperseded)
}

func TestRegisterValidates(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	good := l.join("w1").reg
	tests := map[string]func(*job.RegisterRequest){
		"worker_id":         func(r *job.RegisterRequest) { r.WorkerID = "../w" },
		"name":              func(r *job.RegisterRequest) { r.Name = "a\nb" },
		"version":           func(r *job.RegisterRequest) { r.Version = strings.Repeat("v", 101) },
		"age_recipient":     func(r *job.RegisterRequest) { r.AgeRecipient = "age1nothing" },
		"storage_base_path": func(r *job.RegisterRequest) { r.StorageBasePath = "relative" },
		"public_url":        func(r *job.RegisterRequest) { r.PublicURL = "https://user:pw@h.example/" },
		"slots":             func(r *job.RegisterRequest) { r.Slots = -1 },
		"capabilities":      func(r *job.RegisterRequest) { r.Capabilities.SourceTypes = make([]string, 65) },
	}
	for field, spoil := range tests {
		bad := good
		bad.WorkerID = "new"
		spoil(&bad)
		send(t, l.base, joinToken, "POST", "/workers/register", bad).names(field)
	}
	if got := l.one("SELECT count(*)::text FROM workers"); got != "1" {
		t.Errorf("%s workers", got)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	id := w.claim(l.job(l.customer("a"), job.Backup)).JobID
	path := "/jobs/" + id.String() + "/renew"
	w.call("POST", path, []byte(`{"attempt":1,"progress":{"phase":"read","new":1},"of_a_newer_worker":{"a":[1]}}`)).ok(nil)
	w.call("POST", path, []byte(`{"attempt":1} trailing`)).refused(http.StatusBadRequest, "bad_request")
	w.call("POST", path, []byte(``)).refused(http.StatusBadRequest, "bad_request")
	w.call("POST", path, []byte(`[]`)).refused(http.StatusBadRequest, "bad_request")
	w.call("POST", path, []byte(`{"attempt":"`+password+`"}`)).names("attempt")
	w.call("POST", path, []byte(`{}`)).names("attempt")
	w.call("POST", path, []byte(`{"attempt":-1}`)).names("attempt")
	w.call("POST", path, append([]byte(`{"attempt":1,"x":"`), make([]byte, 1<<20)...)).refused(http.StatusRequestEntityTooLarge, "body_too_large")
	w.call("POST", "/jobs/not-an-id/renew", job.RenewRequest{Attempt: 1}).refused(http.StatusNotFound, "not_found")
	w.call("POST", "/jobs/claim", []byte(`{}`)).names("job_id")
	w.call("POST", "/jobs/claim", []byte(`{"job_id":"x","claim_id":"y"}`)).refused(http.StatusBadRequest, "bad_request")
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	w := l.join("w1")
	beat := func(hb job.Heartbeat) bool {
		t.Helper()
		var answer job.HeartbeatResponse
		w.call("POST", "/workers/heartbeat", hb).ok(&answer)
		return answer.Drain
	}
	full := job.Heartbeat{
		Status: "online", Slots: 3, SlotsBusy: 2, DiskFreeBytes: 1 << 50, DiskTotalBytes: 1 << 51,
		StorageState: job.StorageOK, StorageID: w.storage,
	}
	if beat(full) {
		t.Error("asked to drain")
	}
	const figures = `SELECT concat_ws(' ', status, slots, slots_busy, disk_free_bytes, disk_total_bytes, storage_state) FROM workers`
	if got, want := l.one(figures), fmt.Sprintf("online 3 2 %d %d ok", int64(1)<<50, int64(1)<<51); got != want {
		t.Errorf("stored %q, want %q", got, want)
	}
	other := full
	other.StorageID = uuid.New()
	for _, hb := range []job.Heartbeat{other, full} {
		var answer job.HeartbeatResponse
		w.call("POST", "/workers/heartbeat", hb).ok(&answer)
		if foreign := hb.StorageID != w.storage; answer.StorageForeign != foreign {
			t.Errorf("foreign: %v, want %v", answer.StorageForeign, foreign)
		}
	}
	if _, err := l.operator().SetDrain(t.Context(), "w1", true); err != nil {
		t.Fatal(err)
	}
	if !beat(full) {
		t.Error("not asked to drain")
	}
	for field, hb := range map[string]job.Heartbeat{
		"status":           {Status: "offline"},
		"slots":            {Slots: 5000},
		"slots_busy":       {SlotsBusy: -1},
		"disk_free_bytes":  {DiskFreeBytes: -1},
		"disk_total_bytes": {DiskTotalBytes: -1},
		"storage_state":    {StorageState: "gone"},
	} {
		w.call("POST", "/workers/heartbeat", hb).names(field)
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.customer("a")
	w := l.join("w1")
	stored := w.claim(l.job(c, job.Backup))
	w.on(stored.JobID, "complete", w.success(stored)).ok(nil)
	running := w.claim(l.job(c, job.Backup))
	orphan := uuid.New()
	reconcile := func(req job.ReconcileRequest) job.ReconcileResponse {
		t.Helper()
		var answer job.ReconcileResponse
		w.call("POST", "/workers/reconcile", req).ok(&answer)
		return answer
	}
	res := reconcile(job.ReconcileRequest{StorageID: w.storage, Complete: true, Snapshots: []uuid.UUID{running.SnapshotID, orphan}})
	if !slices.Equal(res.Unknown, []uuid.UUID{orphan}) || !slices.Equal(res.Missing, []uuid.UUID{stored.SnapshotID}) {
		t.Errorf("%+v", res)
	}
	res = reconcile(job.ReconcileRequest{StorageID: uuid.New(), Complete: true, Snapshots: []uuid.UUID{orphan}})
	if res.Unknown == nil || res.Missing == nil || len(res.Unknown)+len(res.Missing) != 0 {
		t.Errorf("another storage: %+v", res)
	}
	w.on(running.JobID, "release", job.AttemptRequest{Attempt: running.Attempt}).ok(nil)
	res = reconcile(job.ReconcileRequest{StorageID: w.storage, Snapshots: []uuid.UUID{running.SnapshotID, stored.SnapshotID}})
	if !slices.Equal(res.Unknown, []uuid.UUID{running.SnapshotID}) || len(res.Missing) != 0 {
		t.Errorf("an attempt that was handed back: %+v", res)
	}
}
