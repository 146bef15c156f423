package e2e

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/e2e/system"
)

// A worker that is told to stop hands back what it cannot finish in time; the
// job is due at once and costs nobody a failure.
func TestDrainHandsBack(t *testing.T) {
	t.Parallel()
	s := slowScene(t, system.Options{Workers: -1, WorkerEnv: []string{"WORKER_DRAIN_TIMEOUT=100ms"}})
	first, second := s.AddWorker(), s.AddWorker()
	first.Start("backup.frame=log")
	job := s.Backup()
	first.WaitHit("backup.frame", 3*time.Minute)
	stopped := time.Now()
	first.Terminate(t, 30*time.Second)
	if left := s.Orphaned(t, first.Storage); left > 0 {
		t.Errorf("a worker that stopped in order left %d bytes", left)
	}
	second.Start()
	done := s.WaitJobUntil(job.ID, 3*time.Minute, "running again", func(j system.Job) bool { return j.WorkerID == second.ID })
	t.Logf("taken over %v after the signal: %s", time.Since(stopped).Round(time.Millisecond), done)
	if failures := s.One(t, `SELECT failures FROM jobs WHERE id = $1`, job.ID); failures != "0" {
		t.Errorf("handing back counted as %s failures", failures)
	}
	s.Acknowledged(job.ID, 2*time.Minute)
	s.Check()
}

// A running job that is canceled stops with the next renewal and leaves nothing.
func TestCancelRunning(t *testing.T) {
	t.Parallel()
	s := slowScene(t, system.Options{Workers: -1})
	w := s.AddWorker()
	w.Start("backup.frame=log")
	job := s.Backup()
	w.WaitHit("backup.frame", 3*time.Minute)
	s.API.Do(t, "POST", "/api/v1/jobs/"+job.ID+"/cancel", nil, 200)
	canceled := time.Now()
	if done := s.WaitJob(job.ID, 3*time.Minute); done.Status != "canceled" || done.SnapshotID != "" {
		t.Errorf("want canceled and no snapshot: %s", done)
	}
	t.Logf("canceled within %v", time.Since(canceled).Round(time.Millisecond))
	w.Terminate(t, 30*time.Second)
	if left := s.Orphaned(t, w.Storage); left > 0 {
		t.Errorf("a canceled job left %d bytes", left)
	}
	s.CheckRecords()
}

// slowScene is a source that takes some seconds to read, over a thin line.
func slowScene(t *testing.T, o system.Options) *system.Scene {
	t.Helper()
	s := system.Start(t, o).NewScene(t, system.SceneOptions{Empty: true})
	must(t, os.MkdirAll(s.Path, 0o755), os.WriteFile(filepath.Join(s.Path, "large"), random(30, 40<<20), 0o600))
	s.Want = system.Scan(t, s.Path)
	config := s.SSH.Config(s.Path)
	link := system.NewGate(t, s.SSH.Addr())
	link.Limit(8 << 20)
	config["host"], config["port"] = link.HostPort()
	s.SourceID = s.API.CreateSource(t, s.Tenant.ID, s.API.CreateCredential(t, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM)), config)
	return s
}
