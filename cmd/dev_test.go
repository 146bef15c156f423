package cmd

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"xvault/internal/testenv"
)

// screen is what a command has printed so far.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

var devExport = regexp.MustCompile(`XVAULT_SERVER=(\S+) XVAULT_KEY_FILE=(\S+)`)

// startDev runs `xvault dev` and gives a desk at its hub.
func startDev(t *testing.T, stateDir string) (d *desk, stop func()) {
	t.Helper()
	tree := testenv.Dir(t)
	if err := os.WriteFile(filepath.Join(tree, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	var out screen
	p := startPart(t.Context(), "dev", func(ctx context.Context) error {
		root := NewRoot()
		root.SetOut(&out)
		root.SetErr(&out)
		root.SetArgs([]string{"dev", "--state-dir", stateDir, "--tree", tree, "--listen", "127.0.0.1:0"})
		return root.ExecuteContext(ctx)
	})
	stop = func() {
		if err := p.stop(); err != nil {
			t.Errorf("dev ended: %v\n%s", err, out.String())
		}
	}
	testenv.Eventually(t, 2*time.Minute, func() bool {
		select {
		case <-p.done:
			t.Fatalf("dev ended: %v\n%s", p.err, out.String())
		default:
		}
		return strings.Contains(out.String(), "Ctrl-C")
	}, "dev is not up")
	export := devExport.FindStringSubmatch(out.String())
	if export == nil {
		t.Fatalf("dev does not say how to reach it:\n%s", out.String())
	}
	key, err := os.ReadFile(export[2])
	if err != nil {
		t.Fatal(err)
	}
	return &desk{t: t, server: export[1], key: strings.TrimSpace(string(key))}, stop
}

func TestDevContinuesWhereItEnded(t *testing.T) {
	// Not parallel: it sets the Redis client's one logger.
	dir := filepath.Join(testenv.Dir(t), "state")
	d, stop := startDev(t, dir)
	d.ok("job", "run", demoName, "--wait")
	stop()
	d, stop = startDev(t, dir)
	defer stop()
	d.ok("job", "run", demoName, "--wait") // the SSH server has other keys and another port now
	if out := d.ok("snapshot", "ls"); strings.Count(out, "completed") != 2 {
		t.Errorf("snapshots after two runs:\n%s", out)
	}
	if out := d.ok("worker", "ls"); strings.Count(out, "online") != 1 {
		t.Errorf("workers after two runs:\n%s", out)
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil || !strings.Contains(string(status), "VmHWM") {
		t.Errorf("peak memory cannot be told: %v", err)
	}
}
