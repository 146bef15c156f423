//go:build long

package e2e

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"xvault/e2e/system"
)

// The worker's memory grows neither with the number nor with the size of the files
// that it writes back. The peak is read from /proc after the restore, of the
// released binary.
//
//nolint:tparallel // one at a time: each measures the machine alone
func TestMemoryOfARestoreToTheSource(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(t *testing.T, dir string){
		"a hundred thousand files": func(t *testing.T, dir string) {
			t.Helper()
			for i := range 100_000 {
				sub := filepath.Join(dir, fmt.Sprintf("%03d", i%500))
				if i < 500 {
					must(t, os.Mkdir(sub, 0o755))
				}
				must(t, os.WriteFile(filepath.Join(sub, fmt.Sprint(i)), fmt.Append(nil, i), 0o644))
			}
		},
		"a random file of 1 GiB": func(t *testing.T, dir string) {
			t.Helper()
			f := create(t, filepath.Join(dir, "random"))
			block := make([]byte, 64<<20)
			_, err := rand.Read(block)
			must(t, err)
			for range 1 << 30 / len(block) {
				_, err := f.Write(block)
				must(t, err)
			}
			must(t, f.Close())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := system.Start(t, system.Options{Flavor: system.Released}).NewScene(t, system.SceneOptions{Empty: true})
			must(t, os.Mkdir(s.Path, 0o755))
			plant(t, s.Path)
			want := system.Scan(t, s.Path)
			done := s.MustComplete(s.Backup().ID, 30*time.Minute)
			must(t, os.RemoveAll(s.Path))
			w := s.Workers[0]
			w.Terminate(t, 30*time.Second) // for its peak counts from its start
			w.Start()
			w.WaitOnline()
			start := time.Now()
			s.MustComplete(s.API.StartRestore(t, done.SnapshotID, map[string]any{"destination": "source"}).ID, 30*time.Minute)
			peak := w.PeakMemory(t)
			t.Logf("%s: %v, peak memory %d MiB", name, time.Since(start).Round(time.Millisecond), peak>>20)
			if peak > memoryLimit {
				t.Errorf("the worker needed %d MiB", peak>>20)
			}
			want.MustEqual(t, system.Scan(t, s.Path))
		})
	}
}
