package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// lab is one worker with a hub that does what a test says, and a real Redis.
type lab struct {
	t      *testing.T
	hub    *protocolHub
	redis  *testenv.RedisServer
	source *memorySource
	cfg    Config
	log    *logBuffer
	client *asynq.Client
	seq    int64

	worker *Worker
	stop   context.CancelFunc
	ended  chan error
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, hub: newProtocolHub(t), redis: testenv.Redis(t), source: &memorySource{items: smallTree()}, log: &logBuffer{}}
	dir := t.TempDir()
	l.cfg = Config{
		ID: "w1", Version: "test", HubURL: l.hub.server.URL, JoinToken: secret.New(joinToken), RedisURL: secret.New(l.redis.URL),
		StorageBase: filepath.Join(dir, "storage"), StateDir: filepath.Join(dir, "state"), TempDir: filepath.Join(dir, "temp"),
		SourceTypes: connectors.NewRegistry(l.source.kind()), Dial: connectors.NewDialer(connectors.DialerConfig{}),
		DrainTimeout: 10 * time.Second, ReconcileEvery: time.Hour,
		Log: slog.New(slog.NewTextHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	opt, err := asynq.ParseRedisURI(l.redis.URL)
	if err != nil {
		t.Fatal(err)
	}
	l.client = asynq.NewClient(opt)
	t.Cleanup(func() {
		if err := l.client.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log of the worker:\n%s", l.log)
		}
	})
	return l
}

// start starts the worker; it is stopped at the latest with the test.
func (l *lab) start() {
	l.t.Helper()
	w, err := New(l.t.Context(), l.cfg)
	if err != nil {
		l.t.Fatal(err)
	}
	w.timing.renewFirst, w.timing.renewEvery, w.timing.retryRenew = 20*time.Millisecond, 50*time.Millisecond, 20*time.Millisecond
	w.timing.retryMin, w.timing.retryMax = 10*time.Millisecond, 50*time.Millisecond
	l.worker, l.ended = w, make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	ended := l.ended
	go func() { ended <- w.Run(ctx) }()
	l.t.Cleanup(func() {
		stop()
		select {
		case err := <-ended:
			l.t.Logf("the worker ended: %v", err) // tests that care look themselves
		case <-time.After(time.Minute):
			l.t.Error("the worker does not stop")
		}
	})
}

// end waits for Run and gives what it returned.
func (l *lab) end() error {
	l.t.Helper()
	select {
	case err := <-l.ended:
		l.ended <- err // for the cleanup
		return err
	case <-time.After(2 * time.Minute):
		l.t.Fatal("the worker does not end")
		return nil
	}
}

// deliver puts a delivery of the job into the queue, as a hub does.
func (l *lab) deliver(c *job.Claim) {
	l.t.Helper()
	l.seq++
	d := job.Delivery{JobID: c.JobID, Seq: l.seq}
	payload, err := json.Marshal(d)
	if err != nil {
		l.t.Fatal(err)
	}
	_, err = l.client.Enqueue(asynq.NewTask(job.TaskType, payload), asynq.Queue(job.QueueBackup), asynq.TaskID(d.TaskID()),
		asynq.MaxRetry(1<<30), asynq.Timeout(time.Hour))
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) waitCalls(name string, n int) []call {
	l.t.Helper()
	testenv.Eventually(l.t, 2*time.Minute, func() bool { return len(l.hub.got(name)) >= n }, "%d calls of %s", n, name)
	return l.hub.got(name)
}

// completion waits for the job's report.
func (l *lab) completion() job.CompleteRequest {
	l.t.Helper()
	return decode[job.CompleteRequest](l.t, l.waitCalls("complete", 1)[0].body)
}

func (l *lab) snapshotDir(c *job.Claim) string {
	return filepath.Join(l.cfg.StorageBase, "tenants", c.TenantID.String(), "sources", c.Source.ID.String(), "snapshots", c.SnapshotID.String())
}

func (l *lab) stagingIsEmpty() {
	l.t.Helper()
	left, err := os.ReadDir(filepath.Join(l.cfg.StorageBase, "staging"))
	if err != nil || len(left) > 0 {
		l.t.Errorf("staging holds %v, %v", left, err)
	}
}

func (l *lab) exists(path string) bool {
	l.t.Helper()
	_, err := os.Stat(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		l.t.Fatal(err)
	}
	return err == nil
}

// logBuffer collects log lines from many goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
