package api_test

import (
	"net/http"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
)

func TestVerifySnapshot(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a, b := d.account("a"), d.account("b")
	w := d.worker("w1")
	_, id := d.backUp(a, w)
	path := "/snapshots/" + id.String() + "/verify"
	kindOf := func(jobID uuid.UUID) string { return d.one("SELECT payload ->> 'kind' FROM jobs WHERE id = $1", jobID) }
	for _, tt := range []struct {
		body any
		want string
	}{{nil, "quick"}, {map[string]any{}, "quick"}, {map[string]any{"kind": "quick"}, "quick"}, {map[string]any{"kind": "full"}, "full"}} {
		var made struct {
			ID           uuid.UUID
			Type, Status string
		}
		a.post(path, tt.body).created(&made)
		if made.Type != "verify" || made.Status != "queued" || kindOf(made.ID) != tt.want {
			t.Errorf("%v: %+v, %s", tt.body, made, kindOf(made.ID))
		}
	}
	a.post(path, map[string]any{"kind": "dream"}).names("body.kind")
	a.post(path, map[string]any{"kind": "drill"}).names("body.kind") // there are no databases in it
	a.post(path, map[string]any{"how": "full"}).names("body.how")
	b.post(path, nil).refused(http.StatusNotFound, "not_found")

	// What it finds stands on the snapshot.
	var made struct{ ID uuid.UUID }
	d.operator().post(path, nil).created(&made)
	c, fence := d.claim(w, made.ID)
	d.must(d.db.CompleteJob(t.Context(), fence, job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: job.ArtifactMissing, Message: "It is gone."},
	}))
	var got struct {
		Status       string
		VerifiedAt   *string `json:"verified_at"`
		VerifyResult *struct {
			OK                  bool
			Kind, Code, Problem string
			JobID               uuid.UUID `json:"job_id"`
		} `json:"verify_result"`
	}
	a.get("/snapshots/" + id.String()).ok(&got)
	if v := got.VerifyResult; got.Status != "corrupt" || got.VerifiedAt == nil || v == nil || v.OK || v.Kind != "quick" ||
		v.Code != "artifact_missing" || v.Problem != "It is gone." || v.JobID != made.ID {
		t.Errorf("snapshot: %+v, %+v", got, got.VerifyResult)
	}
}

func TestVerifyRhythm(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	a := d.account("a")
	path := "/sources/" + a.source.String()
	type rhythm struct {
		Every *string `json:"verify_every"`
		Kind  string  `json:"verify_kind"`
		Again *string `json:"reverify_after"`
	}
	check := func(body any, every, kind, again, due string) {
		t.Helper()
		var r rhythm
		if body == nil {
			a.get(path).ok(&r)
		} else {
			a.send("PATCH", path, body).ok(&r)
		}
		text := func(s *string) string {
			if s == nil {
				return "never"
			}
			return *s
		}
		if text(r.Every) != every || r.Kind != kind || text(r.Again) != again {
			t.Errorf("%v: %s %s %s", body, text(r.Every), r.Kind, text(r.Again))
		}
		if n := d.one("SELECT (verify_due IS NOT NULL)::text || ' ' || (reverify_due IS NOT NULL)::text FROM sources WHERE id = $1", a.source); n != due {
			t.Errorf("%v: due %s, want %s", body, n, due)
		}
	}
	check(nil, "never", "quick", "never", "false false")
	check(map[string]any{"verify_every": "7d"}, "7d", "quick", "never", "true false")
	check(map[string]any{"verify_kind": "full", "reverify_after": "2w12h"}, "7d", "full", "14d12h", "true true")
	check(map[string]any{"name": "another"}, "7d", "full", "14d12h", "true true")
	check(map[string]any{"verify_every": nil}, "never", "full", "14d12h", "false true")
	check(map[string]any{"reverify_after": "", "verify_every": "36h"}, "1d12h", "full", "never", "true false")
	for _, bad := range []any{"1m", "1y", "0d", "3651d", "d", "7", "-1d", 7} {
		a.send("PATCH", path, map[string]any{"verify_every": bad}).names("body.verify_every")
		a.send("PATCH", path, map[string]any{"reverify_after": bad}).names("body.reverify_after")
	}
	a.send("PATCH", path, map[string]any{"verify_kind": "drill"}).names("body.verify_kind")
}
