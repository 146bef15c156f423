package hub_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/hub"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestHealth(t *testing.T) {
	t.Parallel()
	l := start(t)
	if r := l.do("", "GET", "/healthz", nil); r.status != 200 || strings.TrimSpace(string(r.body)) != `{"ok":true}` {
		t.Errorf("healthz: %d %s", r.status, r.body)
	}
	if r := l.do("", "GET", "/readyz", nil); r.status != 200 || !strings.Contains(string(r.body), `"ready":true`) {
		t.Errorf("readyz: %d %s", r.status, r.body)
	}
	if r := l.do("", "HEAD", "/healthz", nil); r.status != 200 {
		t.Errorf("HEAD healthz: %d", r.status)
	}
	l.redis.Kill()
	testenv.Eventually(t, 2*time.Minute, func() bool { return l.do("", "GET", "/readyz", nil).status == 503 }, "ready without Redis")
	r := l.do("", "GET", "/readyz", nil)
	if !strings.Contains(string(r.body), `"redis":"unreachable"`) || !strings.Contains(string(r.body), `"postgres":"ok"`) {
		t.Errorf("readyz without Redis: %s", r.body)
	}
	if r := l.do("", "GET", "/healthz", nil); r.status != 200 {
		t.Errorf("healthz without Redis: %d", r.status)
	}
	tenant, key := l.tenant("made without Redis")
	l.source(key, tenant, l.credential(key, tenant, "pw"))
	l.redis.Start()
	testenv.Eventually(t, 2*time.Minute, func() bool { return l.do("", "GET", "/readyz", nil).status == 200 }, "not ready again")
}

// A catalog that is away is the hub's trouble, not the caller's: 503, and the
// answer names no address.
func TestWithoutPostgres(t *testing.T) {
	t.Parallel()
	server := testenv.NewPostgres(t, testenv.PostgresOptions{Durable: true})
	l := &lab{t: t, db: server.Catalog("hub"), redis: testenv.Redis(t)}
	l.join()
	_, key := l.tenant("one")
	server.Kill()
	for _, path := range []string{"/api/v1/sources", "/readyz"} {
		r := l.do(key, "GET", path, nil)
		if r.status != 503 || strings.Contains(string(r.body), "127.0.0.1") || strings.Contains(string(r.body), "dial") {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if r := l.do(operatorKey, "POST", "/api/v1/tenants", object{"name": "n"}); r.status != 503 || r.problem(t).Code != "unavailable" {
		t.Errorf("create: %d %s", r.status, r.body)
	}
	if r := l.do("", "GET", "/healthz", nil); r.status != 200 {
		t.Errorf("healthz: %d", r.status)
	}
	if r := l.do("", "GET", "/metrics", nil); r.status != 200 || !strings.Contains(string(r.body), "xvault_catalog_up 0") {
		t.Errorf("metrics: %d", r.status)
	}
	server.Restart()
	testenv.Eventually(t, 2*time.Minute, func() bool { return l.do(key, "GET", "/api/v1/sources", nil).status == 200 }, "does not come back")
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	source := l.source(key, tenant, l.credential(key, tenant, "pw"))
	l.must(201, key, "POST", "/api/v1/jobs", object{"source_id": source}, nil)
	l.do(key, "BREW", "/api/v1/nope/"+source, nil)
	r := l.do("", "GET", "/metrics", nil)
	for _, want := range []string{
		`xvault_jobs{status="queued"} 1`, `xvault_jobs{status="completed"} 0`, `xvault_workers{status="online"} 0`,
		`xvault_http_request_duration_seconds_count{method="POST",route="/api/v1/sources",status="201"} 1`,
		`method="other"`, "go_goroutines", "xvault_catalog_up 1", "xvault_queue_jobs",
	} {
		if !strings.Contains(string(r.body), want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(string(r.body), source) || strings.Contains(string(r.body), tenant) {
		t.Error("a label holds an id")
	}
}

// selfSigned writes a certificate for 127.0.0.1 with this name.
func selfSigned(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestCertificatesAreReadAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := selfSigned(t, dir, "first")
	l := start(t, func(c *hub.Config) { c.TLSCertFile, c.TLSKeyFile = certFile, keyFile })
	addr := strings.TrimPrefix(l.url, "http://")
	served := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if got := served(); got != "first" {
		t.Errorf("serves %q", got)
	}
	selfSigned(t, dir, "second")
	if got := served(); got != "second" {
		t.Errorf("after a renewal: serves %q", got)
	}
	if err := os.WriteFile(certFile, []byte("half a certif"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := served(); got != "second" {
		t.Errorf("in the middle of a renewal: serves %q", got)
	}
	selfSigned(t, dir, "third")
	if got := served(); got != "third" {
		t.Errorf("after it: serves %q", got)
	}
	// HTTPS works as a whole, and says so to browsers.
	l.url = "https://" + addr
	l.http.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	if r := l.do(operatorKey, "GET", "/api/v1/tenants", nil); r.status != 200 || r.header.Get("Strict-Transport-Security") == "" {
		t.Errorf("%d %v", r.status, r.header)
	}
}

// An orderly stop finishes what runs and then serves nothing.
func TestStopFinishesRequests(t *testing.T) {
	t.Parallel()
	l := start(t)
	_, key := l.tenant("one")
	// A request whose body comes only after the hub was told to stop.
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const body = `{"name":"made while stopping"}`
	head := "POST /api/v1/api-keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + "\r\nContent-Length: 30\r\n\r\n"
	if _, err := conn.Write([]byte(head + body[:10])); err != nil {
		t.Fatal(err)
	}
	// Another one on its own connection: when it is answered, the first has arrived.
	l.must(200, key, "GET", "/api/v1/sources", nil, nil)
	stopped := make(chan struct{})
	go func() { l.stop(); close(stopped) }()
	testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.log.String(), "hub stops") }, "does not stop")
	if _, err := conn.Write([]byte(body[10:])); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 1024)
	n, err := conn.Read(answer)
	if err != nil || !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 201") {
		t.Errorf("the running request: %v %s", err, answer[:n])
	}
	<-stopped
	if _, err := l.try(key, "GET", "/healthz", nil); err == nil {
		t.Error("a stopped hub answers")
	}
}

// A request that does not end is cut off when the time is over.
func TestStopIsBounded(t *testing.T) {
	t.Parallel()
	l := start(t, func(c *hub.Config) { c.ShutdownTimeout = 200 * time.Millisecond })
	_, key := l.tenant("one")
	conn, err := net.Dial("tcp", strings.TrimPrefix(l.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	head := "POST /api/v1/api-keys HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key + "\r\nContent-Length: 30\r\n\r\n{"
	if _, err := conn.Write([]byte(head)); err != nil {
		t.Fatal(err)
	}
	l.must(200, key, "GET", "/api/v1/sources", nil, nil)
	l.stop()
}

func TestHousekeeping(t *testing.T) {
	t.Parallel()
	l := start(t)
	_, key := l.tenant("one")
	for _, name := range []string{"old", "new"} {
		r := l.do(key, "POST", "/api/v1/credentials", object{"kind": "source", "secret": object{"type": "password", "password": "x"}}, "Idempotency-Key", name)
		if r.status != 201 {
			t.Fatal(r.status)
		}
	}
	l.exec(`UPDATE idempotency_keys SET created_at = created_at - interval '25 hours' WHERE key = 'old'`)
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return l.count(`SELECT count(*) FROM idempotency_keys WHERE key = 'old'`) == 0
	}, "an old idempotency key is kept")
	if n := l.count(`SELECT count(*) FROM idempotency_keys`); n != 1 {
		t.Errorf("%d keys are left", n)
	}
}

// Several hubs share one catalog: what one does, the other sees at once.
func TestTwoHubs(t *testing.T) {
	t.Parallel()
	one := start(t)
	two := one.another()
	tenant, key := one.tenant("one")
	source := two.source(key, tenant, one.credential(key, tenant, "pw"))
	one.must(200, key, "GET", "/api/v1/sources/"+source, nil, nil)
	var made object
	one.must(201, key, "POST", "/api/v1/api-keys", object{"name": "n"}, &made)
	two.must(200, made.text("key"), "GET", "/api/v1/sources", nil, nil)
	one.must(204, key, "DELETE", "/api/v1/api-keys/"+made.id(), nil, nil)
	two.must(401, made.text("key"), "GET", "/api/v1/sources", nil, nil)
	one.stop()
	two.must(200, operatorKey, "POST", "/api/v1/tenants/"+tenant+"/export-key", nil, nil)
}

// The address that is not there stands for a machine that went away.
func TestNoCatalogAtStart(t *testing.T) {
	t.Parallel()
	l := &lab{t: t, db: "postgres://u:hunter2@127.0.0.1:1/x", redis: testenv.Redis(t)}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_, err := hub.New(ctx, l.config(func(c *hub.Config) { c.DatabaseURL = secret.New(l.db) }))
	if err == nil || !strings.Contains(err.Error(), "reach catalog") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("%v", err)
	}
}
