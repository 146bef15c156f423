package workerapi_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"

	"xvault/archive/seal"
	"xvault/hub/workerapi"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

const (
	joinToken = "a-join-token-of-more-than-32-characters"
	password  = "canary-9f1c-correct-horse"
)

// lab is a hub's internal API over real HTTP and a real catalog.
type lab struct {
	t       *testing.T
	url     string
	db      *catalog.DB
	raw     *pgxpool.Pool
	keyring *seal.Keyring
	base    string
	log     *logBuffer
}

func newLab(t *testing.T) *lab {
	t.Helper()
	l := &lab{t: t, url: testenv.Catalog(t), log: &logBuffer{}}
	var err error
	if l.db, err = catalog.Open(t.Context(), catalog.Config{URL: secret.New(l.url), MaxConns: 8}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.db.Close)
	if l.raw, err = pgxpool.New(t.Context(), l.url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.raw.Close)
	l.keyring = keyring(t, l.db, "k1:"+base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{1}, 32)))
	l.base = l.serve(l.keyring)
	return l
}

func keyring(t *testing.T, db *catalog.DB, setting string) *seal.Keyring {
	t.Helper()
	parsed, err := seal.ParseKEKs(secret.New(setting))
	if err != nil {
		t.Fatal(err)
	}
	ring, err := db.Keyring(t.Context(), parsed)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// serve starts a hub with these keys.
func (l *lab) serve(ring *seal.Keyring) string {
	l.t.Helper()
	handler, err := workerapi.Handler(workerapi.Config{
		DB: l.db, Keyring: ring, JoinToken: secret.New(joinToken), Log: slog.New(slog.NewJSONHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	root := chi.NewRouter()
	root.Mount("/internal", handler)
	server := httptest.NewServer(root)
	l.t.Cleanup(server.Close)
	return server.URL + "/internal"
}

func (l *lab) exec(sql string, args ...any) {
	l.t.Helper()
	if _, err := l.raw.Exec(l.t.Context(), sql, args...); err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
}

func (l *lab) one(sql string, args ...any) string {
	l.t.Helper()
	var text string
	if err := l.raw.QueryRow(l.t.Context(), sql, args...).Scan(&text); err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
	return text
}

func (l *lab) operator() catalog.Scope {
	return l.db.Operator(catalog.Actor{Type: catalog.ActorOperator, ID: "operator"})
}

// customer is a tenant with a source that has a password.
type customer struct {
	tenant, key, credential, source uuid.UUID
	recipient                       string
}

func (l *lab) customer(name string) customer {
	l.t.Helper()
	c := customer{tenant: catalog.NewID(), key: catalog.NewID(), credential: catalog.NewID(), source: catalog.NewID()}
	identity, recipient, err := seal.NewIdentity()
	l.must(err)
	c.recipient = recipient
	sealed, keyID, err := l.keyring.Seal([]byte(identity.Reveal()), catalog.TenantKeyAD(c.tenant, c.key))
	l.must(err)
	_, err = l.operator().CreateTenant(l.t.Context(), catalog.NewTenant{ID: c.tenant, Name: name, Key: catalog.NewTenantKey{
		ID: c.key, PublicKey: recipient, Ciphertext: sealed, KeyID: keyID,
	}})
	l.must(err)
	plain, err := job.Credential{Type: "password", Password: secret.New(password)}.Encode()
	l.must(err)
	sealed, keyID, err = l.keyring.Seal(plain, catalog.CredentialAD(c.tenant, c.credential))
	l.must(err)
	_, err = l.operator().CreateCredential(l.t.Context(), catalog.NewCredential{
		ID: c.credential, TenantID: c.tenant, Kind: "source",
		Secret: catalog.SealedSecret{Type: "password", Ciphertext: sealed, KeyID: keyID},
	})
	l.must(err)
	_, err = l.operator().CreateSource(l.t.Context(), catalog.NewSource{
		ID: c.source, TenantID: c.tenant, Type: "sftp", Name: "s", CredentialID: &c.credential,
		Config: json.RawMessage(`{"host":"h.example","username":"u","paths":["/srv"],"trust_on_first_use":true}`),
	})
	l.must(err)
	return c
}

func (l *lab) job(c customer, kind job.Kind) uuid.UUID {
	l.t.Helper()
	j, err := l.operator().CreateJob(l.t.Context(), catalog.NewJob{SourceID: c.source, Kind: kind, Priority: 5})
	l.must(err)
	return j.ID
}

func (l *lab) jobNow(id uuid.UUID) catalog.Job {
	l.t.Helper()
	j, err := l.operator().Job(l.t.Context(), id)
	l.must(err)
	return j
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// worker is a worker in the test's hands.
type worker struct {
	*lab
	id       string
	identity secret.Text
	token    string
	base     string
	storage  uuid.UUID
	reg      job.RegisterRequest
}

// join registers a new worker.
func (l *lab) join(id string) *worker {
	l.t.Helper()
	identity, recipient, err := seal.NewIdentity()
	l.must(err)
	w := &worker{lab: l, id: id, identity: identity, token: joinToken, base: l.base, storage: uuid.New()}
	w.reg = job.RegisterRequest{
		WorkerID: id, Name: "worker " + id, Version: "test", AgeRecipient: recipient, StorageBasePath: "/srv/" + id,
		StorageID: w.storage, Slots: 2, PublicURL: "https://" + id + ".example:8081",
		Capabilities: job.Capabilities{SourceTypes: []string{"sftp"}, JobTypes: []job.Kind{job.Backup, job.Probe}, Storage: []string{"local_fs"}},
	}
	w.register()
	return w
}

// register starts the worker anew with the token that it has.
func (w *worker) register() {
	w.t.Helper()
	var answer job.RegisterResponse
	w.call("POST", "/workers/register", w.reg).ok(&answer)
	w.token = answer.Token
}

// reply is what the hub answered.
type reply struct {
	t      *testing.T
	what   string
	status int
	header http.Header
	body   []byte
}

func (w *worker) call(method, path string, body any) reply {
	w.t.Helper()
	return send(w.t, w.base, w.token, method, path, body)
}

// send takes a body as bytes, or what is to be encoded.
func send(t *testing.T, base, token, method, path string, body any) reply {
	t.Helper()
	raw, ok := body.([]byte)
	if !ok && body != nil {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{t, method + " " + path, res.StatusCode, res.Header, answer}
}

// ok expects 200 and decodes the answer.
func (r reply) ok(into any) {
	r.t.Helper()
	if r.status != http.StatusOK {
		r.t.Fatalf("%s: %d %s", r.what, r.status, r.body)
	}
	if into == nil {
		return
	}
	if err := json.Unmarshal(r.body, into); err != nil {
		r.t.Fatalf("%s: %v in %s", r.what, err, r.body)
	}
}

// refused expects a problem with this status and code.
func (r reply) refused(status int, code string) {
	r.t.Helper()
	var p struct {
		Title, Detail, Code string
		Status              int
	}
	if err := json.Unmarshal(r.body, &p); err != nil {
		r.t.Errorf("%s: no problem: %d %s", r.what, r.status, r.body)
		return
	}
	if r.status != status || p.Code != code || p.Status != status || p.Title == "" || p.Detail == "" ||
		r.header.Get("Content-Type") != "application/problem+json" {
		r.t.Errorf("%s: %d %s %s, want %d %s", r.what, r.status, r.header.Get("Content-Type"), r.body, status, code)
	}
}

// names expects a 422 that names the field.
func (r reply) names(field string) {
	r.t.Helper()
	r.refused(http.StatusUnprocessableEntity, "validation_failed")
	if !strings.Contains(string(r.body), `"location":"body.`+field+`"`) {
		r.t.Errorf("%s: %s does not name body.%s", r.what, r.body, field)
	}
}

func (w *worker) claim(id uuid.UUID) job.Claim {
	w.t.Helper()
	var c job.Claim
	w.call("POST", "/jobs/claim", job.ClaimRequest{JobID: id, ClaimID: uuid.New()}).ok(&c)
	return c
}

func (w *worker) on(id uuid.UUID, what string, body any) reply {
	w.t.Helper()
	return w.call("POST", "/jobs/"+id.String()+"/"+what, body)
}

// success is what a worker reports of a backup that went well.
func (w *worker) success(c job.Claim) job.CompleteRequest {
	return job.CompleteRequest{
		Attempt: c.Attempt, Status: job.Completed, Result: json.RawMessage(`{"warnings":[]}`),
		Snapshot: &job.SnapshotRecord{
			ID: c.SnapshotID, Status: "completed", SizeBytes: 1 << 40, SHA256: strings.Repeat("ab", 32), StartedAt: c.StartedAt,
			DurationMS: 12, Manifest: json.RawMessage(`{"format":"xvault/1","artifact":{"size_bytes":1099511627776}}`),
			KeyID: c.TenantKey.ID, Recipient: c.TenantKey.PublicKey, StorageBackend: "local_fs",
			LocalPath: catalog.SnapshotPath(w.reg.StorageBasePath, c.TenantID, c.Source.ID, c.SnapshotID),
		},
	}
}
