package api_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

type lifeView struct {
	ID           uuid.UUID
	Status       string
	DeletingFrom *string    `json:"deleting_from"`
	DeleteAfter  *time.Time `json:"delete_after"`
	AcceptedAt   *time.Time `json:"accepted_at"`
	Suspicion    string
	Hold         bool
}

type deleteJobView struct {
	ID         uuid.UUID
	Type       string
	Status     string
	SnapshotID uuid.UUID `json:"snapshot_id"`
	RunAfter   time.Time `json:"run_after"`
	CreatedAt  time.Time `json:"created_at"`
	Target     string    `json:"target_worker_id"`
}

func TestDeleteSnapshot(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	w := d.worker("w1")
	_, id := d.backUp(a, w)
	path := "/snapshots/" + id.String()
	for _, call := range [][2]string{{"DELETE", path}, {"POST", path + "/undelete"}, {"POST", path + "/accept"}} {
		b.send(call[0], call[1], nil).refused(http.StatusNotFound, "not_found")
	}
	var j, again deleteJobView
	r := a.send("DELETE", path, nil)
	r.created(&j)
	r.keys(jobKeys)
	if j.Type != "delete_snapshot" || j.SnapshotID != id || j.Target != "w1" {
		t.Errorf("job: %s", r.body)
	}
	if grace := j.RunAfter.Sub(j.CreatedAt); grace < deskGrace-time.Minute || grace > deskGrace+time.Minute {
		t.Errorf("due %v after it was queued, want %v", grace, deskGrace)
	}
	a.send("DELETE", path, nil).created(&again)
	if again.ID != j.ID {
		t.Error("a second call made a second job")
	}
	var s lifeView
	a.get(path).ok(&s)
	if s.Status != "deleting" || s.DeletingFrom == nil || *s.DeletingFrom != "completed" || s.DeleteAfter == nil {
		t.Errorf("snapshot: %+v", s)
	}
	if got := a.list("/snapshots?status=deleting&", "5"); !slices.Equal(got, []string{id.String()}) {
		t.Errorf("deleting ones: %v", got)
	}
	a.post(path+"/restore", nil).is(http.StatusConflict, nil)
	a.post(path+"/undelete", nil).ok(&s)
	if s.Status != "completed" || s.DeletingFrom != nil || s.DeleteAfter != nil {
		t.Errorf("taken back: %+v", s)
	}
	a.get("/jobs/" + j.ID.String()).ok(&j)
	if j.Status != "canceled" {
		t.Errorf("its job is %s", j.Status)
	}
	a.post(path+"/undelete", nil).refused(http.StatusConflict, "snapshot_not_deleting")

	a.send("DELETE", path+"?now=true", nil).created(&j)
	if j.RunAfter.After(j.CreatedAt.Add(time.Second)) {
		t.Errorf("now is %v later", j.RunAfter.Sub(j.CreatedAt))
	}
	d.claim(w, j.ID)
	a.post(path+"/undelete", nil).refused(http.StatusConflict, "deletion_begun")
	a.send("PATCH", path, map[string]any{"hold": true}).refused(http.StatusConflict, "deletion_begun")
	a.post("/jobs/"+j.ID.String()+"/cancel", nil).refused(http.StatusConflict, "deletion_begun")
	a.send("DELETE", path+"?now=maybe", nil).names("query.now")
}

func TestAcceptSnapshot(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	_, id := d.backUp(a, d.worker("w1"))
	path := "/snapshots/" + id.String()
	a.post(path+"/accept", nil).refused(http.StatusConflict, "snapshot_not_suspicious")
	d.exec("UPDATE snapshots SET status = 'suspicious', suspicion = 'It holds no file.' WHERE id = $1", id)
	var s lifeView
	a.post(path+"/accept", nil).ok(&s)
	if s.Status != "completed" || s.AcceptedAt == nil || s.Suspicion != "It holds no file." {
		t.Errorf("accepted: %+v", s)
	}
	var events struct {
		Items []struct{ Action, ActorType string }
	}
	a.get("/audit-events?limit=1").ok(&events)
	if len(events.Items) != 1 || events.Items[0].Action != "snapshot.accept" {
		t.Errorf("events: %+v", events)
	}
}

type previewView struct {
	Keep, Remove []struct {
		SnapshotID uuid.UUID `json:"snapshot_id"`
		Reasons    []string
	}
	FreedBytes int64 `json:"freed_bytes"`
}

func TestPreviewRetention(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	w := d.worker("w1")
	var ids []uuid.UUID
	for range 4 {
		_, id := d.backUp(a, w)
		ids = append(ids, id)
	}
	for i, id := range ids { // four days
		d.exec("UPDATE snapshots SET started_at = '2026-11-20T23:30:00Z'::timestamptz + make_interval(days => $2) WHERE id = $1", id, i)
	}
	path := "/sources/" + a.source.String() + "/retention/preview"
	ask := func(body any) previewView {
		t.Helper()
		var p previewView
		r := a.post(path, body)
		r.ok(&p)
		r.keys("keep remove freed_bytes")
		if len(p.Keep)+len(p.Remove) != 4 {
			t.Errorf("%v: %s", body, r.body)
		}
		return p
	}
	policy := func(p map[string]any, zone string) map[string]any {
		body := map[string]any{"retention_policy": p}
		if zone != "" {
			body["timezone"] = zone
		}
		return body
	}
	p := ask(policy(map[string]any{"keep_last": 1}, ""))
	if len(p.Keep) != 1 || p.Keep[0].SnapshotID != ids[3] || len(p.Remove) != 3 || p.FreedBytes != 3*77 ||
		!strings.HasPrefix(p.Keep[0].Reasons[0], "keep_last") || p.Remove[0].Reasons[0] != "no_rule" {
		t.Errorf("keep_last: %+v", p)
	}
	for _, body := range []any{policy(map[string]any{}, ""), map[string]any{}, policy(map[string]any{"min_keep": 2}, "")} {
		if p := ask(body); len(p.Remove) != 0 || p.FreedBytes != 0 {
			t.Errorf("%v removes %+v", body, p.Remove)
		}
	}
	// In Berlin the newest two are of the last days of different months: the 24th, 00:30.
	d.exec("UPDATE snapshots SET started_at = '2026-10-31T23:30:00Z' WHERE id = $1", ids[0])
	if p := ask(policy(map[string]any{"keep_monthly": 2}, "UTC")); len(p.Keep) != 2 {
		t.Errorf("in UTC: %+v", p.Keep)
	}
	if p := ask(policy(map[string]any{"keep_monthly": 1}, "Europe/Berlin")); len(p.Keep) != 1 {
		t.Errorf("in Berlin: %+v", p.Keep)
	}
	d.exec("UPDATE snapshots SET hold = true WHERE id = $1", ids[1])
	if p := ask(policy(map[string]any{"keep_last": 1}, "")); len(p.Keep) != 2 || p.FreedBytes != 2*77 {
		t.Errorf("with a hold: %+v", p)
	}
	// Without a policy: those of the schedules.
	d.exec(`INSERT INTO schedules (id, tenant_id, source_id, cron, retention_policy) VALUES ($1, $2, $3, '@daily', '{"keep_last": 3}')`, uuid.New(), a.id, a.source)
	if p := ask(map[string]any{}); len(p.Remove) != 1 || p.Remove[0].SnapshotID != ids[0] {
		t.Errorf("by schedule: %+v", p)
	}
	if n := d.one("SELECT count(*)::text FROM snapshots WHERE status <> 'completed'"); n != "0" {
		t.Errorf("%s snapshots were changed by looking", n)
	}
	a.post(path, policy(map[string]any{"keep_last": -1}, "")).names("body.retention_policy.keep_last")
	a.post(path, policy(map[string]any{"keep_dayly": 1}, "")).names("body.retention_policy.keep_dayly")
	a.post(path, policy(map[string]any{"keep_within": "soon"}, "")).names("body.retention_policy.keep_within")
	a.post(path, map[string]any{"retention_policy": []int{1}}).is(http.StatusUnprocessableEntity, nil)
	a.post(path, policy(map[string]any{"keep_last": 1}, "Europe/Atlantis")).names("body.timezone")
	a.post(path, map[string]any{"timezone": "UTC"}).names("body.timezone")
	b.post(path, policy(map[string]any{"keep_last": 1}, "")).refused(http.StatusNotFound, "not_found")
}
