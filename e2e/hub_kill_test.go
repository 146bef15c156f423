package e2e

import (
	"slices"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F3: the hub is killed right before and right after the completion commits.
// The worker repeats what it said, and the job completes once.
func TestHubKilledAroundTheCommit(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F3, kill -9 the hub around the completion")
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 3, Files: 20, Small: true})
	hub := s.Hubs[0]
	for _, step := range []string{"claim.before_commit", "claim.after_commit", "finalize.after_commit", "complete.before_commit", "complete.after_commit"} {
		hub.Terminate(t, 30*time.Second)
		hub.Start(step + "=kill")
		job := s.Backup()
		select {
		case <-hub.Done():
		case <-time.After(3 * time.Minute):
			t.Fatalf("the hub was not killed at %s; reached: %v", step, hub.Hits())
		}
		fault := time.Now()
		if !slices.Contains(hub.Hits(), step) {
			t.Fatalf("%s was not reached, only %v", step, hub.Hits())
		}
		hub.Start()
		done := s.Acknowledged(job.ID, 3*time.Minute)
		trials.Add(time.Since(fault), 0)
		t.Logf("killed at %s: completed %v later in attempt %d", step, time.Since(fault).Round(time.Millisecond), done.Attempt)
		if step != "claim.before_commit" && done.Attempt != 1 {
			t.Errorf("a hub that was away cost the backup its work: %s", done)
		}
	}
	s.Sweep(s.Workers[0])
	s.Check()
}

// F3: the hub has committed, but the worker never hears of it.
func TestReplyLost(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F3, replies lost")
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 4, Files: 20, Small: true})
	for _, call := range []string{"/claim", "/finalize", "/complete"} {
		lossy := system.NewLossyHub(t, s.Hubs[0].URL, call, 2)
		w := s.AddWorker()
		w.HubURL = lossy.URL
		w.Start()
		w.WaitOnline()
		start := time.Now()
		done := s.Acknowledged(s.Backup().ID, 2*time.Minute)
		trials.Add(time.Since(start), 0)
		testenv.Eventually(t, 2*time.Minute, func() bool { return lossy.Lost.Load() == 2 }, "not two replies to %s were lost", call)
		if done.Attempt != 1 {
			t.Errorf("lost replies to %s cost an attempt: %s", call, done)
		}
		s.Sweep(w)
	}
	s.Check()
}

// F12: two hubs share the work; the one that leads, and then the other, is
// killed. Jobs complete through whichever is left.
func TestTwoHubs(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F12, one of two hubs killed")
	l := system.Start(t, system.Options{Hubs: 2, Workers: -1})
	s := l.NewScene(t, system.SceneOptions{Seed: 5, Files: 20, Small: true})
	w := s.AddWorker()
	balancer := system.NewGate(t, l.Hubs[0].URL, l.Hubs[1].URL)
	w.HubURL = balancer.URL()
	w.Start()
	w.WaitOnline()
	s.API = system.NewClient(balancer.URL(), s.OperatorKey)
	for round := range 4 {
		jobs := make([]system.Job, 6)
		for i := range jobs {
			jobs[i] = s.Backup()
		}
		victim := l.Hubs[round%2]
		victim.Kill()
		fault := time.Now()
		for _, j := range jobs {
			s.Acknowledged(j.ID, 2*time.Minute)
		}
		trials.Add(time.Since(fault), 0)
		victim.Start()
	}
	s.Sweep(w)
	s.Check()
}
