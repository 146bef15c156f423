package apiclient_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"xvault/internal/apiclient"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// The client against a real hub is tested with the commands that use it; here
// is what stands between a client and a hub.

func TestAddresses(t *testing.T) {
	t.Parallel()
	for _, server := range []string{
		"https://backup.example.com", "https://example.com:8443/base/", "http://127.0.0.1:8080", "http://localhost", "http://[::1]:8080",
	} {
		if _, err := apiclient.New(apiclient.Config{Server: server}); err != nil {
			t.Errorf("%s: %v", server, err)
		}
	}
	for server, want := range map[string]string{
		"":                             "not the address",
		"backup.example.com":           "not the address",
		"ftp://example.com":            "not the address",
		"https://user:pw@example.com":  "more than",
		"https://example.com/?key=x":   "more than",
		"http://backup.example.com":    "in clear",
		"http://10.0.0.1":              "in clear",
		"http://127.0.0.1.example.com": "in clear",
	} {
		if _, err := apiclient.New(apiclient.Config{Server: server}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v lacks %q", server, err, want)
		}
	}
	if _, err := apiclient.New(apiclient.Config{Server: "http://10.0.0.1", AllowPlainHTTP: true}); err != nil {
		t.Errorf("plain HTTP that is allowed: %v", err)
	}
}

func client(t *testing.T, h http.HandlerFunc) *apiclient.Client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	c, err := apiclient.New(apiclient.Config{Server: server.URL, Key: secret.New("the-key")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestTheKeyDoesNotFollowARedirect(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(other.Close)
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	if _, err := c.Tenants().Get(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "is this the address of a hub") {
		t.Errorf("a redirect: %v", err)
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

func TestAnswersThatAreNotAHubs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a proxy's error page": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.WriteHeader(http.StatusBadGateway)
		}, "502"},
		"a problem that is none": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusConflict)
			_, _ = w.Write([]byte("<html>"))
		}, "409"},
		"no JSON":  {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }, "decode"},
		"too much": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 33<<20)) }, "larger than"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = w.Write([]byte("{"))
		}, "cannot reach"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := client(t, c.answer).Tenants().Get(t.Context(), "x")
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v lacks %q", err, c.want)
			}
			if strings.Contains(err.Error(), "the-key") {
				t.Error("the error shows the key")
			}
		})
	}
}

func TestAnIDCannotLeadElsewhere(t *testing.T) {
	t.Parallel()
	var asked atomic.Value
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.EscapedPath())
		_, _ = w.Write([]byte("{}"))
	})
	if _, err := c.Tenants().Get(t.Context(), "../workers/w1?x=1#y"); err != nil {
		t.Fatal(err)
	}
	if got := asked.Load(); got != "/api/v1/tenants/..%2Fworkers%2Fw1%3Fx=1%23y" {
		t.Errorf("asked for %v", got)
	}
}

func TestListsGoThroughAllPages(t *testing.T) {
	t.Parallel()
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		answer := `{"items":[{"id":"a"},{"id":"b"}],"next_cursor":"more"}`
		if r.URL.Query().Get("cursor") == "more" {
			answer = `{"items":[{"id":"c"}],"next_cursor":""}`
		}
		_, _ = w.Write([]byte(answer))
	})
	for limit, want := range map[int]int{0: 3, 1: 1, 2: 2, 3: 3, 10: 3} {
		items, err := c.Tenants().List(t.Context(), nil, limit)
		if err != nil || len(items) != want {
			t.Errorf("limit %d: %d items, error %v, want %d", limit, len(items), err, want)
		}
	}
}
