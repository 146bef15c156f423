package api_test

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/ticket"
	"xvault/store/catalog"
)

type restoreView struct {
	ID             uuid.UUID
	Type, Status   string
	SnapshotID     uuid.UUID `json:"snapshot_id"`
	TargetWorkerID string    `json:"target_worker_id"`
	Priority       int
	Result         struct {
		Files       int
		DownloadURL string `json:"download_url"`
		ExpiresAt   string `json:"expires_at"`
		RevokedAt   string `json:"revoked_at"`
	}
}

// reachable gives a worker an address.
func (d *desk) reachable(w catalog.WorkerRef) {
	d.t.Helper()
	d.exec("UPDATE workers SET public_url = 'https://w1.example.net:8081' WHERE id = $1", w.ID)
}

// restored completes a restore as its worker does.
func (d *desk) restored(w catalog.WorkerRef, id uuid.UUID) {
	d.t.Helper()
	c, fence := d.claim(w, id)
	d.must(d.db.CompleteJob(d.t.Context(), fence, job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Completed, Result: []byte(`{"files":3,"bytes":9007199254740993}`),
	}))
}

func TestRestore(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	w := d.worker("w1")
	backup, snapshot := d.backUp(a, w)
	path := "/snapshots/" + snapshot.String() + "/restore"

	a.post(path, nil).refused(http.StatusConflict, "worker_unreachable")
	if r := a.post(path, nil); !strings.Contains(string(r.body), "--to-source") || !strings.Contains(string(r.body), "S3") {
		t.Errorf("%s names no way out", r.body)
	}
	d.reachable(w)
	var got restoreView
	a.post(path, nil).created(&got)
	if got.Type != "restore" || got.Status != "queued" || got.SnapshotID != snapshot || got.TargetWorkerID != "w1" || got.Priority < 6 {
		t.Errorf("queued: %+v", got)
	}
	job := "/jobs/" + got.ID.String()
	a.get(job).ok(&got)
	if got.Result.DownloadURL != "" || got.Result.ExpiresAt != "" {
		t.Errorf("a queued restore has a download: %+v", got)
	}
	d.restored(w, got.ID)
	r := a.get(job)
	r.ok(&got)
	if !strings.HasPrefix(got.Result.DownloadURL, "https://w1.example.net:8081/download/"+got.ID.String()+"?ticket=") || got.Result.Files != 3 ||
		!strings.Contains(string(r.body), "9007199254740993") {
		t.Errorf("completed: %s", r.body)
	}
	if _, err := time.Parse(time.RFC3339, got.Result.ExpiresAt); err != nil {
		t.Errorf("expires_at: %v", err)
	}
	a.post("/jobs/"+backup.String()+"/restore", map[string]any{"paths": []string{"/a"}, "format": "zip"}).created(nil)

	// Other tenants learn nothing; the operator may all.
	b.post(path, nil).refused(http.StatusNotFound, "not_found")
	b.post(path, map[string]any{"paths": []string{"a"}}).refused(http.StatusNotFound, "not_found")
	b.post("/jobs/"+backup.String()+"/restore", nil).refused(http.StatusNotFound, "not_found")
	b.post(job+"/cancel", nil).refused(http.StatusNotFound, "not_found")
	b.get("/snapshots/"+snapshot.String()+"/files").refused(http.StatusNotFound, "not_found")
	d.operator().post(path, nil).created(nil)

	// The ticket stands nowhere.
	u, err := url.Parse(got.Result.DownloadURL)
	d.must(err)
	text := u.Query().Get("ticket")
	if n := d.one("SELECT count(*)::text FROM jobs WHERE result::text LIKE '%' || $1 || '%'", text); n != "0" {
		t.Error("the ticket stands in the job's row")
	}

	// Canceling revokes.
	a.post(job+"/cancel", nil).ok(&got)
	a.post(job+"/cancel", nil).ok(nil)
	got = restoreView{}
	a.get(job).ok(&got)
	if got.Status != "completed" || got.Result.DownloadURL != "" || got.Result.RevokedAt == "" {
		t.Errorf("revoked: %+v", got)
	}
	if n := d.one("SELECT count(*)::text FROM audit_events WHERE action = 'ticket.revoke'"); n != "2" {
		t.Errorf("%s audit events of revoking", n)
	}
}

func TestRestoreRequestsThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	w := d.worker("w1")
	d.reachable(w)
	_, snapshot := d.backUp(a, w)
	path := "/snapshots/" + snapshot.String() + "/restore"
	for wrong, location := range map[string]string{
		"": "body.paths[0]", "etc": "body.paths[0]", "../etc": "body.paths[0]", "/etc/../shadow": "body.paths[0]", "/etc//x": "body.paths[0]",
		"/./etc": "body.paths[0]", "/etc/\x00": "body.paths[0]", "/" + strings.Repeat("a", 33<<10): "body.paths[0]",
	} {
		a.post(path, map[string]any{"paths": []string{wrong}}).names(location)
	}
	a.post(path, map[string]any{"paths_base64": []string{"!"}}).names("body.paths_base64[0]")
	a.post(path, map[string]any{"paths_base64": []string{base64.StdEncoding.EncodeToString([]byte("a\xff"))}}).names("body.paths_base64[0]")
	a.post(path, map[string]any{"format": "rar"}).names("body.format")
	a.post(path, map[string]any{"format": "file"}).names("body.paths")
	a.post(path, map[string]any{"format": "file", "paths": []string{"/a", "/b"}}).names("body.paths")
	a.post(path, map[string]any{"to": "x"}).names("body.to")
	a.post(path, map[string]any{"paths_base64": []string{base64.StdEncoding.EncodeToString([]byte("/a\xff"))}}).created(nil)
	a.post(path, map[string]any{"paths": []string{"/", "/a/", "/a/b"}, "format": "tar.zst"}).created(nil)

	for status, code := range map[string]string{"deleting": "snapshot_not_restorable", "deleted": "snapshot_not_restorable", "failed": "snapshot_not_restorable"} {
		d.exec("UPDATE snapshots SET status = $1 WHERE id = $2", status, snapshot)
		a.post(path, nil).refused(http.StatusConflict, code)
		a.get("/snapshots/"+snapshot.String()+"/files").refused(http.StatusConflict, code)
	}
	for _, status := range []string{"partial", "suspicious", "corrupt", "completed"} {
		d.exec("UPDATE snapshots SET status = $1 WHERE id = $2", status, snapshot)
		a.post(path, nil).created(nil)
	}
	d.exec("DELETE FROM workers")
	a.post(path, nil).refused(http.StatusConflict, "worker_removed")
}

func TestListFilesAddress(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	w := d.worker("w1")
	d.reachable(w)
	_, snapshot := d.backUp(a, w)
	var got struct{ URL string }
	a.get("/snapshots/" + snapshot.String() + "/files?path=/home&search=a%26b").ok(&got)
	u, err := url.Parse(got.URL)
	d.must(err)
	if u.Host != "w1.example.net:8081" || u.Path != "/files/"+snapshot.String() || u.Query().Get("path") != "/home" || u.Query().Get("search") != "a&b" {
		t.Errorf("address %s", got.URL)
	}
	keys, err := d.db.TicketPublicKeys(t.Context())
	d.must(err)
	made, err := ticket.Open(keys, u.Query().Get("ticket"))
	if err != nil || made.Kind != ticket.Files || made.Subject != snapshot || made.Worker != "w1" {
		t.Errorf("ticket %+v, %v", made, err)
	}
}

func TestRestoreIsIdempotent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	w := d.worker("w1")
	d.reachable(w)
	_, snapshot := d.backUp(a, w)
	path := "/snapshots/" + snapshot.String() + "/restore"
	var first, second restoreView
	a.send("POST", path, map[string]any{}, "Idempotency-Key", "k").created(&first)
	a.send("POST", path, map[string]any{}, "Idempotency-Key", "k").created(&second)
	if first.ID != second.ID || d.one("SELECT count(*)::text FROM jobs WHERE type = 'restore'") != "1" {
		t.Errorf("%s and %s", first.ID, second.ID)
	}
}
