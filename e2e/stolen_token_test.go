package e2e

import (
	"encoding/json"
	"net/http"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"

	"xvault/e2e/system"
)

// internalCalls are all that workers may call.
var internalCalls = map[string]string{
	"/internal/workers/heartbeat": "POST", "/internal/workers/reconcile": "POST", "/internal/workers/sweep": "POST", "/internal/jobs/claim": "POST",
	"/internal/jobs/{id}/renew": "POST", "/internal/jobs/{id}/host-key": "POST", "/internal/jobs/{id}/finalize": "POST",
	"/internal/jobs/{id}/release": "POST", "/internal/jobs/{id}/complete": "POST", "/internal/tickets/redeem": "POST",
	"/internal/credentials/{id}": "GET", "/internal/tenants/{id}/public-key": "GET", "/internal/workers/register": "POST",
}

// F18: the internal API takes workers' tokens only, and a worker's token opens
// only what that worker is doing right now.
func TestStolenWorkerToken(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F18, stolen worker token")
	start := time.Now()
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 15, Files: 20, Small: true})
	victim := s.AddWorker()
	victim.Start("backup.frame=stop")
	victim.WaitOnline()
	job := s.Backup()
	victim.WaitFrozen(s.Lab, 3*time.Minute)
	running := s.API.Job(t, job.ID)
	credential := system.Get[struct {
		CredentialID string `json:"credential_id"`
	}](t, s.API, "/api/v1/sources/"+s.SourceID).CredentialID

	for path, method := range internalCalls {
		path := parameter.ReplaceAllString(path, job.ID)
		for what, key := range map[string]string{
			"none": "", "garbage": "garbage", "the operator's": s.OperatorKey,
			"a tenant's": s.API.CreateKey(t, s.Tenant.ID, "k"), "the join token": s.JoinToken,
		} {
			if what == "the join token" && path == "/internal/workers/register" {
				continue
			}
			if r, err := s.API.As(key).Try(method, path, []byte(`{"half a body`)); err != nil || r.Status != 401 {
				t.Errorf("%s %s with %s: want 401, got %s %v", method, path, what, r, err)
			}
		}
	}

	// Another worker, in an attacker's hands.
	thief := register(t, s.API.As(s.JoinToken), "thief", http.StatusOK)
	attempt := map[string]any{"attempt": running.Attempt}
	refused := func(method, path string, body any, statuses ...int) {
		t.Helper()
		r, err := thief.Try(method, path, body)
		must(t, err)
		if !slices.Contains(statuses, r.Status) {
			t.Errorf("%s %s with another worker's token: want %v, got %s", method, path, statuses, r)
		}
	}
	base := "/internal/jobs/" + job.ID
	refused("POST", base+"/renew", attempt, 409)
	refused("POST", base+"/finalize", attempt, 409)
	refused("POST", base+"/release", attempt, 409)
	refused("POST", base+"/host-key", map[string]any{"attempt": running.Attempt, "key": s.SSH.HostKey()}, 409)
	refused("POST", base+"/complete", map[string]any{"attempt": running.Attempt, "status": "completed"}, 409, 422)
	refused("POST", base+"/complete", map[string]any{
		"attempt": running.Attempt, "status": "failed", "error": map[string]any{"code": "internal", "message": "m"},
	}, 409)
	refused("POST", "/internal/jobs/claim", map[string]any{"job_id": job.ID, "claim_id": uuid.NewString()}, 409, 410)
	refused("GET", "/internal/credentials/"+credential, nil, 403, 404, 409)
	refused("POST", "/internal/tickets/redeem", map[string]any{"ticket": "x"}, 400, 403, 404, 422, 501)
	register(t, thief, victim.ID, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict)
	register(t, s.API.As(s.JoinToken), victim.ID, http.StatusUnauthorized, http.StatusForbidden, http.StatusConflict)

	// The victim's own token, stolen: it ends with the victim's next start.
	stolen := s.API.As(readState(t, victim, "token"))
	victim.Thaw(s.Lab)
	if done := s.Acknowledged(job.ID, 3*time.Minute); done.Attempt != 1 {
		t.Errorf("the attacks cost the backup its work: %s", done)
	}
	victim.Terminate(t, 30*time.Second)
	victim.Start()
	s.Acknowledged(s.Backup().ID, 3*time.Minute) // the new process has registered
	for path, method := range internalCalls {
		if path == "/internal/workers/register" {
			continue
		}
		r, err := stolen.Try(method, parameter.ReplaceAllString(path, job.ID), map[string]any{})
		if err != nil || r.Status != 401 {
			t.Errorf("a token from before the restart: %s %s answered %s %v", method, path, r, err)
		}
	}
	trials.Add(time.Since(start), 0)
	s.Sweep(victim)
	s.Check()
}

// register registers a worker by hand and gives a client with its token, or
// nil where that was refused, as it must be unless 200 is among the statuses.
func register(t *testing.T, c *system.Client, id string, statuses ...int) *system.Client {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	must(t, err)
	r, err := c.Try("POST", "/internal/workers/register", map[string]any{
		"worker_id": id, "name": id, "version": "1", "age_recipient": identity.Recipient().String(),
		"capabilities":      map[string]any{"source_types": []string{"sftp"}, "job_types": []string{"backup"}, "storage": []string{"local_fs"}},
		"storage_base_path": "/nowhere", "storage_id": uuid.NewString(), "slots": 1,
	})
	must(t, err)
	if !slices.Contains(statuses, r.Status) {
		t.Fatalf("register %s: want %v, got %s", id, statuses, r)
	}
	if r.Status != http.StatusOK {
		return nil
	}
	var answer struct{ Token string }
	must(t, json.Unmarshal(r.Body, &answer))
	return c.As(answer.Token)
}
