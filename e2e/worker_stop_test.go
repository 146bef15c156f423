package e2e

import (
	"testing"
	"time"

	"xvault/e2e/system"
)

// F2: a worker stands still past its lease, another one does the job, then the
// first goes on where it stood. Whatever it was about to do, there is one
// winner, and its bytes do not stay.
func TestWorkerFrozenPastItsLease(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F2, SIGSTOP past the lease")
	for _, step := range []string{"backup.read", "backup.rename", "backup.finalize", "backup.complete"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 2, Files: 30})
			frozen := s.AddWorker()
			frozen.Start(step + "=stop")
			frozen.WaitOnline()
			job := s.Backup()
			frozen.WaitFrozen(s.Lab, 3*time.Minute)
			fault := time.Now()

			other := s.AddWorker()
			other.Start()
			other.WaitOnline()
			s.MoveClock(t, 2*time.Minute)
			done := s.Acknowledged(job.ID, 3*time.Minute)
			if done.WorkerID != other.ID || done.Attempt != 2 {
				t.Errorf("the other worker should have won: %s", done)
			}
			orphaned := s.Orphaned(t, frozen.Storage)
			trials.Add(time.Since(fault), orphaned)

			frozen.Thaw(s.Lab)
			// It is through with its lost attempt when it does the next job.
			other.Terminate(t, 30*time.Second)
			s.Acknowledged(s.Backup().ID, 2*time.Minute)
			frozen.Terminate(t, 30*time.Second)
			s.Sweep(frozen)
			s.Sweep(other)
			s.Check()
		})
	}
}
