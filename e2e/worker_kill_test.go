package e2e

import (
	"slices"
	"testing"
	"time"

	"xvault/e2e/system"
)

// commitSteps are the named steps of a backup, in order, at each of which a
// worker is killed. All of the binary's failpoints on that way stand here.
var commitSteps = []string{
	"backup.read", "backup.frame", "backup.fsync", "backup.fsync.after",
	"backup.rename", "backup.rename.after", "backup.finalize", "backup.finalize.after",
	"backup.complete", "backup.complete.after",
}

// F1: the worker is killed at each step of a backup's commit. The job completes
// all the same once the worker is back, exactly once, and nothing stays behind.
func TestWorkerKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1, kill -9 the worker at each commit step")
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 1})
	w := s.AddWorker()
	for _, step := range commitSteps {
		w.Start(step + "=kill")
		w.WaitOnline()
		job := s.Backup()
		select {
		case <-w.Done():
		case <-time.After(time.Minute):
			t.Fatalf("the worker was not killed at %s; steps reached: %v; %s", step, w.Hits(), s.API.Job(t, job.ID))
		}
		fault := time.Now()
		if hits := w.Hits(); !slices.Contains(hits, step) {
			t.Fatalf("%s was not reached, only %v: this kill proves nothing", step, hits)
		}
		orphaned := s.Orphaned(t, w.Storage)
		w.Start()
		done := s.Acknowledged(job.ID, 2*time.Minute)
		trials.Add(time.Since(fault), orphaned)
		t.Logf("killed at %s: completed %v later in attempt %d, %d bytes orphaned until then", step, time.Since(fault).Round(time.Millisecond), done.Attempt, orphaned)
		w.Terminate(t, 30*time.Second)
	}
	s.Sweep(w)
	s.Check()
}
