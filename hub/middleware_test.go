package hub

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestPlainHTTPIsForThisMachine(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	cases := []struct {
		remote  string
		allowed bool
		status  int
	}{
		{"127.0.0.1:5000", false, 204}, {"127.9.9.9:5000", false, 204}, {"[::1]:5000", false, 204},
		{"[::ffff:127.0.0.1]:5000", false, 204},
		{"10.0.0.1:5000", false, 403}, {"[fe80::1%eth0]:5000", false, 403}, {"192.0.2.1:5000", false, 403}, {"", false, 403}, {"@", false, 403},
		{"10.0.0.1:5000", true, 204},
	}
	for _, c := range cases {
		r := httptest.NewRequest(http.MethodGet, "http://localhost/", nil)
		r.RemoteAddr = c.remote
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		w := httptest.NewRecorder()
		refusePlaintext(c.allowed)(ok).ServeHTTP(w, r)
		if w.Code != c.status || w.Code == 403 && !strings.Contains(w.Body.String(), "plaintext_refused") {
			t.Errorf("%s, allowed %v: %d %s", c.remote, c.allowed, w.Code, w.Body)
		}
	}
}

func TestAPanicTellsNothing(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	handler := withRequestID(recoverPanics(slog.New(slog.NewJSONHandler(&log, nil)))(http.HandlerFunc(
		func(http.ResponseWriter, *http.Request) { panic("canary of a panic") })))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	body := w.Body.String()
	if w.Code != 500 || strings.Contains(body, "canary") || strings.Contains(body, "goroutine") || !strings.Contains(body, `"code":"internal"`) {
		t.Errorf("%d %s", w.Code, body)
	}
	if !strings.Contains(log.String(), "canary of a panic") || !strings.Contains(log.String(), w.Header().Get("X-Request-ID")) {
		t.Errorf("the log does not tell of it: %s", log.String())
	}
}
