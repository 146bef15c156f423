package notify_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/archive/seal"
	"xvault/hub/notify"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// desk is a catalog with one tenant, one source and one worker, and hubs that
// notify.
type desk struct {
	t              testing.TB
	url            string
	db             *catalog.DB
	raw            *pgxpool.Pool
	ring           *seal.Keyring
	tenant, source uuid.UUID
	key            uuid.UUID
	worker         catalog.WorkerRef
	log            *lockedLog
}

func newDesk(t testing.TB) *desk {
	t.Helper()
	d := &desk{t: t, url: testenv.Catalog(t), tenant: catalog.NewID(), source: catalog.NewID(), key: catalog.NewID(), log: &lockedLog{}}
	var err error
	d.db = d.open()
	d.raw, err = pgxpool.New(t.Context(), d.url)
	d.must(err)
	t.Cleanup(d.raw.Close)
	keks, err := seal.ParseKEKs(secret.New("a passphrase of the tests, long enough"))
	d.must(err)
	d.ring, err = d.db.Keyring(t.Context(), keks)
	d.must(err)
	keyID := d.ring.FirstKeyID()
	d.exec("INSERT INTO tenants (id, name) VALUES ($1, 'Acme & Sons')", d.tenant)
	d.exec(`INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
		VALUES ($1, $2, 'age-x25519', 'age1x', 'x', $3, 'active')`, d.key, d.tenant, keyID)
	d.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'web1', '{}')", d.source, d.tenant)
	d.exec(`INSERT INTO workers (id, status, storage_base_path, storage_id, age_recipient, token_hash, disk_free_bytes, disk_total_bytes)
		VALUES ('w1', 'online', '/srv', $1, 'age1x', 'x', 500000000000, 1000000000000)`, uuid.New())
	d.worker = catalog.WorkerRef{ID: "w1", Incarnation: 1}
	return d
}

func (d *desk) open() *catalog.DB {
	d.t.Helper()
	db, err := catalog.Open(d.t.Context(), catalog.Config{URL: secret.New(d.url), MaxConns: 8})
	d.must(err)
	d.t.Cleanup(db.Close)
	return db
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) exec(sql string, args ...any) {
	d.t.Helper()
	if _, err := d.raw.Exec(context.Background(), sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

func (d *desk) count(sql string, args ...any) int {
	d.t.Helper()
	var n int
	if err := d.raw.QueryRow(context.Background(), sql, args...).Scan(&n); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return n
}

// ahead moves the catalog's clock.
func (d *desk) ahead(by time.Duration) {
	d.t.Helper()
	d.exec("CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT statement_timestamp() + interval '" + by.String() + "' $$")
}

// notifier runs a hub's part that notifies, until stop is called or the test
// ends.
func (d *desk) notifier(change ...func(*notify.Config)) (n *notify.Notifier, stop func()) {
	d.t.Helper()
	cfg := notify.Config{
		DB: d.open(), Keyring: d.ring, Poll: 20 * time.Millisecond, WatchEvery: 50 * time.Millisecond, SendTimeout: 2 * time.Second,
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	n, err := notify.New(cfg)
	d.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			d.t.Errorf("run: %v", err)
		}
	})
	d.t.Cleanup(stop)
	return n, stop
}

// channel makes a channel of the tenant, or of the operator.
func (d *desk) channel(kind string, config map[string]any, change ...func(*catalog.Channel)) catalog.Channel {
	d.t.Helper()
	c := catalog.Channel{ID: catalog.NewID(), TenantID: &d.tenant, Name: "c", Kind: kind, Events: notify.DefaultEvents(kind), Enabled: true}
	for _, f := range change {
		f(&c)
	}
	raw, err := json.Marshal(config)
	d.must(err)
	settings, faults := notify.Parse(kind, raw)
	if len(faults) > 0 {
		d.t.Fatalf("faults: %v", faults)
	}
	c.Config = settings.Shown
	c.Secret, err = settings.Sealed(d.ring, catalog.ChannelAD(c.TenantID, c.ID))
	d.must(err)
	c, err = d.operator().CreateChannel(d.t.Context(), c)
	d.must(err)
	return c
}

func ofOperator(c *catalog.Channel) { c.TenantID = nil }

func (d *desk) operator() catalog.Scope {
	return d.db.Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "operator"})
}

// begin posts a job and claims it.
func (d *desk) begin(kind job.Kind) (catalog.Claimed, catalog.Fence) {
	d.t.Helper()
	j, err := d.operator().CreateJob(d.t.Context(), catalog.NewJob{SourceID: d.source, Kind: kind, Priority: catalog.DefaultPriority})
	d.must(err)
	c, err := d.db.ClaimJob(d.t.Context(), d.worker, job.ClaimRequest{JobID: j.ID, ClaimID: uuid.New()})
	d.must(err)
	return c, catalog.Fence{JobID: c.JobID, WorkerID: d.worker.ID, Incarnation: d.worker.Incarnation, Attempt: c.Attempt}
}

// fail has a backup fail for good.
func (d *desk) fail(message string) uuid.UUID {
	d.t.Helper()
	c, f := d.begin(job.Backup)
	d.must(d.db.CompleteJob(d.t.Context(), f, job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: job.AuthFailed, Message: message},
	}))
	return c.JobID
}

// succeed has a backup of a size succeed.
func (d *desk) succeed(size int64) uuid.UUID {
	d.t.Helper()
	c, f := d.begin(job.Backup)
	d.must(d.db.CompleteJob(d.t.Context(), f, job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Completed,
		Snapshot: &job.SnapshotRecord{
			ID: c.SnapshotID, Status: "completed", SizeBytes: size, DurationMS: 3, SHA256: strings.Repeat("ab", 32),
			Manifest: json.RawMessage(`{"format":"xvault/1"}`), KeyID: d.key, Recipient: "age1x", StorageBackend: "local_fs",
			LocalPath: catalog.SnapshotPath("/srv", d.tenant, d.source, c.SnapshotID),
		},
	}))
	return c.JobID
}

// hook is a receiver of HTTP requests.
type hook struct {
	*httptest.Server
	mu    sync.Mutex
	calls []call
	// answer gives the status of the n-th call, from 0; nil: 200.
	answer func(n int) int
}

type call struct {
	method, path string
	header       http.Header
	body         string
}

func newHook(t testing.TB, answer func(n int) int) *hook {
	t.Helper()
	h := &hook{answer: answer}
	h.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("read call: %v", err)
		}
		h.mu.Lock()
		h.calls = append(h.calls, call{r.Method, r.URL.RequestURI(), r.Header, string(body)})
		n := len(h.calls) - 1
		h.mu.Unlock()
		if h.answer != nil {
			w.WriteHeader(h.answer(n))
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hook) seen() []call {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]call(nil), h.calls...)
}

// kinds lists the events that a webhook has received.
func (h *hook) kinds(t testing.TB) []string {
	t.Helper()
	var kinds []string
	for _, c := range h.seen() {
		var event struct{ Type string }
		if err := json.Unmarshal([]byte(c.body), &event); err != nil {
			t.Fatalf("%v in %q", err, c.body)
		}
		kinds = append(kinds, event.Type)
	}
	return kinds
}

const signingSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func webhookTo(h *hook) map[string]any {
	return map[string]any{"url": h.URL + "/in?token=canary-url-token", "secret": signingSecret}
}

// lockedLog collects a log.
type lockedLog struct {
	mu  sync.Mutex
	buf strings.Builder
}

func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (d *desk) wait(what string, state func() bool) {
	d.t.Helper()
	testenv.Eventually(d.t, 2*time.Minute, state, "%s\n%s", what, fmt.Stringer(d.log))
}

// settled waits until nothing is left to be told.
func (d *desk) settled() {
	d.t.Helper()
	d.wait("not settled", func() bool {
		return d.count("SELECT (SELECT count(*) FROM notification_events WHERE NOT handed_out) + (SELECT count(*) FROM notifications WHERE status = 'pending')") == 0
	})
}
