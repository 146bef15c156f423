package e2e

import (
	"net"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"xvault/e2e/system"
	"xvault/internal/testenv"
)

// A real tree that everyone who can run these tests has: Go's own. This part
// of it is small; the long tests take all of it.
func TestRealTree(t *testing.T) {
	t.Parallel()
	s := realTree(t, filepath.Join(goroot(t), "src", "crypto"), 0)
	s.AddWorker().Start()
	s.Acknowledged(s.Backup().ID, 2*time.Minute)
	s.Check()
}

// The same while the worker is killed and restarted three times, whenever it
// has written something.
func TestRealTreeWorkerKilledThreeTimes(t *testing.T) {
	t.Parallel()
	// Over a slow line, so that it takes long enough to be killed in.
	killedThreeTimes(t, realTree(t, filepath.Join(goroot(t), "src", "crypto"), 50*time.Millisecond))
}

// realTree is a scene with a source that stands there anyway, behind a line that
// delays each direction.
func realTree(t *testing.T, path string, delay time.Duration) *system.Scene {
	t.Helper()
	s := system.Start(t, system.Options{Workers: -1, Flavor: system.Released}).NewScene(t, system.SceneOptions{Empty: true})
	s.Path, s.Want = path, system.Scan(t, path)
	credential := s.API.CreateCredential(t, s.Tenant.ID, system.PrivateKey(s.SSH.ClientKeyPEM))
	config := s.SSH.Config(path)
	if delay > 0 {
		link := testenv.SlowLink(t, net.JoinHostPort(s.SSH.Host(), strconv.Itoa(s.SSH.Port())), delay)
		config["host"], config["port"] = link.Host, link.Port
	}
	s.SourceID = s.API.CreateSource(t, s.Tenant.ID, credential, config)
	return s
}

func killedThreeTimes(t *testing.T, s *system.Scene) {
	t.Helper()
	trials := system.NewTrials(t, "worker killed and restarted during a large backup")
	w := s.AddWorker()
	w.Start()
	job := s.Backup()
	for i := range 3 {
		wanted := int64(i) * 200_000 // further along each time
		testenv.Eventually(t, 2*time.Minute, func() bool {
			return system.Bytes(system.OrphanFiles(t, w.Storage)) > wanted || s.API.Job(t, job.ID).Ended()
		}, "the worker writes nothing")
		w.Kill()
		fault := time.Now()
		orphaned := s.Orphaned(t, w.Storage)
		w.Start()
		again := s.WaitJobUntil(job.ID, 3*time.Minute, "running again", func(j system.Job) bool {
			return j.Ended() || j.Status == "running" && j.Attempt == i+2
		})
		if again.Ended() {
			t.Fatalf("it ended before it was killed three times: %s", again)
		}
		trials.Add(time.Since(fault), orphaned)
	}
	done := s.Acknowledged(job.ID, 5*time.Minute)
	if done.Attempt != 4 {
		t.Errorf("want the fourth attempt to win: %s", done)
	}
	s.Sweep(w)
	s.Check()
}

func goroot(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	must(t, err)
	return strings.TrimSpace(string(out))
}
