package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
)

// F16: the source changes while it is read. Either the snapshot is exactly
// what a patient reader could have seen, or it is not called completed.
//
// Each case works on "target", which comes late in the order: the worker is
// stopped when the first frame, all of it from the large file before, is
// through. Over sftp the target is large, and has been begun by then; over ssh it is
// as small as what tar brings, and tar has not come to it: what lies before it is more
// than is read ahead.
//
//nolint:tparallel // the cases share one clock of failpoints: one worker at a time
func TestSourceChangesWhileRead(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F16, source changes while read")
	lab := system.Start(t, system.Options{Workers: -1})
	first := random(18, 24<<20)
	for _, transport := range system.Transports() {
		before := random(16, map[string]int{system.SFTP: 8 << 20, system.SSH: 512 << 10}[transport])
		for _, c := range sourceChanges(before) {
			t.Run(transport+", "+c.name, func(t *testing.T) {
				s := lab.NewScene(t, system.SceneOptions{Empty: true, Type: transport})
				outside := filepath.Join(s.SSH.Root, "outside")
				target := filepath.Join(s.Path, "target")
				must(t, os.MkdirAll(outside, 0o755), os.MkdirAll(s.Path, 0o755),
					os.WriteFile(filepath.Join(outside, "inner"), []byte("OUTSIDE"), 0o600),
					os.WriteFile(filepath.Join(s.Path, "a-first"), first, 0o600),
					c.prepare(target))
				if transport == system.SSH {
					for i := range 20 { // MiB
						must(t, os.WriteFile(filepath.Join(s.Path, fmt.Sprintf("b-%02d", i)), first[i<<20:(i+1)<<20], 0o600))
					}
				}
				w := s.AddWorker()
				w.Start("backup.frame=stop")
				w.WaitOnline()
				job := s.Backup()
				w.WaitFrozen(s.Lab, 3*time.Minute)
				must(t, c.change(target, outside))
				start := time.Now()
				w.Thaw(s.Lab)
				c.judge(t, changed{s: s, job: s.WaitJob(job.ID, 3*time.Minute), target: target})
				trials.Add(time.Since(start), 0)
				s.CheckWay(job.ID)
				w.Terminate(t, 30*time.Second)
				s.CheckRecords()
			})
		}
	}
}

// sourceChange is one way in which a target changes.
type sourceChange struct {
	name    string
	prepare func(target string) error
	change  func(target, outside string) error
	judge   func(t *testing.T, r changed)
}

// sourceChanges are all of them, to a target with that content.
func sourceChanges(before []byte) []sourceChange {
	size := len(before)
	plain := func(target string) error { return os.WriteFile(target, before, 0o600) }
	return []sourceChange{
		{
			name: "file grows", prepare: plain,
			change: func(target, _ string) error { return appendTo(target, random(17, size/8)) },
			judge: func(t *testing.T, r changed) {
				t.Helper()
				got := r.completed(t)
				if !bytes.Equal(got[:min(len(got), size)], before) {
					t.Errorf("the stored %d bytes are not what stood there", len(got))
				}
				if len(got) == size && r.manifest(t).ChangedWhileRead == 0 {
					t.Error("the manifest does not tell that the file changed")
				}
				if r.s.Type == system.SSH && len(got) == size {
					t.Error("the file was read before it changed: this proves nothing")
				}
			},
		},
		{
			name: "file shrinks", prepare: plain,
			change: func(target, _ string) error { return os.Truncate(target, int64(size/2)) },
			judge: func(t *testing.T, r changed) {
				t.Helper()
				if r.job.Status == "completed" {
					if got := r.completed(t); !bytes.Equal(got, before[:size/2]) {
						t.Errorf("completed with %d invented or missing bytes", len(got)-size/2)
					}
					return
				}
				r.notGreen(t, "source_changed", "target")
			},
		},
		{
			name: "file vanishes", prepare: plain,
			change: func(target, _ string) error { return os.Remove(target) },
			judge: func(t *testing.T, r changed) {
				t.Helper()
				if r.job.Status == "completed" {
					if _, err := os.Lstat(r.restored(t)); err == nil && !bytes.Equal(r.completed(t), before) {
						t.Error("completed with something else in the place of a file that vanished")
					}
					return
				}
				r.notGreen(t, "", "target")
			},
		},
		{
			name: "directory becomes a link",
			prepare: func(target string) error {
				if err := os.Mkdir(target, 0o755); err != nil {
					return err
				}
				return plain(filepath.Join(target, "inner"))
			},
			change: func(target, outside string) error {
				if err := os.RemoveAll(target); err != nil {
					return err
				}
				return os.Symlink(outside, target)
			},
			judge: func(t *testing.T, r changed) {
				t.Helper()
				if got, err := os.ReadFile(filepath.Join(r.restored(t), "inner")); err == nil && bytes.Contains(got, []byte("OUTSIDE")) {
					t.Error("the reader was led out of the source by a link")
				}
				if r.job.Status != "completed" {
					r.notGreen(t, "", "target")
				}
			},
		},
	}
}

// changed is the outcome of a backup of a source that changed.
type changed struct {
	s      *system.Scene
	job    system.Job
	target string
}

// restored is where stock tools put the target, if they put it anywhere.
func (r changed) restored(t *testing.T) string {
	t.Helper()
	if r.job.SnapshotID == "" {
		return filepath.Join(t.TempDir(), "nothing")
	}
	snap := r.s.API.Snapshot(t, r.job.SnapshotID)
	return filepath.Join(system.StockRestore(t, filepath.Join(snap.LocalPath, system.Artifact), r.s.Identity), r.target)
}

func (r changed) completed(t *testing.T) []byte {
	t.Helper()
	if r.job.Status != "completed" {
		t.Fatalf("should have completed: %s", r.job)
	}
	b, err := os.ReadFile(r.restored(t))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (r changed) manifest(t *testing.T) (content struct {
	Files            int64 `json:"files"`
	ChangedWhileRead int64 `json:"changed_while_read"`
}) {
	t.Helper()
	var m struct {
		Content *struct {
			Files            int64 `json:"files"`
			ChangedWhileRead int64 `json:"changed_while_read"`
		} `json:"content"`
	}
	must(t, json.Unmarshal(r.s.API.Snapshot(t, r.job.SnapshotID).Manifest, &m))
	return *m.Content
}

// notGreen: failed with the code, and the path is named; a snapshot that there
// is says that it is partial.
func (r changed) notGreen(t *testing.T, code, path string) {
	t.Helper()
	if r.job.Status != "failed" || r.job.Error == nil || (code != "" && r.job.Error.Code != code) {
		t.Errorf("want failed with %q: %s", code, r.job)
	}
	if !strings.Contains(string(r.job.Result), path) && (r.job.Error == nil || !strings.Contains(r.job.Error.Message, path)) {
		t.Errorf("%q is not named: result %s, %s", path, r.job.Result, r.job)
	}
	if r.job.SnapshotID != "" {
		if snap := r.s.API.Snapshot(t, r.job.SnapshotID); snap.Status != "partial" {
			t.Errorf("the snapshot says %q, not partial", snap.Status)
		}
	}
}

func random(seed uint64, n int) []byte {
	rng := rand.NewChaCha8([32]byte{byte(seed)})
	b := make([]byte, n)
	_, _ = rng.Read(b) // never fails
	return b
}

func appendTo(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Close()
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	for _, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
