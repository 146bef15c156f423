package system

import (
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/internal/testenv"
)

// Options says what a Lab starts.
type Options struct {
	Hubs    int // 0 means 1
	Workers int // 0 means 1; -1 means none
	// Concurrency is each worker's WORKER_CONCURRENCY; 0 means 4.
	Concurrency int
	Flavor      Flavor // "" means Failpoints, which is race-built under -race
	// Postgres is a server of the test's own, for tests that stop it; nil means
	// a database of the shared one.
	Postgres *testenv.PostgresServer
	// HubEnv and WorkerEnv are added to the processes' environments.
	HubEnv, WorkerEnv []string
	// SecretFiles hands every secret over by its _FILE twin.
	SecretFiles bool
}

// Lab is a whole xVault of one test's own.
type Lab struct {
	Catalog
	Dir     string // of logs, storages, states
	Binary  string
	Redis   *testenv.RedisServer
	Hubs    []*Hub
	Workers []*Worker
	API     *Client // the operator's, at the first hub
	Ledger  *Ledger

	KEK, OperatorKey, JoinToken string
	opts                        Options
	t                           testing.TB
}

// Start brings up a Lab and waits until every part says that it is ready.
func Start(t testing.TB, o Options) *Lab {
	t.Helper()
	l := New(t, o)
	for range max(1, o.Hubs) {
		l.AddHub().Start()
	}
	l.API = NewClient(l.Hubs[0].URL, l.OperatorKey)
	if o.Workers == 0 {
		o.Workers = 1
	}
	for range max(0, o.Workers) {
		l.AddWorker().Start()
	}
	for _, w := range l.Workers {
		w.WaitOnline()
	}
	return l
}

// New makes a Lab in which nothing of xVault runs yet.
func New(t testing.TB, o Options) *Lab {
	t.Helper()
	if o.Flavor == "" {
		o.Flavor = Failpoints
	}
	l := &Lab{Dir: t.TempDir(), opts: o, t: t, Binary: Binary(t, o.Flavor)}
	// A marker in each secret makes it easy to search for.
	l.KEK = "k1:" + base64.StdEncoding.EncodeToString([]byte(rand.Text() + rand.Text())[:32])
	l.OperatorKey = "canary-operator-key-" + rand.Text()
	l.JoinToken = "canary-join-token-" + rand.Text()
	l.Ledger = &Ledger{}
	if o.Postgres != nil {
		l.URL = o.Postgres.Database("xvault")
	} else {
		l.URL = testenv.Catalog(t)
	}
	l.Redis = testenv.Redis(t)
	t.Cleanup(l.report)
	return l
}

// report judges the logs once everything has stopped, and shows them when the
// test failed.
func (l *Lab) report() {
	logs, err := filepath.Glob(filepath.Join(l.Dir, "*.log"))
	if err != nil {
		l.t.Error(err)
	}
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			l.t.Error(err)
			continue
		}
		for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:", "http: panic serving"} {
			if i := strings.Index(string(b), bad); i >= 0 {
				l.t.Errorf("%s: %s", filepath.Base(path), b[i:min(len(b), i+3000)])
			}
		}
	}
	if !l.t.Failed() {
		return
	}
	for _, path := range logs {
		p := Process{LogPath: path}
		l.t.Logf("--- end of %s\n%s", filepath.Base(path), p.Tail(60))
	}
}

// plainEnv is what every child gets: nothing of this process's own settings.
func (l *Lab) plainEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + l.Dir, "TMPDIR=" + l.Dir, "TZ=UTC",
		// A race ends the process at once; at an orderly end the detector would wait
		// a second for more.
		"GORACE=halt_on_error=1 atexit_sleep_ms=0",
	}
}

// secretEnv hands a secret over, by value or by file.
func (l *Lab) secretEnv(name, value string) string {
	if !l.opts.SecretFiles {
		return name + "=" + value
	}
	path := filepath.Join(l.Dir, "secret-"+strings.ToLower(name))
	if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return name + "_FILE=" + path
}

// Spawn starts a command of the binary with the given settings and failpoints,
// and gives what tells which of them were reached.
func (l *Lab) Spawn(name string, env, specs []string, args ...string) (*Process, func() []string) {
	l.t.Helper()
	name += "-" + rand.Text()[:6]
	f := failpoints{log: filepath.Join(l.Dir, name+".failpoints")}
	env = slices.Concat(l.plainEnv(), env, f.env(specs))
	return Spawn(l.t, name, l.Dir, env, append([]string{l.Binary}, args...)...), f.hits
}

// Run runs a command of the binary to its end and gives its output; the exit
// code must be want.
func (l *Lab) Run(env []string, want int, args ...string) string {
	l.t.Helper()
	p, _ := l.Spawn(args[0], env, nil, args...)
	if code := p.WaitExit(l.t, 2*time.Minute); code != want {
		l.t.Fatalf("xvault %s ended with %d, want %d:\n%s", strings.Join(args, " "), code, want, p.Log())
	}
	return string(p.Log())
}

// Storages are the workers' storage folders.
func (l *Lab) Storages() []string {
	var dirs []string
	for _, w := range l.Workers {
		dirs = append(dirs, w.Storage)
	}
	return dirs
}

// CPU adds up the processor time of hubs and workers.
func (l *Lab) CPU(t testing.TB) time.Duration {
	t.Helper()
	var sum time.Duration
	for _, h := range l.Hubs {
		sum += h.Process.CPU(t)
	}
	for _, w := range l.Workers {
		sum += w.Process.CPU(t)
	}
	return sum
}
