package system

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"xvault/internal/testenv"
)

// Hub is one hub process; it keeps its address over restarts.
type Hub struct {
	*Process
	URL string
	// KEK is its HUB_ENCRYPTION_KEK from the next start on.
	KEK   string
	name  string
	port  int
	lab   *Lab
	fails failpoints
}

// AddHub prepares another hub.
func (l *Lab) AddHub() *Hub {
	name := fmt.Sprintf("hub%d", len(l.Hubs)+1)
	port := FreePort(l.t)
	h := &Hub{
		URL: fmt.Sprintf("http://127.0.0.1:%d", port), KEK: l.KEK,
		name: name, port: port, lab: l, fails: failpoints{log: filepath.Join(l.Dir, name+".failpoints")},
	}
	l.Hubs = append(l.Hubs, h)
	return h
}

// Env is the environment that the hub runs with.
func (h *Hub) Env() []string {
	l := h.lab
	env := append(l.plainEnv(),
		l.secretEnv("DATABASE_URL", l.URL),
		"REDIS_URL="+l.Redis.URL,
		fmt.Sprintf("HUB_LISTEN_ADDR=127.0.0.1:%d", h.port),
		l.secretEnv("HUB_ENCRYPTION_KEK", h.KEK),
		l.secretEnv("HUB_OPERATOR_KEY", l.OperatorKey),
		l.secretEnv("HUB_WORKER_JOIN_TOKEN", l.JoinToken),
	)
	return append(env, l.opts.HubEnv...)
}

// Launch starts the process and does not wait; specs are failpoints,
// "name=action".
func (h *Hub) Launch(specs ...string) {
	h.lab.t.Helper()
	h.Process = Spawn(h.lab.t, h.name, h.lab.Dir, append(h.Env(), h.fails.env(specs)...), h.lab.Binary, "hub", "serve")
}

// Start starts the process and waits until it is ready.
func (h *Hub) Start(specs ...string) {
	h.lab.t.Helper()
	h.Launch(specs...)
	h.WaitReady()
}

// WaitReady polls /readyz.
func (h *Hub) WaitReady() {
	h.lab.t.Helper()
	c := NewClient(h.URL, "")
	last := "nothing"
	testenv.Eventually(h.lab.t, 3*time.Minute, func() bool {
		r, err := c.Try("GET", "/readyz", nil)
		if err != nil {
			last = err.Error()
		} else {
			last = r.String()
		}
		return (err == nil && r.Status == 200) || !h.Alive()
	}, "%s is not ready", h.name)
	if !h.Alive() {
		h.lab.t.Fatalf("%s ended at start; last answer of /readyz: %s\n%s", h.name, last, h.Tail(30))
	}
}

// Hits lists the failpoints that were reached, in order.
func (h *Hub) Hits() []string { return h.fails.hits() }

// failpoints is the switchboard of one process.
type failpoints struct{ log string }

func (f failpoints) env(specs []string) []string {
	if len(specs) == 0 {
		return nil
	}
	return []string{"XVAULT_FAILPOINTS=" + strings.Join(specs, ","), "XVAULT_FAILPOINTS_LOG=" + f.log}
}

func (f failpoints) hits() []string {
	b, err := os.ReadFile(f.log)
	if err != nil {
		return nil // none yet
	}
	return strings.Fields(string(b))
}

// stopped tells whether the process is stopped by SIGSTOP.
func stopped(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return strings.HasPrefix(rest, "T")
}

// Freeze stops the process as SIGSTOP does and waits until it stands still.
func (p *Process) Freeze(l *Lab) {
	p.Signal(l.t, syscall.SIGSTOP)
	p.WaitFrozen(l, 10*time.Second)
}

// WaitFrozen waits until the process stands still, by its own failpoint or ours.
func (p *Process) WaitFrozen(l *Lab, timeout time.Duration) {
	l.t.Helper()
	testenv.Eventually(l.t, timeout, func() bool { return stopped(p.PID()) || !p.Alive() }, "%s does not stop", p.Name)
	if !p.Alive() {
		l.t.Fatalf("%s ended instead of stopping\n%s", p.Name, p.Tail(40))
	}
}

// Thaw lets it go on.
func (p *Process) Thaw(l *Lab) { p.Signal(l.t, syscall.SIGCONT) }
