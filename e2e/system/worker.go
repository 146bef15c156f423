package system

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/internal/testenv"
)

// Worker is one worker process; it keeps its id, storage and state over
// restarts.
type Worker struct {
	*Process
	ID                   string
	Storage, State, Temp string
	HubURL               string // from the next start on
	RedisURL             string
	Under                []string // a program and its arguments that run the worker
	lab                  *Lab
	port                 int
	fails                failpoints
	before               string   // its incarnation at the last start, "" for none
	extra                []string // more of its environment, for the next start
}

// AddWorker prepares another worker, which knows the first hub.
func (l *Lab) AddWorker() *Worker {
	l.t.Helper()
	id := fmt.Sprintf("w%d-%s", len(l.Workers)+1, rand.Text()[:6])
	dir := filepath.Join(l.Dir, id)
	w := &Worker{
		ID: id, lab: l, port: FreePort(l.t), HubURL: l.Hubs[0].URL, RedisURL: l.Redis.URL,
		Storage: filepath.Join(dir, "storage"), State: filepath.Join(dir, "state"), Temp: filepath.Join(dir, "temp"),
		fails: failpoints{log: filepath.Join(l.Dir, id+".failpoints")},
	}
	for _, d := range []string{w.Storage, w.State, w.Temp} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			l.t.Fatal(err)
		}
	}
	l.Workers = append(l.Workers, w)
	return w
}

// Env is the environment that the worker runs with.
func (w *Worker) Env() []string {
	l := w.lab
	concurrency := l.opts.Concurrency
	if concurrency == 0 {
		concurrency = 4
	}
	env := append(l.plainEnv(),
		"WORKER_ID="+w.ID, "WORKER_STORAGE_BASE="+w.Storage, "WORKER_STATE_DIR="+w.State, "WORKER_TEMP_DIR="+w.Temp,
		fmt.Sprintf("WORKER_CONCURRENCY=%d", concurrency),
		fmt.Sprintf("WORKER_LISTEN_ADDR=127.0.0.1:%d", w.port),
		l.secretEnv("WORKER_JOIN_TOKEN", l.JoinToken),
		"REDIS_URL="+w.RedisURL, "HUB_BASE_URL="+w.HubURL,
	)
	return slices.Concat(env, l.opts.WorkerEnv, w.extra)
}

// Start starts the process; specs are failpoints, "name=action".
func (w *Worker) Start(specs ...string) {
	w.lab.t.Helper()
	w.before = w.incarnation()
	argv := slices.Concat(w.Under, []string{w.lab.Binary, "worker", "run"})
	w.Process = Spawn(w.lab.t, w.ID, w.lab.Dir, append(w.Env(), w.fails.env(specs)...), argv...)
}

// WaitOnline waits until the hub counts this very process as online.
func (w *Worker) WaitOnline() {
	w.lab.t.Helper()
	testenv.Eventually(w.lab.t, 3*time.Minute, func() bool { return w.incarnation() != w.before || !w.Alive() }, "%s does not register", w.ID)
	if !w.Alive() {
		w.lab.t.Fatalf("%s ended at start\n%s", w.ID, w.Tail(30))
	}
}

// incarnation counts the worker's registrations.
func (w *Worker) incarnation() string {
	rows, err := w.lab.rows(`SELECT incarnation FROM workers WHERE id = $1 AND status <> 'offline'`, w.ID)
	if err != nil || len(rows) == 0 {
		return "" // not known yet, or the catalog is away
	}
	return rows[0][0]
}

// Terminate ends a worker that is up in order.
func (w *Worker) Terminate(t testing.TB, timeout time.Duration) {
	t.Helper()
	w.WaitOnline() // earlier it would simply die of the signal
	w.Process.Terminate(t, timeout)
}

// Hits lists the failpoints that were reached, in order.
func (w *Worker) Hits() []string { return w.fails.hits() }

// Sweep lets the worker clean up as it does when the time of grace for
// snapshots that the hub does not know is over, and stops it again.
func (l *Lab) Sweep(w *Worker) {
	l.t.Helper()
	if w.Process != nil && w.Alive() {
		w.Terminate(l.t, 30*time.Second)
	}
	w.extra = []string{"WORKER_ORPHAN_GRACE=1ms", "WORKER_RECONCILE_EVERY=1s"}
	w.Start()
	w.extra = nil
	var left []string
	testenv.Eventually(l.t, 3*time.Minute, func() bool {
		left = l.leftOn(w)
		return len(left) == 0 || !w.Alive()
	}, "%s does not sweep its storage", w.ID)
	if len(left) > 0 {
		l.t.Errorf("%s ended before it had swept: %v", w.ID, left)
		return
	}
	w.Terminate(l.t, 30*time.Second)
}

// leftOn lists what is on a worker's storage without a row in the catalog.
func (l *Lab) leftOn(w *Worker) []string {
	l.t.Helper()
	var left []string
	for _, v := range l.CheckDisks(l.t, w.Storage) {
		if !strings.HasPrefix(v, rowWithoutFolder) { // that one may be on another worker's
			left = append(left, v)
		}
	}
	return left
}

// WaitHit waits until a failpoint was reached.
func (w *Worker) WaitHit(name string, timeout time.Duration) {
	w.lab.t.Helper()
	testenv.Eventually(w.lab.t, timeout, func() bool { return slices.Contains(w.Hits(), name) }, "%s never reached %s", w.ID, name)
}
