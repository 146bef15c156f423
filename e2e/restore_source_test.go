package e2e

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// written is the result of a restore to a source.
type written struct {
	Files, Dirs, Links, Bytes, Overwritten, Skipped, Unchanged, Failed int64
	Warnings                                                           []struct{ Path, Code, Message string }
}

func resultOf(t *testing.T, j system.Job) (w written) {
	t.Helper()
	must(t, json.Unmarshal(j.Result, &w))
	return w
}

// The whole way: a source is backed up, damaged, and restored into its original
// place and into another folder; a look at the disk finds it as it was.
func TestRestoreToTheSource(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 21})
	done := s.Acknowledged(s.Backup().ID, 3*time.Minute)

	must(t, os.RemoveAll(s.Path))
	j := s.MustComplete(s.API.StartRestore(t, done.SnapshotID, map[string]any{"destination": "source"}).ID, 3*time.Minute)
	s.Want.MustEqual(t, system.Scan(t, s.Path))
	if w := resultOf(t, j); w.Files == 0 || w.Dirs == 0 || w.Failed+w.Skipped > 0 || w.Overwritten > 0 {
		t.Errorf("the result says %s", j.Result)
	}

	other := filepath.Join(s.SSH.Root, "elsewhere")
	j = s.MustComplete(s.API.StartRestore(t, done.SnapshotID, map[string]any{"destination": "source", "target_path": other}).ID, 3*time.Minute)
	s.Want.MustEqual(t, system.Scan(t, filepath.Join(other, s.Path)))
	t.Logf("%s", j.Result)

	// To replace files takes a word more, and another tenant's source is not there.
	body := map[string]any{"destination": "source", "existing": "overwrite"}
	call := "/api/v1/snapshots/" + done.SnapshotID + "/restore"
	if reply := s.API.Do(t, "POST", call, body, 422); !strings.Contains(string(reply.Body), "body.confirm") {
		t.Errorf("without confirm: %s", reply)
	}
	body["confirm"] = true
	stranger := s.NewScene(t, system.SceneOptions{Empty: true})
	body["target_source_id"] = stranger.SourceID
	s.API.Do(t, "POST", call, body, 404)
	delete(body, "target_source_id")
	must(t, os.WriteFile(filepath.Join(s.Path, "added"), nil, 0o600), os.Chmod(s.Path, 0o700))
	damaged := 0
	must(t, filepath.WalkDir(s.Path, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && damaged < 5 {
			damaged++
			err = os.WriteFile(path, []byte("damaged"), 0o600)
		}
		return err
	}))
	j = s.MustComplete(s.API.StartRestore(t, done.SnapshotID, body).ID, 3*time.Minute)
	must(t, os.Remove(filepath.Join(s.Path, "added")), os.Chtimes(s.Path, time.Unix(s.Want["."].MTime, 0), time.Unix(s.Want["."].MTime, 0)))
	s.Want.MustEqual(t, system.Scan(t, s.Path))
	if w := resultOf(t, j); w.Overwritten == 0 || w.Skipped+w.Failed > 0 {
		t.Errorf("the result says %s", j.Result)
	}
	s.Check()
}

// sourceSteps are the named steps of a restore to a source, in order, at each of
// which a worker is killed.
var sourceSteps = []string{
	"restore.connect", "restore.mkdir", "restore.mkdir.after", "restore.create", "restore.write", "restore.rename", "restore.rename.after",
	"restore.folder", "restore.folder.after", "restore.done", "restore.complete", "restore.complete.after",
}

// F1, of a restore to a source: whenever the worker is killed, no half file stands
// under a real name, and once the worker is back the tree is as it was and nothing
// else is left.
func TestWorkerKilledWhileItRestoresToTheSource(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1, kill -9 the worker at each step of a restore to the source")
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 22, Files: 10})
	done := s.Acknowledged(s.Backup().ID, 3*time.Minute)
	w := s.Workers[0]
	w.Terminate(t, 30*time.Second)
	for _, step := range sourceSteps {
		must(t, os.RemoveAll(s.Path))
		w.Start(step + "=kill")
		w.WaitOnline()
		job := s.API.StartRestore(t, done.SnapshotID, map[string]any{"destination": "source"})
		select {
		case <-w.Done():
		case <-time.After(3 * time.Minute):
			t.Fatalf("the worker was not killed at %s; steps reached: %v; %s", step, w.Hits(), s.API.Job(t, job.ID))
		}
		fault := time.Now()
		if hits := w.Hits(); !slices.Contains(hits, step) {
			t.Fatalf("%s was not reached, only %v: this kill proves nothing", step, hits)
		}
		noHalfFile(t, s, step)
		w.Start()
		ended := s.MustComplete(job.ID, 2*time.Minute)
		s.Want.MustEqual(t, system.Scan(t, s.Path))
		trials.Add(time.Since(fault), leftovers(t, s.SSH.Root))
		t.Logf("killed at %s: completed %v later in attempt %d: %s", step, time.Since(fault).Round(time.Millisecond), ended.Attempt, ended.Result)
		w.Terminate(t, 30*time.Second)
	}
	s.Sweep(w)
	s.Check()
}

// noHalfFile checks that what stands under a real name is whole.
func noHalfFile(t *testing.T, s *system.Scene, when string) {
	t.Helper()
	if _, err := os.Lstat(s.Path); err != nil {
		return // not even the folder
	}
	for path, node := range system.Scan(t, s.Path) {
		want, known := s.Want[path]
		temporary := strings.HasPrefix(filepath.Base(path), connectors.TempPrefix)
		if node.Type == "file" && !temporary && (!known || node.SHA256 != want.SHA256 || node.Mode != want.Mode) {
			t.Errorf("%s: %s is %+v", when, path, node)
		}
	}
}

// leftovers counts what a restore left, and tells of it.
func leftovers(t *testing.T, root string) (n int64) {
	t.Helper()
	must(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), connectors.TempPrefix) {
			t.Errorf("%s is left", path)
			n++
		}
		return err
	}))
	return n
}

// F8, of a restore, to other sources than the snapshot's: the connection is cut
// after 1, 50 and 99 % of what goes over it. The job is tried again and goes on.
func TestRestoreToASourceIsCut(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F8, cut the connection of a restore to a source")
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 23, Files: 30})
	must(t, os.WriteFile(filepath.Join(s.Path, "large.bin"), []byte(strings.Repeat("sixteen bytes...", 200_000)), 0o600))
	s.Want = system.Scan(t, s.Path)
	done := s.Acknowledged(s.Backup().ID, 3*time.Minute)
	credential := s.API.CreateCredential(t, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM))
	to := func(link *testenv.Link, place string) map[string]any {
		source := s.API.CreateSource(t, s.Tenant.ID, credential, link.Config(s.SSH, s.SSH.Root))
		return map[string]any{"destination": "source", "target_source_id": source, "target_path": filepath.Join(s.SSH.Root, place)}
	}
	whole := testenv.SlowLink(t, s.SSH.Addr(), 0)
	s.MustComplete(s.API.StartRestore(t, done.SnapshotID, to(whole, "whole")).ID, 3*time.Minute)

	began, jobs := time.Now(), map[string]string{}
	for _, percent := range []int64{1, 50, 99} {
		link := testenv.SlowLink(t, s.SSH.Addr(), 0)
		link.CutAfterSent(whole.Sent() * percent / 100)
		place := fmt.Sprintf("cut-%d", percent)
		jobs[place] = s.API.StartRestore(t, done.SnapshotID, to(link, place)).ID
		testenv.Eventually(t, 3*time.Minute, func() bool {
			j := s.API.Job(t, jobs[place])
			return j.Status == "queued" && j.Attempt == 1
		}, "cut at %d %%: the job does not fail for now", percent)
		link.CutAfterSent(-1)
	}
	for place, id := range jobs {
		j := s.MustComplete(id, 3*time.Minute)
		if j.Attempt != 2 {
			t.Errorf("%s: %s", place, j)
		}
		s.Want.MustEqual(t, system.Scan(t, filepath.Join(s.SSH.Root, place, s.Path)))
		trials.Add(time.Since(began), leftovers(t, filepath.Join(s.SSH.Root, place)))
		t.Logf("%s: %s", place, j.Result)
	}
	s.Check()
}

// A hub that is killed while a restore to a source runs costs it nothing.
func TestHubKilledWhileItIsRestoredToTheSource(t *testing.T) {
	t.Parallel()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 24, Files: 20})
	done := s.Acknowledged(s.Backup().ID, 3*time.Minute)
	credential := s.API.CreateCredential(t, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM))
	link := testenv.SlowLink(t, s.SSH.Addr(), 0)
	source := s.API.CreateSource(t, s.Tenant.ID, credential, link.Config(s.SSH, s.Path))
	must(t, os.RemoveAll(s.Path))
	link.Stall()
	job := s.API.StartRestore(t, done.SnapshotID, map[string]any{"destination": "source", "target_source_id": source})
	// Until then the worker may not have heard that the job is its own.
	testenv.Eventually(t, 3*time.Minute, link.Used, "the restore does not begin")
	s.Hubs[0].Kill()
	link.Resume()
	testenv.Eventually(t, 3*time.Minute, func() bool {
		_, err := os.Lstat(s.Path)
		return err == nil
	}, "nothing is restored while the hub is away")
	s.Hubs[0].Start()
	if j := s.MustComplete(job.ID, 2*time.Minute); j.Attempt != 1 {
		t.Errorf("the hub's absence cost an attempt: %s", j)
	}
	s.Want.MustEqual(t, system.Scan(t, s.Path))
	leftovers(t, s.SSH.Root)
	s.Check()
}
