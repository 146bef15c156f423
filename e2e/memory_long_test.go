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

const (
	memoryLimit = 256 << 20
	large       = 4 << 30
)

// The worker's memory grows neither with the number of files nor with their
// size. The peak is read from /proc after the backup, of the released binary.
//
//nolint:tparallel // one at a time: each measures the machine alone
func TestMemory(t *testing.T) {
	t.Parallel()
	cases := map[string]func(t *testing.T, dir string) string{ // gives the source's path
		"usr share": func(t *testing.T, _ string) string { t.Helper(); return "/usr/share" },
		"sparse file of 4 GiB": func(t *testing.T, dir string) string {
			t.Helper()
			f := create(t, filepath.Join(dir, "sparse"))
			must(t, f.Truncate(large), f.Close())
			return dir
		},
		"random file of 4 GiB": func(t *testing.T, dir string) string {
			t.Helper()
			f := create(t, filepath.Join(dir, "random"))
			block := make([]byte, 64<<20)
			_, err := rand.Read(block)
			must(t, err)
			for range large / len(block) {
				_, err := f.Write(block)
				must(t, err)
			}
			must(t, f.Close())
			return dir
		},
		"a million tiny files": func(t *testing.T, dir string) string {
			t.Helper()
			for i := range 1_000_000 {
				f := create(t, filepath.Join(dir, fmt.Sprintf("file-%07d", i)))
				_, err := fmt.Fprintln(f, i)
				must(t, err, f.Close())
			}
			return dir
		},
		"a million empty files": func(t *testing.T, dir string) string {
			t.Helper()
			for i := range 1_000_000 {
				must(t, create(t, filepath.Join(dir, fmt.Sprintf("file-%07d", i))).Close())
			}
			return dir
		},
	}
	for _, c := range [][2]string{
		{system.SFTP, "usr share"},
		{system.SFTP, "sparse file of 4 GiB"},
		{system.SFTP, "random file of 4 GiB"},
		{system.SFTP, "a million empty files"},
		{system.SSH, "usr share"},
		{system.SSH, "a million tiny files"},
	} {
		transport, name := c[0], c[1]
		t.Run(transport+", "+name, func(t *testing.T) {
			l := system.Start(t, system.Options{Workers: -1, Flavor: system.Released})
			s := l.NewScene(t, system.SceneOptions{Empty: true, Type: transport})
			must(t, os.Mkdir(s.Path, 0o755))
			path := cases[name](t, s.Path)
			source := s.API.CreateSourceOf(t, transport, s.Tenant.ID, s.API.CreateCredential(t, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM)), s.SSH.Config(path))
			w := s.AddWorker()
			w.Start()
			start := time.Now()
			done := s.MustComplete(s.API.StartBackup(t, source).ID, 30*time.Minute)
			peak := w.PeakMemory(t)
			s.CheckWay(done.ID)
			t.Logf("%s: %v, peak memory %d MiB", name, time.Since(start).Round(time.Second), peak>>20)
			if peak > memoryLimit {
				t.Errorf("the worker needed %d MiB", peak>>20)
			}
			snap := s.API.Snapshot(t, done.SnapshotID)
			system.StockMatches(t, filepath.Join(snap.LocalPath, system.Artifact), s.Identity, path)
		})
	}
}

func create(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	return f
}
