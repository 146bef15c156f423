package e2e

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// hooked is a scene whose source has commands around each backup, which leave
// their traces in a file.
type hooked struct {
	*system.Scene
	t      *testing.T
	trace  string
	config map[string]any // of the source
}

func newHooked(t *testing.T, l *system.Lab) *hooked {
	t.Helper()
	s := l.NewScene(t, system.SceneOptions{Seed: 50, Files: 5})
	return &hooked{s, t, filepath.Join(s.SSH.Root, "trace"), s.SSH.Config(s.Path)}
}

// hooks sets the commands; each of them leaves its name in the trace first.
func (h *hooked) hooks(before, after string, more map[string]any) {
	h.t.Helper()
	hooks := map[string]any{
		"before": "echo before >> " + h.trace + "; " + before,
		"after":  "echo after >> " + h.trace + "; " + after,
	}
	maps.Copy(hooks, more)
	config := maps.Clone(h.config)
	config["hooks"] = hooks
	h.API.Do(h.t, "PATCH", "/api/v1/sources/"+h.SourceID, map[string]any{"config": config}, 200)
}

// traces gives what ran since it was last asked.
func (h *hooked) traces() string {
	h.t.Helper()
	b, err := os.ReadFile(h.trace)
	if err != nil {
		h.t.Fatal(err)
	}
	must(h.t, os.Remove(h.trace))
	return strings.Join(strings.Fields(string(b)), " ")
}

type hookResults struct {
	Hooks []struct{ Hook, Output, Error string }
}

func (h *hooked) results(j system.Job) (r hookResults) {
	h.t.Helper()
	must(h.t, json.Unmarshal(j.Result, &r))
	return r
}

// What the command before made is in the backup, and the one after runs when all
// was read.
func TestHooksAroundABackup(t *testing.T) {
	t.Parallel()
	h := newHooked(t, system.Start(t, system.Options{}))
	made := filepath.Join(h.Path, "made by the hook")
	h.hooks("echo 'it'\"'\"'s me' | tee '"+made+"'", "rm '"+made+"'", nil)
	must(t, os.WriteFile(made, []byte("it's me\n"), 0o644))
	h.Want = system.Scan(t, h.Path)
	must(t, os.Remove(made))
	job := h.MustComplete(h.Backup().ID, 3*time.Minute)
	entries, err := system.OpenTree(filepath.Join(h.API.Snapshot(t, job.SnapshotID).LocalPath, "backup.tar.zst.enc"), h.Identity, h.Path)
	must(t, err)
	if entry, ok := entries["made by the hook"]; !ok || entry.Size != int64(len("it's me\n")) {
		t.Errorf("what the command before made is not in the backup: %+v", entry)
	}
	if _, err := os.Stat(made); !os.IsNotExist(err) {
		t.Errorf("the command after did not run: %v", err)
	}
	r := h.results(job)
	if got := h.traces(); got != "before after" || len(r.Hooks) != 2 || r.Hooks[0].Output != "it's me" {
		t.Errorf("%q, %+v", got, r)
	}
}

// The command after runs whatever becomes of the backup, and a command before that
// fails ends it.
func TestHooksOfABackupThatFails(t *testing.T) {
	t.Parallel()
	h := newHooked(t, system.Start(t, system.Options{}))
	h.hooks("echo out of order; exit 3", "true", nil)
	failed := h.WaitJob(h.Backup().ID, 3*time.Minute)
	mustFail(t, h.Lab, failed, "dump_failed", []string{"before the backup", "status 3", "out of order"}, false)
	if got := h.traces(); got != "before after" {
		t.Errorf("%q", got)
	}

	h.hooks("mv "+h.Path+" "+h.Path+".away", "mv "+h.Path+".away "+h.Path, nil)
	mustFail(t, h.Lab, h.WaitJob(h.Backup().ID, 3*time.Minute), "path_not_found", nil, false)
	if got := h.traces(); got != "before after" {
		t.Errorf("%q", got)
	}

	// The backup is good, and what did not end is told.
	h.hooks("true", "echo cannot start; exit 1", nil)
	done := h.Acknowledged(h.Backup().ID, 3*time.Minute)
	if r := h.results(done); len(r.Hooks) != 2 || r.Hooks[0].Error != "" || !strings.Contains(r.Hooks[1].Error, "cannot start") {
		t.Errorf("%+v", r)
	}
	h.traces()

	h.hooks("sleep 600", "true", map[string]any{"timeout_seconds": 10}) // it must have begun by then
	job := h.Backup()
	if waiting := h.WaitBack(job.ID, 1); waiting.Error == nil || waiting.Error.Code != "timeout" {
		t.Errorf("%s", waiting)
	}
	h.API.Do(t, "POST", "/api/v1/jobs/"+job.ID+"/cancel", nil, 200)
	if got := h.traces(); got != "before after" {
		t.Errorf("%q", got)
	}
	h.Check()
}

// A worker that is killed between the commands leaves a debt to the next attempt;
// one that is canceled, or stops, pays it itself.
func TestHooksOfAnAttemptThatEnds(t *testing.T) {
	t.Parallel()
	h := newHooked(t, system.Start(t, system.Options{Workers: -1, WorkerEnv: []string{"WORKER_DRAIN_TIMEOUT=100ms"}}))
	h.hooks("true", "exit 1", nil) // nothing to end is no reason to make no backup
	w := h.AddWorker()
	job := h.killed(w)
	w.Start()
	done := h.Acknowledged(job.ID, 2*time.Minute)
	if got, r := h.traces(), h.results(done); got != "after before after" || len(r.Hooks) != 3 || r.Hooks[0].Error == "" {
		t.Errorf("%q, %+v", got, r)
	}

	h.hooks("sleep 600", "true", nil)
	job = h.Backup()
	h.waitTrace()
	h.API.Do(t, "POST", "/api/v1/jobs/"+job.ID+"/cancel", nil, 200)
	if ended := h.WaitJob(job.ID, 3*time.Minute); ended.Status != "canceled" {
		t.Errorf("%s", ended)
	}
	if got := h.traces(); got != "before after" {
		t.Errorf("%q", got)
	}

	job = h.Backup()
	h.waitTrace()
	w.Terminate(t, 30*time.Second)
	if got := h.traces(); got != "before after" {
		t.Errorf("%q", got)
	}
	if got := h.One(t, `SELECT status || ', ' || failures FROM jobs WHERE id = $1`, job.ID); got != "queued, 0" {
		t.Errorf("the job of a worker that stopped is %s", got)
	}
	h.hooks("true", "true", nil)
	w.Start()
	h.Acknowledged(job.ID, 3*time.Minute)
	h.Check()
}

// A WordPress site has hooks as well, also where the worker is killed between them.
func TestHooksOfAWordPressSite(t *testing.T) {
	t.Parallel()
	h := newHooked(t, system.Start(t, system.Options{Workers: -1}))
	h.config = bareSite(t, testenv.MariaDB(t), h.SSH, "a password")
	credential := h.API.CreateCredential(t, h.Tenant.ID, system.PrivateKey(h.SSH.ClientKeyPEM))
	h.SourceID = system.Post[system.Object](t, h.API, "/api/v1/sources", map[string]any{
		"tenant_id": h.Tenant.ID, "type": "wordpress", "name": "a site", "credential_id": credential, "config": h.config,
	}).ID
	h.hooks("true", "true", nil)
	w := h.AddWorker()
	job := h.killed(w)
	w.Start()
	done := h.MustComplete(job.ID, 2*time.Minute)
	if got, r := h.traces(), h.results(done); got != "after before after" || len(r.Hooks) != 3 {
		t.Errorf("%q, %+v", got, r)
	}
	h.CheckRecords()
}

// killed gives a backup whose worker was killed between the commands.
func (h *hooked) killed(w *system.Worker) system.Job {
	h.t.Helper()
	w.Start("backup.read=kill")
	w.WaitOnline()
	job := h.Backup()
	select {
	case <-w.Done():
	case <-time.After(3 * time.Minute):
		h.t.Fatal("the worker was not killed")
	}
	if got := h.traces(); got != "before" {
		h.t.Errorf("%q", got)
	}
	return job
}

// waitTrace waits until a command has begun.
func (h *hooked) waitTrace() {
	h.t.Helper()
	testenv.Eventually(h.t, 3*time.Minute, func() bool {
		_, err := os.Stat(h.trace)
		return err == nil
	}, "no command runs")
}
