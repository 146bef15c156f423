package hub_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"xvault/connectors/registry"
	"xvault/hub"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

const (
	operatorKey = "operator-key-of-the-tests-0123456789"
	joinToken   = "join-token-of-the-tests-0123456789ab"
)

// kek is the one key of this name.
func kek(id string) string {
	sum := sha256.Sum256([]byte(id))
	return id + ":" + base64.StdEncoding.EncodeToString(sum[:])
}

// lab is a running hub with a catalog and a Redis of its own.
type lab struct {
	t     *testing.T
	url   string // of the hub
	db    string // DATABASE_URL
	redis *testenv.RedisServer
	log   *lockedBuffer
	http  *http.Client
	stop  func()
}

// lockedBuffer collects a log from many goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// start runs a hub until the test ends.
func start(t *testing.T, change ...func(*hub.Config)) *lab {
	t.Helper()
	l := &lab{t: t, db: testenv.Catalog(t), redis: testenv.Redis(t)}
	l.join(change...)
	return l
}

// another runs one more hub on the same catalog and Redis.
func (l *lab) another(change ...func(*hub.Config)) *lab {
	l.t.Helper()
	other := &lab{t: l.t, db: l.db, redis: l.redis}
	other.join(change...)
	return other
}

func (l *lab) config(change ...func(*hub.Config)) hub.Config {
	l.log = &lockedBuffer{}
	cfg := hub.Config{
		DatabaseURL: secret.New(l.db), RedisURL: secret.New(l.redis.URL), ListenAddr: "127.0.0.1:0",
		EncryptionKEK: secret.New(kek("k1")), OperatorKey: secret.New(operatorKey), JoinToken: secret.New(joinToken),
		SourceTypes: registry.All(), DatabaseConns: 8, Housekeeping: 100 * time.Millisecond,
		Log: slog.New(slog.NewJSONHandler(l.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, c := range change {
		c(&cfg)
	}
	return cfg
}

func (l *lab) join(change ...func(*hub.Config)) {
	l.t.Helper()
	h, err := hub.New(context.Background(), l.config(change...))
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx) }()
	l.url = "http://" + h.Addr().String()
	transport := &http.Transport{}
	l.http = &http.Client{Transport: transport, Timeout: 2 * time.Minute}
	l.stop = sync.OnceFunc(func() {
		cancel()
		transport.CloseIdleConnections()
		if err := <-done; err != nil {
			l.t.Errorf("serve: %v", err)
		}
	})
	l.t.Cleanup(l.stop)
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   []byte
}

// problem is what the tests look at in a problem.
type problem struct {
	Title  string
	Status int
	Detail string
	Code   string
	Errors []struct {
		Location, Message string
		Value             any
	}
}

func (r reply) problem(t *testing.T) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal(r.body, &p); err != nil {
		t.Fatalf("not a problem: %v in %q", err, r.body)
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q of %s", got, r.body)
	}
	if p.Status != r.status || p.Title == "" || p.Code == "" {
		t.Errorf("incomplete problem: %d %s", r.status, r.body)
	}
	return p
}

func (p problem) locations() string {
	var at []string
	for _, e := range p.Errors {
		at = append(at, e.Location)
	}
	return strings.Join(at, " ")
}

// do calls the hub; body may be nil, a string that is sent as it is, or
// anything that encodes to JSON.
func (l *lab) do(key, method, path string, body any, headers ...string) reply {
	l.t.Helper()
	r, err := l.try(key, method, path, body, headers...)
	if err != nil {
		l.t.Fatalf("%s %s: %v", method, path, err)
	}
	return r
}

func (l *lab) try(key, method, path string, body any, headers ...string) (reply, error) {
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return reply{}, err
		}
		reader = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(context.Background(), method, l.url+path, reader)
	if err != nil {
		return reply{}, err
	}
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := l.http.Do(req)
	if err != nil {
		return reply{}, err
	}
	content, err := io.ReadAll(res.Body)
	return reply{res.StatusCode, res.Header, content}, errors.Join(err, res.Body.Close())
}

// must calls and decodes, and fails the test on any other status.
func (l *lab) must(status int, key, method, path string, body any, into any) reply {
	l.t.Helper()
	r := l.do(key, method, path, body)
	if r.status != status {
		l.t.Fatalf("%s %s: got %d, want %d: %s", method, path, r.status, status, r.body)
	}
	if into != nil {
		if err := json.Unmarshal(r.body, into); err != nil {
			l.t.Fatalf("%s %s: %v in %q", method, path, err, r.body)
		}
	}
	return r
}

type object map[string]any

func (o object) id() string { return o.text("id") }

// text gives a field that must be a text; an empty one fails whatever uses it.
func (o object) text(field string) string {
	s, ok := o[field].(string)
	if !ok {
		return ""
	}
	return s
}

// tenant makes a tenant and a key of it.
func (l *lab) tenant(name string) (id, key string) {
	l.t.Helper()
	var tenant, made object
	l.must(201, operatorKey, "POST", "/api/v1/tenants", object{"name": name}, &tenant)
	l.must(201, operatorKey, "POST", "/api/v1/api-keys", object{"tenant_id": tenant.id(), "name": name}, &made)
	return tenant.id(), made.text("key")
}

// credential makes a credential with a password.
func (l *lab) credential(key, tenant, password string) string {
	l.t.Helper()
	var c object
	l.must(201, key, "POST", "/api/v1/credentials", object{
		"tenant_id": tenant, "kind": "source", "name": "c", "secret": object{"type": "password", "password": password},
	}, &c)
	return c.id()
}

func sourceBody(tenant, credential string) object {
	return object{
		"tenant_id": tenant, "type": "sftp", "name": "web", "credential_id": credential,
		"config": object{"host": "files.example.net", "username": "backup", "paths": []string{"/srv"}, "trust_on_first_use": true},
	}
}

// source makes a source.
func (l *lab) source(key, tenant, credential string) string {
	l.t.Helper()
	var s object
	l.must(201, key, "POST", "/api/v1/sources", sourceBody(tenant, credential), &s)
	return s.id()
}

// exec changes the catalog behind the hub's back.
func (l *lab) exec(sql string, args ...any) {
	l.t.Helper()
	conn, err := pgx.Connect(context.Background(), l.db)
	if err != nil {
		l.t.Fatal(err)
	}
	_, execErr := conn.Exec(context.Background(), sql, args...)
	if err := errors.Join(execErr, conn.Close(context.Background())); err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
}

// count gives the one number that the statement selects.
func (l *lab) count(sql string, args ...any) int {
	l.t.Helper()
	conn, err := pgx.Connect(context.Background(), l.db)
	if err != nil {
		l.t.Fatal(err)
	}
	var n int
	scanErr := conn.QueryRow(context.Background(), sql, args...).Scan(&n)
	if err := errors.Join(scanErr, conn.Close(context.Background())); err != nil {
		l.t.Fatalf("%s: %v", sql, err)
	}
	return n
}
