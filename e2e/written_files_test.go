package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
)

var (
	openedForWriting = regexp.MustCompile(`open(?:at)?\(.*O_(?:WRONLY|RDWR|CREAT).*= \d+<([^>]*)>`)
	artifactFiles    = []string{system.Artifact, "manifest.json", "meta.json"}
)

// The kernel is asked what a worker opens for writing during a backup: the
// three files of a snapshot, its own state, and nothing else.
func TestFilesThatAWorkerWrites(t *testing.T) {
	t.Parallel()
	strace, err := exec.LookPath("strace")
	must(t, err)
	s := system.Start(t, system.Options{Workers: -1, Flavor: system.Released}).NewScene(t, system.SceneOptions{Seed: 23, Files: 30})
	w := s.AddWorker()
	trace := filepath.Join(s.Dir, "trace")
	w.Under = []string{strace, "-D", "-f", "-y", "-qq", "-e", "trace=open,openat,creat", "-e", "signal=none", "-o", trace}
	w.Start()
	s.Acknowledged(s.Backup().ID, 2*time.Minute)
	w.Terminate(t, 30*time.Second)
	b, err := os.ReadFile(trace)
	must(t, err)
	var artifacts int
	for _, m := range openedForWriting.FindAllStringSubmatch(string(b), -1) {
		path := strings.TrimSuffix(m[1], " (deleted)")
		switch {
		case strings.HasPrefix(path, w.State+"/"), strings.HasPrefix(path, "/dev/"), strings.HasPrefix(path, "/proc/self/"):
		case strings.HasPrefix(path, w.Storage+"/") && slices.Contains(artifactFiles, filepath.Base(path)):
			artifacts++
		case filepath.Dir(path) == w.Storage && strings.HasPrefix(filepath.Base(path), ".xvault-storage"):
		default:
			t.Errorf("the worker wrote to %s", path)
		}
	}
	if artifacts < 3 {
		t.Errorf("only %d files of the artifact were seen being written: this proves nothing", artifacts)
	}
	s.Check()
}
