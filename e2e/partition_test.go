package e2e

import (
	"testing"
	"time"

	"xvault/e2e/system"
)

// F10: a worker is cut off from the hub, but not from the source and not from
// its storage, for so long that another one does the job. Its bytes, durable or
// not, do not count and do not stay.
func TestWorkerCutOffFromTheHub(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F10, worker cut off from the hub")
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 8, Files: 30})
	gate := system.NewGate(t, s.Hubs[0].URL)
	lonely := s.AddWorker()
	lonely.HubURL = gate.URL()
	lonely.Start("backup.frame=stop", "backup.rename.after=log")
	lonely.WaitOnline()

	job := s.Backup()
	lonely.WaitFrozen(s.Lab, 3*time.Minute)
	gate.Shut()
	fault := time.Now()
	lonely.Thaw(s.Lab)
	other := s.AddWorker()
	other.Start()
	other.WaitOnline()
	s.MoveClock(t, 2*time.Minute)
	done := s.Acknowledged(job.ID, 3*time.Minute)
	if done.WorkerID != other.ID {
		t.Errorf("the other worker should have won: %s", done)
	}
	trials.Add(time.Since(fault), s.Orphaned(t, lonely.Storage))

	gate.Open()
	other.Terminate(t, 30*time.Second)
	s.Acknowledged(s.Backup().ID, 2*time.Minute)
	s.Sweep(lonely)
	s.Sweep(other)
	s.Check()
}

// F10: a cut that nobody else used costs nothing: the backup goes on, and ends
// when the hub can be reached again.
func TestShortCutCostsNothing(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F10, short cut")
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 9, Files: 30})
	gate := system.NewGate(t, s.Hubs[0].URL)
	w := s.AddWorker()
	w.HubURL = gate.URL()
	w.Start("backup.frame=stop", "backup.rename.after=log")
	w.WaitOnline()
	job := s.Backup()
	w.WaitFrozen(s.Lab, 3*time.Minute)
	gate.Shut()
	w.Thaw(s.Lab)
	w.WaitHit("backup.rename.after", 3*time.Minute)
	gate.Open()
	open := time.Now()
	if done := s.Acknowledged(job.ID, 3*time.Minute); done.Attempt != 1 {
		t.Errorf("the cut cost the backup its work: %s", done)
	}
	trials.Add(time.Since(open), 0)
	s.Sweep(w)
	s.Check()
}
