package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/archive/seal"
	"xvault/connectors"
	"xvault/hub/api"
	"xvault/hub/auth"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

const deskGrace = 5 * time.Hour

const deskOperatorKey = "the-operators-key-of-more-than-32-characters"

// desk is the public API over real HTTP and a real catalog, with jobs,
// snapshots and workers in it.
type desk struct {
	t    *testing.T
	db   *catalog.DB
	raw  *pgxpool.Pool
	base string
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t}
	url := testenv.Catalog(t)
	var err error
	d.db, err = catalog.Open(t.Context(), catalog.Config{URL: secret.New(url), MaxConns: 8})
	d.must(err)
	t.Cleanup(d.db.Close)
	d.raw, err = pgxpool.New(t.Context(), url)
	d.must(err)
	t.Cleanup(d.raw.Close)
	setting, err := seal.ParseKEKs(secret.New("k1:" + base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32))))
	d.must(err)
	ring, err := d.db.Keyring(t.Context(), setting)
	d.must(err)
	log := slog.New(slog.DiscardHandler)
	authenticator, err := auth.New(d.db, secret.New(deskOperatorKey), log)
	d.must(err)
	ticketKey, err := d.db.TicketSigner(t.Context(), ring)
	d.must(err)
	router := chi.NewRouter()
	api.Mount(router, api.Config{
		DB: d.db, Keyring: ring, Auth: authenticator, Version: "test", Log: log, DeleteGrace: deskGrace,
		TicketKey: ticketKey, DownloadTTL: time.Hour,
		SourceType: func(string) (connectors.Type, bool) { return connectors.Type{}, false },
	})
	server := httptest.NewServer(router)
	t.Cleanup(server.Close)
	d.base = server.URL + api.Prefix
	return d
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) exec(sql string, args ...any) {
	d.t.Helper()
	if _, err := d.raw.Exec(d.t.Context(), sql, args...); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
}

func (d *desk) one(sql string, args ...any) string {
	d.t.Helper()
	var text string
	if err := d.raw.QueryRow(d.t.Context(), sql, args...).Scan(&text); err != nil {
		d.t.Fatalf("%s: %v", sql, err)
	}
	return text
}

// account is a tenant with a source and a key of its own.
type account struct {
	id, source, tenantKey uuid.UUID
	client
}

func (d *desk) account(name string) account {
	d.t.Helper()
	a := account{source: catalog.NewID()}
	var tenant struct{ ID uuid.UUID }
	d.operator().post("/tenants", map[string]any{"name": name}).created(&tenant)
	a.id = tenant.ID
	var key struct{ Key string }
	d.operator().post("/api-keys", map[string]any{"name": name, "tenant_id": a.id}).created(&key)
	a.client = client{d, key.Key}
	a.tenantKey = uuid.MustParse(d.one("SELECT id::text FROM tenant_keys WHERE tenant_id = $1", a.id))
	d.exec(`INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 's', '{}')`, a.source, a.id)
	return a
}

// worker registers a worker.
func (d *desk) worker(id string) catalog.WorkerRef {
	d.t.Helper()
	_, recipient, err := seal.NewIdentity()
	d.must(err)
	done, err := d.db.RegisterWorker(d.t.Context(), catalog.Registration{
		RegisterRequest: job.RegisterRequest{
			WorkerID: id, Name: "n", Version: "v", AgeRecipient: recipient, StorageBasePath: "/srv", StorageID: uuid.New(), Slots: 2,
			Capabilities: job.Capabilities{SourceTypes: []string{"sftp"}},
		},
		Join: true, From: catalog.Actor{Type: catalog.ActorWorker, ID: id},
	})
	d.must(err)
	return catalog.WorkerRef{ID: id, Incarnation: done.Incarnation}
}

// claim has a worker take a job.
func (d *desk) claim(w catalog.WorkerRef, id uuid.UUID) (catalog.Claimed, catalog.Fence) {
	d.t.Helper()
	c, err := d.db.ClaimJob(d.t.Context(), w, job.ClaimRequest{JobID: id, ClaimID: uuid.New()})
	d.must(err)
	return c, catalog.Fence{JobID: id, WorkerID: w.ID, Incarnation: w.Incarnation, Attempt: c.Attempt}
}

// backUp makes a job and completes it with a snapshot.
func (d *desk) backUp(a account, w catalog.WorkerRef) (jobID, snapshot uuid.UUID) {
	d.t.Helper()
	var made struct{ ID uuid.UUID }
	a.post("/jobs", map[string]any{"source_id": a.source}).created(&made)
	c, fence := d.claim(w, made.ID)
	d.must(d.db.CompleteJob(d.t.Context(), fence, job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Completed, Result: json.RawMessage(`{"files":3}`),
		Snapshot: &job.SnapshotRecord{
			ID: c.SnapshotID, Status: "completed", SizeBytes: 77, SHA256: strings.Repeat("ab", 32), DurationMS: 5,
			Manifest: json.RawMessage(`{"format":"xvault/1"}`), KeyID: c.TenantKey.ID, Recipient: c.TenantKey.PublicKey,
			StorageBackend: "local_fs", LocalPath: catalog.SnapshotPath("/srv", c.TenantID, c.Source.ID, c.SnapshotID),
		},
	}))
	return made.ID, c.SnapshotID
}

// client calls with one key.
type client struct {
	d   *desk
	key string
}

func (d *desk) operator() client { return client{d, deskOperatorKey} }

type answer struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

func (c client) send(method, path string, body any, headers ...string) answer {
	c.d.t.Helper()
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		raw, err = json.Marshal(body)
		c.d.must(err)
	}
	req, err := http.NewRequestWithContext(c.d.t.Context(), method, c.d.base+path, bytes.NewReader(raw))
	c.d.must(err)
	req.Header.Set("Content-Type", "application/json")
	if c.key != "" {
		req.Header.Set("Authorization", "Bearer "+c.key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	c.d.must(err)
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	c.d.must(err)
	return answer{c.d.t, method + " " + path, res.StatusCode, res.Header, got}
}

func (c client) get(path string) answer { c.d.t.Helper(); return c.send("GET", path, nil) }

func (c client) post(path string, body any) answer { c.d.t.Helper(); return c.send("POST", path, body) }

func (a answer) is(status int, into any) {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("%s: %d %s, want %d", a.what, a.status, a.body, status)
	}
	if into != nil {
		if err := json.Unmarshal(a.body, into); err != nil {
			a.t.Fatalf("%s: %v in %s", a.what, err, a.body)
		}
	}
}

func (a answer) ok(into any)      { a.t.Helper(); a.is(http.StatusOK, into) }
func (a answer) created(into any) { a.t.Helper(); a.is(http.StatusCreated, into) }

func (a answer) refused(status int, code string) {
	a.t.Helper()
	var p struct{ Code string }
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != status || p.Code != code ||
		a.header.Get("Content-Type") != "application/problem+json" {
		a.t.Errorf("%s: %d %s, want %d %s", a.what, a.status, a.body, status, code)
	}
}

// names expects a 422 that names the place.
func (a answer) names(location string) {
	a.t.Helper()
	a.refused(http.StatusUnprocessableEntity, "validation_failed")
	if !strings.Contains(string(a.body), `"location":"`+location+`"`) {
		a.t.Errorf("%s: %s does not name %s", a.what, a.body, location)
	}
}

// keys expects an object with exactly these members.
func (a answer) keys(want string) {
	a.t.Helper()
	var object map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &object); err != nil {
		a.t.Fatalf("%s: %v in %s", a.what, err, a.body)
	}
	expected := strings.Fields(want)
	slices.Sort(expected)
	if got := slices.Sorted(maps.Keys(object)); !slices.Equal(got, expected) {
		a.t.Errorf("%s has\n%v, want\n%v", a.what, got, expected)
	}
}

// list reads a whole list, page by page.
func (c client) list(path string, limit string) []string {
	c.d.t.Helper()
	var ids []string
	cursor := ""
	for {
		var page struct {
			Items      []struct{ ID string }
			NextCursor *string `json:"next_cursor"`
		}
		c.get(path + "limit=" + limit + "&cursor=" + cursor).ok(&page)
		for _, item := range page.Items {
			ids = append(ids, item.ID)
		}
		if page.NextCursor == nil {
			c.d.t.Fatalf("%s: no next_cursor", path)
		}
		if cursor = *page.NextCursor; cursor == "" {
			return ids
		}
	}
}
