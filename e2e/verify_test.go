package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// flip changes a byte in the middle of a file, or changes it back.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	b[len(b)/2] ^= 1
	must(t, os.WriteFile(path, b, 0o600))
}

func artifactOf(s system.Snapshot) string { return filepath.Join(s.LocalPath, system.Artifact) }

// backups counts those of a scene's source.
func backups(t *testing.T, s *system.Scene) string {
	t.Helper()
	return s.One(t, `SELECT count(*) FROM jobs WHERE source_id = $1 AND type = 'backup'`, s.SourceID)
}

// From damage to a good snapshot again: it is found, marked, a new backup runs by
// itself, and what was damaged is good again once a full verification says so.
func TestDamageIsFoundAndMadeGood(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 21, Files: 10})
	snap := s.API.Snapshot(t, s.Acknowledged(s.Backup().ID, 2*time.Minute).SnapshotID)
	for _, kind := range []string{"", "quick", "full"} {
		s.MustComplete(s.Verify(snap.ID, kind).ID, 3*time.Minute)
	}
	flip(t, artifactOf(snap))
	for _, kind := range []string{"full", "quick"} {
		j := s.WaitJob(s.Verify(snap.ID, kind).ID, 3*time.Minute)
		if j.Status != "failed" || j.Error.Code != "artifact_corrupt" || j.Attempt != 1 {
			t.Errorf("%s of what is damaged: %s", kind, j)
		}
	}
	if got := s.API.Snapshot(t, snap.ID); got.Status != "corrupt" {
		t.Errorf("the snapshot is %s", got.Status)
	}
	var again string
	testenv.Eventually(t, 2*time.Minute, func() bool {
		rows := s.Rows(t, `SELECT id FROM jobs WHERE source_id = $1 AND type = 'backup' AND status = 'completed' ORDER BY id DESC`, s.SourceID)
		again = rows[0][0]
		return len(rows) == 2
	}, "no new backup was made")
	s.Acknowledged(again, 3*time.Minute)
	if n := backups(t, s); n != "2" {
		t.Errorf("%s backups", n)
	}
	flip(t, artifactOf(snap))
	s.MustComplete(s.Verify(snap.ID, "quick").ID, 3*time.Minute)
	if got := s.API.Snapshot(t, snap.ID); got.Status != "corrupt" {
		t.Errorf("after a quick one that passed it is %s", got.Status)
	}
	j := s.MustComplete(s.Verify(snap.ID, "full").ID, 3*time.Minute)
	var result struct {
		OK    bool
		Files int64
	}
	must(t, json.Unmarshal(j.Result, &result))
	if got := s.API.Snapshot(t, snap.ID); got.Status != "completed" || !result.OK || result.Files == 0 {
		t.Errorf("mended it is %s, %s", got.Status, j.Result)
	}
	s.Check()
}

// verifySteps are the named steps of a verification, in order, at each of which a
// worker is killed.
var verifySteps = []string{"verify.read", "verify.read.after", "verify.complete", "verify.complete.after"}

// F1, of a verification: the worker is killed at each step, with a snapshot that
// is whole and with one that is damaged. The verdict is right all the same, and
// one backup follows from a bad one.
func TestWorkerKilledWhileItVerifies(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1, kill -9 the worker at each step of a verification")
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 22, Files: 8})
	w := s.AddWorker()
	w.Start()
	whole := s.API.Snapshot(t, s.Acknowledged(s.Backup().ID, 2*time.Minute).SnapshotID)
	for i, step := range verifySteps {
		snap, kind, want := whole, "full", "completed"
		if i%2 == 1 {
			snap, kind, want = s.API.Snapshot(t, s.MustComplete(s.Backup().ID, 2*time.Minute).SnapshotID), "quick", "corrupt"
			flip(t, artifactOf(snap))
		}
		before := backups(t, s)
		w.Terminate(t, 30*time.Second)
		w.Start(step + "=kill")
		w.WaitOnline()
		job := s.Verify(snap.ID, kind)
		select {
		case <-w.Done():
		case <-time.After(3 * time.Minute):
			t.Fatalf("the worker was not killed at %s; steps reached: %v; %s", step, w.Hits(), s.API.Job(t, job.ID))
		}
		fault := time.Now()
		if hits := w.Hits(); !slices.Contains(hits, step) {
			t.Fatalf("%s was not reached, only %v: this kill proves nothing", step, hits)
		}
		w.Start()
		done := s.WaitJob(job.ID, 2*time.Minute)
		trials.Add(time.Since(fault), s.Orphaned(t, w.Storage))
		if got := s.API.Snapshot(t, snap.ID); got.Status != want {
			t.Errorf("killed at %s: the snapshot is %s, %s", step, got.Status, done)
		}
		if want == "corrupt" {
			s.WaitBackups(before, 1)
			flip(t, artifactOf(snap)) // for the judge, who wants it whole
		}
	}
	s.Check()
}

// F3, of a verification: the hub is killed right before and right after the
// verdict commits. The worker says it again, and it counts once.
func TestHubKilledAroundAVerdict(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F3, kill -9 the hub around a verdict")
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 23, Files: 8})
	hub := s.Hubs[0]
	s.Acknowledged(s.Backup().ID, 2*time.Minute) // nothing happens to it
	for _, step := range []string{"complete.before_commit", "complete.after_commit"} {
		snap := s.API.Snapshot(t, s.MustComplete(s.Backup().ID, 2*time.Minute).SnapshotID)
		flip(t, artifactOf(snap))
		before := backups(t, s)
		hub.Terminate(t, 30*time.Second)
		hub.Start(step + "=kill")
		job := s.Verify(snap.ID, "quick")
		select {
		case <-hub.Done():
		case <-time.After(3 * time.Minute):
			t.Fatalf("the hub was not killed at %s; reached: %v", step, hub.Hits())
		}
		fault := time.Now()
		hub.Start()
		done := s.WaitJob(job.ID, 2*time.Minute)
		trials.Add(time.Since(fault), 0)
		if got := s.API.Snapshot(t, snap.ID); got.Status != "corrupt" || done.Attempt != 1 || done.Error.Code != "artifact_corrupt" {
			t.Errorf("killed at %s: the snapshot is %s, %s", step, got.Status, done)
		}
		s.WaitBackups(before, 1)
		flip(t, artifactOf(snap))
	}
	s.Check()
}
