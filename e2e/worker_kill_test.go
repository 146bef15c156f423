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

// namedSteps are those of them without the twins that come right after: what is
// written does not depend on the transport, what still hangs on it does.
var namedSteps = []string{"backup.read", "backup.frame", "backup.fsync", "backup.rename", "backup.finalize", "backup.complete"}

// F1: the worker is killed at each step of a backup's commit, over each transport. The
// job completes all the same once the worker is back, exactly once, and nothing stays
// behind, on the source's server either.
func TestWorkerKilledAtEveryStep(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1, kill -9 the worker at each commit step")
	lab := system.Start(t, system.Options{Workers: -1})
	overSFTP := lab.NewScene(t, system.SceneOptions{Seed: 1})
	overSSH := lab.NewScene(t, system.SceneOptions{Seed: 1, Type: system.SSH})
	w := lab.AddWorker()
	for _, step := range commitSteps {
		killAtStep(t, overSFTP, w, step, trials)
	}
	for _, step := range namedSteps {
		killAtStep(t, overSSH, w, step, trials)
	}
	lab.Sweep(w)
	lab.Check()
}

func killAtStep(t *testing.T, s *system.Scene, w *system.Worker, step string, trials *system.Trials) {
	t.Helper()
	before := times(w.Hits(), step)
	w.Start(step + "=kill")
	w.WaitOnline()
	job := s.Backup()
	select {
	case <-w.Done():
	case <-time.After(3 * time.Minute):
		t.Fatalf("the worker was not killed at %s; steps reached: %v; %s", step, w.Hits(), s.API.Job(t, job.ID))
	}
	fault := time.Now()
	if hits := w.Hits(); times(hits, step) == before {
		t.Fatalf("%s was not reached, only %v: this kill proves nothing", step, hits)
	}
	s.CheckServerIsLeft(t)
	orphaned := s.Orphaned(t, w.Storage)
	w.Start()
	done := s.Acknowledged(job.ID, 2*time.Minute)
	trials.Add(time.Since(fault), orphaned)
	t.Logf("%s, killed at %s: completed %v later in attempt %d, %d bytes orphaned until then", s.Type, step, time.Since(fault).Round(time.Millisecond), done.Attempt, orphaned)
	w.Terminate(t, 30*time.Second)
}

// times counts how often a step was reached.
func times(hits []string, step string) int {
	return len(slices.DeleteFunc(slices.Clone(hits), func(h string) bool { return h != step }))
}
