package hubclient_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/worker/hubclient"
)

func TestMain(m *testing.M) { testenv.Main(m) }

const token = "worker-token-3f9c"

func clientOf(t *testing.T, h http.HandlerFunc) *hubclient.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := hubclient.New(hubclient.Config{BaseURL: server.URL + "/some/prefix/", Timeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	c.SetToken(secret.New(token))
	return c
}

func TestCalls(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	var got string
	c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = fmt.Sprintf("%s %s %s %s", r.Method, r.URL.Path, r.Header.Get("Authorization"), body)
		// Fields that this version does not know are a newer hub's.
		_, _ = io.WriteString(w, `{"token":"t2","lease_ms":60000,"pinned":true,"drain":true,"attempt":3,"unknown":["`+id.String()+`"],"newer":{}}`)
	})
	ctx := t.Context()
	tests := []struct {
		name string
		do   func() error
		want string // what the request has in it
	}{
		{"register", func() error {
			res, err := c.Register(ctx, secret.New("join"), job.RegisterRequest{WorkerID: "w1"})
			return expect(err, res.Token == "t2")
		}, `POST /some/prefix/internal/workers/register Bearer join {"worker_id":"w1"`},
		{"heartbeat", func() error {
			res, err := c.Heartbeat(ctx, job.Heartbeat{Status: "online"})
			return expect(err, res.Drain)
		}, "POST /some/prefix/internal/workers/heartbeat Bearer " + token + ` {"status":"online"`},
		{"reconcile", func() error {
			res, err := c.Reconcile(ctx, job.ReconcileRequest{Snapshots: []uuid.UUID{id}})
			return expect(err, len(res.Unknown) == 1)
		}, "/internal/workers/reconcile"},
		{"claim", func() error {
			res, err := c.Claim(ctx, job.ClaimRequest{JobID: id, ClaimID: id})
			return expect(err, res.Attempt == 3)
		}, "/internal/jobs/claim"},
		{"renew", func() error {
			res, err := c.Renew(ctx, id, job.RenewRequest{Attempt: 3})
			return expect(err, res.LeaseMS == 60000)
		}, "/internal/jobs/" + id.String() + "/renew"},
		{"host-key", func() error {
			res, err := c.PinHostKey(ctx, id, job.HostKeyRequest{Attempt: 3})
			return expect(err, res.Pinned)
		}, "/internal/jobs/" + id.String() + "/host-key"},
		{"finalize", func() error { return c.Finalize(ctx, id, 3) }, "/internal/jobs/" + id.String() + "/finalize Bearer " + token + ` {"attempt":3}`},
		{"release", func() error { return c.Release(ctx, id, 3) }, "/internal/jobs/" + id.String() + "/release Bearer " + token + ` {"attempt":3}`},
		{"complete", func() error { return c.Complete(ctx, id, job.CompleteRequest{Attempt: 3, Status: job.Failed}) }, `/complete Bearer ` + token + ` {"attempt":3,"status":"failed"}`},
	}
	for _, tt := range tests {
		if err := tt.do(); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: request %q, want %q in it", tt.name, got, tt.want)
		}
	}
}

func expect(err error, good bool) error {
	if err == nil && !good {
		return fmt.Errorf("the answer was not decoded")
	}
	return err
}

// TestWhatAnswersMean: what a worker does depends on these.
func TestWhatAnswersMean(t *testing.T) {
	t.Parallel()
	const proxyPage = "<html>Bad gateway</html>"
	tests := []struct {
		name                                                    string
		status                                                  int
		code                                                    string // empty: no problem of a hub
		transient, lost, nothing, superseded, unauthorized, key bool
	}{
		{name: "superseded", status: 401, code: job.RefusedSuperseded, superseded: true, unauthorized: true},
		{name: "removed", status: 401, code: job.RefusedUnauthorized, unauthorized: true},
		{name: "forbidden", status: 403, code: "forbidden"},
		{name: "invalid", status: 422, code: "validation_failed"},
		{name: "fenced", status: 409, code: job.RefusedLeaseLost, lost: true, nothing: true},
		{name: "not claimable", status: 409, code: job.RefusedNotClaimable, nothing: true},
		{name: "gone", status: 410, code: job.RefusedGone, lost: true, nothing: true},
		{name: "not found", status: 404, code: "not_found", lost: true, nothing: true},
		{name: "another host key", status: 409, code: job.RefusedHostKey, nothing: true, key: true},
		{name: "unavailable", status: 503, code: "unavailable", transient: true},
		{name: "internal", status: 500, code: "internal", transient: true},
		{name: "too many", status: 429, code: "rate_limited", transient: true},
		// What stands between worker and hub must never end a job, nor the worker.
		{name: "a proxy's 401", status: 401, transient: true},
		{name: "a proxy's 404", status: 404, transient: true},
		{name: "a proxy's 409", status: 409, transient: true},
		{name: "a proxy's 502", status: 502, transient: true},
		{name: "a redirect", status: 302, transient: true},
		{name: "a page instead of an answer", status: 200, transient: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := clientOf(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/elsewhere") {
					t.Error("a redirect was followed, token and all")
				}
				body := proxyPage
				if tt.code != "" {
					w.Header().Set("Content-Type", "application/problem+json; charset=utf-8")
					body = fmt.Sprintf(`{"status":%d,"code":%q,"detail":"So it is.","errors":[{"location":"body.x","message":"wrong"}]}`, tt.status, tt.code)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(tt.status)
				_, _ = io.WriteString(w, body)
			})
			_, err := c.Renew(t.Context(), uuid.New(), job.RenewRequest{})
			if err == nil || c.Finalize(t.Context(), uuid.New(), 1) == nil {
				t.Fatal("no error")
			}
			check := func(name string, got, want bool) {
				if got != want {
					t.Errorf("%s: %v, of %v", name, got, err)
				}
			}
			check("transient", hubclient.Transient(err), tt.transient)
			check("lease lost", hubclient.LeaseLost(err), tt.lost)
			check("nothing to do", hubclient.NothingToDo(err), tt.nothing)
			check("superseded", hubclient.Superseded(err), tt.superseded)
			check("unauthorized", hubclient.Unauthorized(err), tt.unauthorized)
			check("host key", hubclient.HostKeyRefused(err), tt.key)
			if strings.Contains(err.Error(), token) || strings.Contains(err.Error(), proxyPage) {
				t.Errorf("the error says too much: %v", err)
			}
			if tt.code != "" && (!strings.Contains(err.Error(), "So it is.") || !strings.Contains(err.Error(), "body.x")) {
				t.Errorf("the error says too little: %v", err)
			}
		})
	}
}

func TestNoAnswer(t *testing.T) {
	t.Parallel()
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"token":"t`)
		})
		if _, err := c.Heartbeat(t.Context(), job.Heartbeat{}); !hubclient.Transient(err) {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("too long", func(t *testing.T) {
		t.Parallel()
		c := clientOf(t, func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"x":"`)
			chunk := strings.Repeat("x", 1<<20)
			for range 20 {
				if _, err := io.WriteString(w, chunk); err != nil {
					return
				}
			}
		})
		if _, err := c.Heartbeat(t.Context(), job.Heartbeat{}); err == nil || !strings.Contains(err.Error(), "larger") {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("nobody there", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.NotFoundHandler())
		server.Close()
		c, err := hubclient.New(hubclient.Config{BaseURL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if err := c.Finalize(t.Context(), uuid.New(), 1); err == nil || hubclient.Transient(err) {
			t.Errorf("a call without a token: %v", err)
		}
		c.SetToken(secret.New(token))
		if err := c.Finalize(t.Context(), uuid.New(), 1); !hubclient.Transient(err) {
			t.Errorf("error: %v", err)
		}
	})
	t.Run("the caller gave up", func(t *testing.T) {
		t.Parallel()
		c := clientOf(t, func(http.ResponseWriter, *http.Request) {})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := c.Finalize(ctx, uuid.New(), 1); err == nil {
			t.Error("no error")
		}
	})
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		plain bool
		good  bool
	}{
		"https://hub.example.net":             {good: true},
		"https://hub.example.net/xvault":      {good: true},
		"http://127.0.0.1:8080":               {good: true},
		"http://[::1]:8080":                   {good: true},
		"http://localhost:8080":               {good: true},
		"http://127.8.8.8":                    {good: true},
		"http://hub.example.net":              {},
		"http://localhost.example.net":        {},
		"http://10.0.0.1":                     {},
		"http://hub.internal:8080":            {plain: true, good: true},
		"ftp://hub.example.net":               {plain: true},
		"hub.example.net":                     {},
		"":                                    {},
		"https://user:canary@hub.example.net": {},
		"https://hub.example.net/?canary=1":   {},
		"https://hub.example.net:canary":      {},
	}
	for address, tt := range tests {
		c, err := hubclient.New(hubclient.Config{BaseURL: address, AllowPlainHTTP: tt.plain})
		if (err == nil) != tt.good {
			t.Errorf("%q: %v", address, err)
		}
		if err != nil && strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: the error quotes it: %v", address, err)
		}
		if c != nil {
			c.Close()
		}
	}
}
