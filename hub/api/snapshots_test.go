package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
)

const snapshotKeys = `id tenant_id source_id job_id status size_bytes started_at finished_at duration_ms manifest
	encryption_algorithm encryption_key_id encryption_recipient storage_backend worker_id local_path bucket object_key etag
	hold note verified_at fully_verified_at drilled_at verify_result suspicion accepted_at missing_since deleting_from delete_after deleted_at created_at updated_at`

type snapshotView struct {
	ID, SourceID, JobID uuid.UUID
	Status              string
	SizeBytes           int64 `json:"size_bytes"`
	Manifest            map[string]any
	LocalPath           string `json:"local_path"`
	Backend             string `json:"storage_backend"`
	WorkerID            string `json:"worker_id"`
	Algorithm           string `json:"encryption_algorithm"`
	Hold                bool
	Note                string
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	w := d.worker("w1")
	var ids []string
	for range 3 {
		_, id := d.backUp(a, w)
		ids = append(ids, id.String())
	}
	_, other := d.backUp(b, w)
	slices.Reverse(ids)

	var got snapshotView
	r := a.get("/snapshots/" + ids[0])
	r.ok(&got)
	r.keys(snapshotKeys)
	r.times("started_at", "finished_at", "created_at", "updated_at")
	r.nulls("bucket", "object_key", "etag", "verified_at", "fully_verified_at", "drilled_at", "verify_result", "accepted_at", "missing_since", "deleting_from", "delete_after", "deleted_at")
	if got.Status != "completed" || got.SizeBytes != 77 || got.Manifest["format"] != "xvault/1" || got.Backend != "local_fs" ||
		got.WorkerID != "w1" || got.Algorithm != "age-x25519" || !strings.HasSuffix(got.LocalPath, "/snapshots/"+ids[0]) {
		t.Errorf("snapshot: %s", r.body)
	}
	d.exec("UPDATE snapshots SET status = 'partial' WHERE id = $1", ids[1])
	for query, want := range map[string][]string{
		"": ids, "status=partial&": ids[1:2], "source_id=" + a.source.String() + "&": ids, "source_id=" + b.source.String() + "&": nil,
	} {
		if got := a.list("/snapshots?"+query, "2"); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", query, got, want)
		}
	}
	if got := d.operator().list("/snapshots?", "2"); !slices.Equal(got, append([]string{other.String()}, ids...)) {
		t.Errorf("the operator sees %v", got)
	}
	a.get("/snapshots?status=green").names("query.status")
}

func TestUpdateSnapshot(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	_, id := d.backUp(a, d.worker("w1"))
	path := "/snapshots/" + id.String()
	var got snapshotView
	a.send("PATCH", path, map[string]any{"hold": true, "note": "line 1\nline 2"}).ok(&got)
	if !got.Hold || got.Note != "line 1\nline 2" {
		t.Errorf("held: %+v", got)
	}
	a.send("DELETE", path, nil).refused(http.StatusConflict, "snapshot_held")
	a.send("PATCH", path, map[string]any{"hold": false}).ok(&got)
	if got.Hold || got.Note != "line 1\nline 2" {
		t.Errorf("let go: %+v", got)
	}
	a.send("PATCH", path, map[string]any{"note": strings.Repeat("n", 2001)}).names("body.note")
	a.send("PATCH", path, map[string]any{"note": "a\x1bb"}).names("body.note")
	a.send("PATCH", path, map[string]any{"status": "completed"}).names("body.status")
	if n := d.one("SELECT count(*)::text FROM audit_events WHERE action = 'snapshot.update' AND object_id = $1 AND actor_type = 'api_key'", id.String()); n != "2" {
		t.Errorf("%s audit events", n)
	}
}
