//go:build long

package e2e

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// F1, of a drill: the worker is killed while the scratch server runs. Nothing of that
// goes on, the next start removes what it left, and the next attempt comes to its
// verdict.
func TestWorkerKilledWhileItDrills(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F1, kill -9 the worker while it drills")
	s := newPostgresScene(t)
	snap, _ := s.backup(s.source)
	w := s.Workers[0]
	for _, step := range []string{"drill.begin", "drill.loading", "drill.counting", "drill.done"} {
		began := time.Now()
		w.Terminate(t, 30*time.Second)
		w.Start(step + "=kill")
		w.WaitOnline()
		online := time.Now()
		j := system.Post[system.Job](t, s.API, "/api/v1/snapshots/"+snap.ID+"/verify", map[string]any{"kind": "drill"})
		select {
		case <-w.Done():
		case <-time.After(3 * time.Minute):
			t.Fatalf("the worker was not killed at %s; steps reached: %v", step, w.Hits())
		}
		fault := time.Now()
		if hits := w.Hits(); !slices.Contains(hits, step) {
			t.Fatalf("%s was not reached, only %v", step, hits)
		}
		testenv.Eventually(t, 2*time.Minute, func() bool { return len(inRooms(t, w.Temp)) == 0 }, "processes go on: %v", inRooms(t, w.Temp))
		gone := time.Now()
		w.Start()
		done := s.MustComplete(j.ID, 2*time.Minute)
		t.Logf("killed at %s: %v to start the worker, %v to the step, %v until all had gone, completed %v after that in attempt %d",
			step, online.Sub(began).Round(time.Millisecond), fault.Sub(online).Round(time.Millisecond), gone.Sub(fault).Round(time.Millisecond), time.Since(gone).Round(time.Millisecond), done.Attempt)
		trials.Add(time.Since(fault), 0)
		nothingLeft(t, s.Lab)
	}
	s.CheckRecords()
}

// inRooms lists processes that have a room below a folder open.
func inRooms(t *testing.T, temp string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/fd/3")
	must(t, err)
	for _, file := range files {
		if target, err := os.Readlink(file); err == nil && strings.HasPrefix(target, temp+"/") {
			found = append(found, file)
		}
	}
	return found
}
