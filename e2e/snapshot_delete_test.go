package e2e

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// deleteSteps are the named steps of a deletion, in order, at each of which a
// worker is killed. All of the binary's failpoints on that way stand here.
var deleteSteps = []string{
	"delete.finalize", "delete.finalize.after", "delete.rename", "delete.rename.after", "delete.remove", "delete.remove.after",
	"delete_snapshot.complete", "delete_snapshot.complete.after",
}

// F1, of a deletion: the worker is killed at each step. Once it is back the
// snapshot is gone, its row says so, and nothing else is touched or left.
func TestWorkerKilledWhileItDeletes(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1, kill -9 the worker at each step of a deletion")
	s := system.Start(t, system.Options{Workers: -1}).NewScene(t, system.SceneOptions{Seed: 1, Files: 12})
	w := s.AddWorker()
	w.Start()
	s.Acknowledged(s.Backup().ID, 2*time.Minute) // stays
	for _, step := range deleteSteps {
		snap := s.API.Snapshot(t, s.MustComplete(s.Backup().ID, 2*time.Minute).SnapshotID)
		w.Terminate(t, 30*time.Second)
		w.Start(step + "=kill")
		w.WaitOnline()
		job := s.Delete(snap.ID, "?now=true")
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
		done := s.MustComplete(job.ID, 2*time.Minute)
		trials.Add(time.Since(fault), s.Orphaned(t, w.Storage))
		if got := s.API.Snapshot(t, snap.ID); got.Status != "deleted" {
			t.Errorf("killed at %s: the snapshot is %s", step, got.Status)
		}
		if _, err := os.Stat(snap.LocalPath); !os.IsNotExist(err) {
			t.Errorf("killed at %s: its folder: %v", step, err)
		}
		t.Logf("killed at %s: deleted %v later in attempt %d", step, time.Since(fault).Round(time.Millisecond), done.Attempt)
	}
	s.Sweep(w)
	s.Check()
}

// The grace time, in which a deletion is taken back, and its end.
func TestDeletionHasAGraceTime(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{HubEnv: []string{"HUB_DELETE_GRACE=3s"}}).NewScene(t, system.SceneOptions{Seed: 2, Files: 5})
	kept := s.Acknowledged(s.Backup().ID, 2*time.Minute)
	gone := s.API.Snapshot(t, s.MustComplete(s.Backup().ID, 2*time.Minute).SnapshotID)
	back := s.Delete(kept.SnapshotID, "")
	job := s.Delete(gone.ID, "")
	s.API.Do(t, "POST", "/api/v1/snapshots/"+gone.ID+"/restore", map[string]any{}, 409)
	s.API.Do(t, "POST", "/api/v1/snapshots/"+kept.SnapshotID+"/undelete", nil, 200)
	if _, err := os.Stat(filepath.Join(gone.LocalPath, system.Artifact)); err != nil {
		t.Errorf("within the grace time: %v", err)
	}
	s.MustComplete(job.ID, 3*time.Minute)
	if _, err := os.Stat(gone.LocalPath); !os.IsNotExist(err) {
		t.Errorf("after it: %v", err)
	}
	if j := s.API.Job(t, back.ID); j.Status != "canceled" {
		t.Errorf("taken back: %s", j)
	}
	s.Check()
}

// Retention by a schedule's policy, from the backup that sets it off to the
// files; and what is suspiciously small pushes nothing out (F13).
func TestRetentionDeletes(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{HubEnv: []string{"HUB_DELETE_GRACE=0s"}}).NewScene(t, system.SceneOptions{Seed: 3, Files: 12})
	s.Exec(t, `INSERT INTO schedules (id, tenant_id, source_id, cron, enabled, retention_policy)
		VALUES (gen_random_uuid(), $1, $2, '0 0 1 1 *', false, '{"keep_last": 2}')`, s.Tenant.ID, s.SourceID)
	var snaps []system.Snapshot
	for range 4 {
		snaps = append(snaps, s.API.Snapshot(t, s.MustComplete(s.Backup().ID, 2*time.Minute).SnapshotID))
	}
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return s.API.Snapshot(t, snaps[0].ID).Status == "deleted" && s.API.Snapshot(t, snaps[1].ID).Status == "deleted"
	}, "the oldest two are not deleted")
	good := snaps[2:]
	for _, snap := range good {
		s.Ledger.Acknowledge(system.Ack{Snapshot: snap, Identity: s.Identity, Path: s.Path, Want: s.Want})
	}
	must(t, os.RemoveAll(s.Path), os.MkdirAll(s.Path, 0o755), os.WriteFile(filepath.Join(s.Path, "one"), []byte("left"), 0o600))
	for range 3 {
		j := s.MustComplete(s.Backup().ID, 2*time.Minute)
		var result struct{ Suspicion string }
		must(t, json.Unmarshal(j.Result, &result))
		if snap := s.API.Snapshot(t, j.SnapshotID); snap.Status != "suspicious" || result.Suspicion == "" {
			t.Errorf("a small one is %s, the result says %s", snap.Status, j.Result)
		}
	}
	var preview struct{ Keep, Remove []any }
	reply := s.API.Do(t, "POST", "/api/v1/sources/"+s.SourceID+"/retention/preview", map[string]any{}, 200)
	must(t, json.Unmarshal(reply.Body, &preview))
	if len(preview.Keep) != 5 || len(preview.Remove) > 0 {
		t.Errorf("the next run would do this: %s", reply)
	}
	for _, snap := range good {
		if got := s.API.Snapshot(t, snap.ID); got.Status != "completed" {
			t.Errorf("a good one is %s", got.Status)
		}
	}
	s.Check()
}

// F14: a snapshot is deleted while it is downloaded. What flows flows to its
// end, whole; afterwards there is nothing to be had, and nothing is left.
func TestDeletedWhileItIsDownloaded(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 4, Files: 12})
	snap := s.API.Snapshot(t, s.MustComplete(s.Backup().ID, 2*time.Minute).SnapshotID)
	s.Acknowledged(s.Backup().ID, 2*time.Minute) // stays
	for _, format := range []string{"tar", "zip"} {
		d := s.MustRestore(snap.ID, map[string]any{"format": format})
		_, whole := system.MustFetch(t, d.URL, http.StatusOK)
		resp, err := http.Get(d.URL)
		must(t, err)
		first := make([]byte, 1000)
		_, err = io.ReadFull(resp.Body, first)
		must(t, err)
		if format == "zip" { // the last one: nothing restores it any more
			j := s.Delete(snap.ID, "?now=true")
			s.MustComplete(j.ID, 3*time.Minute)
			if _, err := os.Stat(snap.LocalPath); !os.IsNotExist(err) {
				t.Errorf("its folder: %v", err)
			}
			system.Refused(t, "a download of what is deleted", d.URL, http.StatusNotFound, http.StatusGone)
		}
		rest, err := io.ReadAll(resp.Body)
		must(t, err, resp.Body.Close())
		if !bytes.Equal(slices.Concat(first, rest), whole) {
			t.Errorf("%s: %d bytes are not the %d that they were", format, len(first)+len(rest), len(whole))
		}
	}
	s.Check()
}
