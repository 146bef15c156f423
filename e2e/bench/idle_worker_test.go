package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"xvault/e2e/system"
	"xvault/internal/job"
)

// idleWorker speaks the whole protocol of a worker and does no work.
type idleWorker struct {
	id        string
	hub       *system.Client
	server    *asynq.Server
	completed atomic.Int64
	quit      chan struct{}
	beating   sync.WaitGroup
}

func startIdleWorker(b *testing.B, l *system.Lab, id string) *idleWorker {
	b.Helper()
	w := &idleWorker{id: id, hub: keepAlive(l.API.As(l.JoinToken)), quit: make(chan struct{})}
	w.register(b)
	opt, err := asynq.ParseRedisURI(l.Redis.URL)
	if err != nil {
		b.Fatal(err)
	}
	w.server = asynq.NewServer(opt, asynq.Config{
		Concurrency: slots, Queues: map[string]int{job.QueueBackup: 1}, TaskCheckInterval: 50 * time.Millisecond, LogLevel: asynq.ErrorLevel,
	})
	if err := w.server.Start(asynq.HandlerFunc(w.handle)); err != nil {
		b.Fatal(err)
	}
	w.beating.Go(w.beat)
	return w
}

func (w *idleWorker) stop(b *testing.B) {
	b.Helper()
	w.server.Shutdown()
	close(w.quit)
	w.beating.Wait()
	w.hub.HTTP.CloseIdleConnections()
}

func (w *idleWorker) register(b *testing.B) {
	b.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		b.Fatal(err)
	}
	var answer job.RegisterResponse
	err = w.call("POST", "/internal/workers/register", job.RegisterRequest{
		WorkerID: w.id, Name: w.id, Version: "bench", AgeRecipient: identity.Recipient().String(), Slots: slots,
		Capabilities:    job.Capabilities{SourceTypes: []string{"sftp"}, JobTypes: []job.Kind{job.Backup}, Storage: []string{"local_fs"}},
		StorageBasePath: "/nowhere", StorageID: uuid.New(),
	}, &answer)
	if err != nil {
		b.Fatal(err)
	}
	w.hub.Key = answer.Token
	w.heartbeat()
}

func (w *idleWorker) beat() {
	tick := time.NewTicker(job.HeartbeatEvery)
	defer tick.Stop()
	for {
		select {
		case <-w.quit:
			return
		case <-tick.C:
			w.heartbeat()
		}
	}
}

func (w *idleWorker) heartbeat() {
	_ = w.call("POST", "/internal/workers/heartbeat", job.Heartbeat{Status: "online", Slots: slots, StorageState: job.StorageOK}, nil)
}

// handle does what a worker does with a delivery, but for the backup.
func (w *idleWorker) handle(_ context.Context, task *asynq.Task) error {
	var d job.Delivery
	if err := json.Unmarshal(task.Payload(), &d); err != nil {
		return err
	}
	var c job.Claim
	if err := w.call("POST", "/internal/jobs/claim", job.ClaimRequest{JobID: d.JobID, ClaimID: uuid.New()}, &c); err != nil {
		return err
	}
	base := "/internal/jobs/" + d.JobID.String()
	if err := w.call("POST", base+"/finalize", job.AttemptRequest{Attempt: c.Attempt}, nil); err != nil {
		return err
	}
	if err := w.call("POST", base+"/complete", w.completion(c), nil); err != nil {
		return err
	}
	w.completed.Add(1)
	return nil
}

func (w *idleWorker) completion(c job.Claim) job.CompleteRequest {
	hash := strings.Repeat("0", 64)
	path := fmt.Sprintf("/nowhere/tenants/%s/sources/%s/snapshots/%s", c.TenantID, c.Source.ID, c.SnapshotID)
	manifest, err := json.Marshal(map[string]any{
		"format": "xvault/1", "tenant_id": c.TenantID, "source_id": c.Source.ID, "snapshot_id": c.SnapshotID, "job_id": c.JobID, "worker_id": w.id,
		"created_at": c.StartedAt, "artifact": map[string]any{"name": "backup.tar.zst.enc", "size_bytes": 1000, "sha256": hash},
		"content":    map[string]any{"files": 10, "dirs": 1, "links": 0, "bytes": 100, "skipped": 0, "changed_while_read": 0, "errors": 0},
		"encryption": map[string]any{"algorithm": "age-x25519", "recipients": []string{c.TenantKey.PublicKey}, "key_id": c.TenantKey.ID},
	})
	if err != nil {
		panic(err)
	}
	return job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed, Snapshot: &job.SnapshotRecord{
		ID: c.SnapshotID, Status: "completed", SizeBytes: 1000, SHA256: hash, StartedAt: c.StartedAt, DurationMS: 1,
		Manifest: manifest, KeyID: c.TenantKey.ID, Recipient: c.TenantKey.PublicKey, StorageBackend: "local_fs", LocalPath: path,
	}}
}

func (w *idleWorker) call(method, path string, body, answer any) error {
	r, err := w.hub.Try(method, path, body)
	if err != nil {
		return err
	}
	if r.Status != http.StatusOK {
		return fmt.Errorf("%s: %s", path, r)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(r.Body, answer)
}

// keepAlive is a client that keeps its connections, as programs do.
func keepAlive(c *system.Client) *system.Client {
	kept := c.As(c.Key)
	kept.HTTP = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: slots}}
	return kept
}
