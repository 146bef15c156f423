package dispatch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"xvault/hub/dispatch"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func TestMain(m *testing.M) {
	redis.SetLogger(&logging.VoidLogger{}) // the tests take its servers away
	testenv.Main(m)
}

const soon = time.Minute // ample on a busy machine

// yard is a catalog and a Redis with what dispatching needs around it.
type yard struct {
	*catalog.DB
	t        testing.TB
	raw      *pgxpool.Pool
	redisURL string
	redis    *redis.Client
	inspect  *asynq.Inspector
}

func newYard(t testing.TB, catalogURL, redisURL string) *yard {
	t.Helper()
	db, err := catalog.Open(t.Context(), catalog.Config{URL: secret.New(catalogURL)})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := pgxpool.New(t.Context(), catalogURL)
	if err != nil {
		t.Fatal(err)
	}
	opts, err := redis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(opts)
	t.Cleanup(func() {
		_ = client.Close()
		raw.Close()
		db.Close()
	})
	y := &yard{DB: db, t: t, raw: raw, redisURL: redisURL, redis: client, inspect: asynq.NewInspectorFromRedisClient(client)}
	y.exec("INSERT INTO encryption_keys (key_id, kind, canary) VALUES ('k', 'raw', 'x') ON CONFLICT DO NOTHING")
	return y
}

func (y *yard) exec(sql string, args ...any) {
	y.t.Helper()
	if _, err := y.raw.Exec(context.WithoutCancel(y.t.Context()), sql, args...); err != nil {
		y.t.Fatalf("%s: %v", sql, err)
	}
}

// count gives -1 while the catalog does not answer.
func (y *yard) count(sql string, args ...any) int {
	var n int
	if err := y.raw.QueryRow(y.t.Context(), sql, args...).Scan(&n); err != nil {
		return -1
	}
	return n
}

func (y *yard) must(err error) {
	y.t.Helper()
	if err != nil {
		y.t.Fatal(err)
	}
}

// owner is a tenant with one source and a key.
type owner struct{ tenant, source, key uuid.UUID }

func (y *yard) owner() owner {
	y.t.Helper()
	o := owner{catalog.NewID(), catalog.NewID(), catalog.NewID()}
	y.exec("INSERT INTO tenants (id, name) VALUES ($1, 'a tenant')", o.tenant)
	y.exec(`INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
		VALUES ($1, $2, 'age-x25519', 'age1x', 'x', 'k', 'active')`, o.key, o.tenant)
	y.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'a source', '{}')", o.source, o.tenant)
	return o
}

// worker makes a worker's row, online, and gives its reference.
func (y *yard) worker(id string, slots int) catalog.WorkerRef {
	y.t.Helper()
	y.exec(`INSERT INTO workers (id, status, age_recipient, token_hash, storage_base_path, storage_id, slots)
		VALUES ($1, 'online', 'age1w', decode(md5($1), 'hex'), '/srv/' || $1, gen_random_uuid(), $2)`, id, slots)
	return catalog.WorkerRef{ID: id, Incarnation: 1}
}

func (y *yard) post(o owner, change ...func(*catalog.NewJob)) uuid.UUID {
	y.t.Helper()
	n := catalog.NewJob{SourceID: o.source, Kind: job.Backup, Priority: catalog.DefaultPriority}
	for _, c := range change {
		c(&n)
	}
	j, err := y.Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "operator"}).CreateJob(y.t.Context(), n)
	y.must(err)
	return j.ID
}

// fill queues n jobs without telling anybody.
func (y *yard) fill(o owner, n int) {
	y.t.Helper()
	y.exec(`INSERT INTO jobs (id, tenant_id, source_id, type) SELECT gen_random_uuid(), $1, $2, 'backup'
		FROM generate_series(1, $3)`, o.tenant, o.source, n)
}

// hub runs a dispatcher until the test, or stop, ends it.
func (y *yard) hub(log io.Writer, change ...func(*dispatch.Config)) (stop func()) {
	y.t.Helper()
	cfg := dispatch.Config{
		DB: y.DB, RedisURL: secret.New(y.redisURL), Log: slog.New(slog.NewTextHandler(log, nil)),
		MarkerEvery: 50 * time.Millisecond, ReconcileEvery: 100 * time.Millisecond, DeliveryGrace: 200 * time.Millisecond,
		ReapEvery: 50 * time.Millisecond, Tick: 200 * time.Millisecond, MaxBackoff: 300 * time.Millisecond,
	}
	for _, c := range change {
		c(&cfg)
	}
	d, err := dispatch.New(cfg)
	y.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- errors.Join(d.Run(ctx), d.Close()) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			y.t.Errorf("dispatcher ended with %v", err)
		}
	})
	y.t.Cleanup(stop)
	return stop
}

// pending lists the deliveries that wait in a queue, the next one first.
func (y *yard) pending(queue string) []job.Delivery {
	tasks, err := y.inspect.ListPendingTasks(queue, asynq.PageSize(1000))
	if err != nil {
		return nil // no such queue yet, or no Redis
	}
	out := make([]job.Delivery, len(tasks))
	for i, task := range tasks {
		if err := json.Unmarshal(task.Payload, &out[i]); err != nil {
			y.t.Errorf("payload %q: %v", task.Payload, err)
		}
	}
	return out
}

// crew is a worker's asynq server whose jobs do what the test says.
type crew struct {
	y  *yard
	w  catalog.WorkerRef
	do func(catalog.Claimed)

	mu         sync.Mutex
	deliveries []job.Delivery
	dropped    int
}

// work serves a queue with so many slots until the test ends.
func (y *yard) work(w catalog.WorkerRef, queue string, slots int, do func(catalog.Claimed)) *crew {
	y.t.Helper()
	c := &crew{y: y, w: w, do: do}
	client := redis.NewClient(y.redis.Options())
	server := asynq.NewServerFromRedisClient(client, asynq.Config{
		Concurrency: slots, Queues: map[string]int{queue: 1}, TaskCheckInterval: 50 * time.Millisecond, Logger: quiet{},
		LogLevel: asynq.FatalLevel, DelayedTaskCheckInterval: 100 * time.Millisecond, ShutdownTimeout: time.Second,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 200 * time.Millisecond },
	})
	y.must(server.Start(asynq.HandlerFunc(c.handle)))
	y.t.Cleanup(func() {
		server.Shutdown()
		_ = client.Close()
	})
	return c
}

func (c *crew) handle(_ context.Context, task *asynq.Task) error {
	var delivery job.Delivery
	if err := json.Unmarshal(task.Payload(), &delivery); err != nil {
		return err
	}
	c.mu.Lock()
	c.deliveries = append(c.deliveries, delivery)
	c.mu.Unlock()
	claimed, err := c.y.ClaimJob(context.Background(), c.w, job.ClaimRequest{JobID: delivery.JobID, ClaimID: uuid.New()})
	if errors.Is(err, catalog.ErrGone) || errors.Is(err, catalog.ErrNotClaimable) {
		c.mu.Lock()
		c.dropped++
		c.mu.Unlock()
		return nil
	}
	if err != nil {
		return err
	}
	c.do(claimed)
	return nil
}

func (c *crew) seen() (deliveries, dropped int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.deliveries), c.dropped
}

func (y *yard) fence(c catalog.Claimed, w catalog.WorkerRef) catalog.Fence {
	return catalog.Fence{JobID: c.JobID, WorkerID: w.ID, Incarnation: w.Incarnation, Attempt: c.Attempt}
}

// complete ends a claimed job well, with a snapshot that has no bytes.
func (y *yard) complete(c catalog.Claimed, w catalog.WorkerRef) error {
	return y.CompleteJob(context.Background(), y.fence(c, w), job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Completed,
		Snapshot: &job.SnapshotRecord{
			ID: c.SnapshotID, Status: "completed", SHA256: strings.Repeat("ab", 32), Manifest: json.RawMessage(`{"format":"xvault/1"}`),
			KeyID: c.TenantKey.ID, Recipient: c.TenantKey.PublicKey, StorageBackend: "local_fs",
			LocalPath: catalog.SnapshotPath("/srv/"+w.ID, c.TenantID, c.Source.ID, c.SnapshotID),
		},
	})
}

// doNothing completes every job at once.
func (y *yard) doNothing(w catalog.WorkerRef) func(catalog.Claimed) {
	return func(c catalog.Claimed) {
		if err := y.complete(c, w); err != nil && !errors.Is(err, catalog.ErrFenced) {
			y.t.Errorf("complete: %v", err)
		}
	}
}

func (y *yard) completed() int {
	return y.count("SELECT count(*) FROM jobs WHERE status = 'completed'")
}

// quiet swallows what asynq logs.
type quiet struct{}

func (quiet) Debug(...any) {}
func (quiet) Info(...any)  {}
func (quiet) Warn(...any)  {}
func (quiet) Error(...any) {}
func (quiet) Fatal(args ...any) {
	panic(fmt.Sprint(args...))
}

// lines counts log lines.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}
