package api_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"

	"xvault/connectors"
	"xvault/hub/api"
	"xvault/hub/auth"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// Bad keys from one address are slowed down; a good one from there is not, and
// nor is a call that brings none.
func TestBadKeysAreSlowedDown(t *testing.T) {
	t.Parallel()
	db, err := catalog.Open(t.Context(), catalog.Config{URL: secret.New(testenv.Catalog(t))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	const good = "an-operators-key-of-more-than-32-characters"
	log := slog.New(slog.DiscardHandler)
	authenticator, err := auth.New(db, secret.New(good), log)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	router := chi.NewRouter()
	api.Mount(router, api.Config{
		DB: db, Auth: authenticator, Guesses: auth.NewGuesses(2, func() time.Time { return now }), Log: log,
		SourceType: func(string) (connectors.Type, bool) { return connectors.Type{}, false },
	})
	call := func(key string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, api.Prefix+"/tenants", nil)
		if key != "" {
			r.Header.Set("Authorization", "Bearer "+key)
		}
		w := httptest.NewRecorder()
		router.ServeHTTP(w, r)
		return w
	}
	want := func(key string, status int) *httptest.ResponseRecorder {
		t.Helper()
		w := call(key)
		if w.Code != status {
			t.Errorf("with %q: %d %s, want %d", key, w.Code, w.Body, status)
		}
		return w
	}
	want("", 401)
	want("bad", 401)
	want("xv_0190000000007000800000000000000f_abc", 401)
	w := want("bad", 429)
	if wait, err := strconv.Atoi(w.Header().Get("Retry-After")); err != nil || wait != 60 {
		t.Errorf("Retry-After: %q", w.Header().Get("Retry-After"))
	}
	want(good, 200)
	want("", 401)
	want("bad", 429)
	now = now.Add(time.Minute)
	want("bad", 401)
}
