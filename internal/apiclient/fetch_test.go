package apiclient_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xvault/internal/apiclient"
)

// source serves bytes as a worker does, and breaks as it is told.
type source struct {
	content []byte
	calls   atomic.Int64
	// breakAt gives how many bytes the nth answer sends before it breaks;
	// negative: all.
	breakAt func(n int64) int
	etag    func(n int64) string
	refuse  func(n int64) int // a status; 0: none
}

func (s *source) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.calls.Add(1)
	if s.refuse != nil {
		if status := s.refuse(n); status != 0 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, `{"title":"t","status":0,"detail":"no","code":"ticket_revoked"}`)
			return
		}
	}
	if s.etag != nil {
		w.Header().Set("ETag", s.etag(n))
	}
	limit := -1
	if s.breakAt != nil {
		limit = s.breakAt(n)
	}
	http.ServeContent(&breaking{w, limit}, r, "x", time.Time{}, bytes.NewReader(s.content))
}

// breaking cuts the connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left < 0 {
		return b.ResponseWriter.Write(p)
	}
	n := min(b.left, len(p))
	_, _ = b.ResponseWriter.Write(p[:n])
	b.left -= n
	if b.left == 0 {
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return n, nil
}

func fetch(t *testing.T, s *source) ([]byte, error) {
	t.Helper()
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	f := &apiclient.Fetcher{Pause: time.Millisecond, Tries: 4}
	stream, err := f.Open(t.Context(), server.URL+"/download/x?ticket=canary-ticket")
	if err != nil {
		return nil, err
	}
	defer func() { _ = stream.Close() }()
	return io.ReadAll(stream)
}

func always(etag string) func(int64) string { return func(int64) string { return etag } }

func TestFetchIsTakenUpAgain(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("0123456789"), 100_000)
	for what, s := range map[string]*source{
		"nothing breaks":   {},
		"half-way":         {breakAt: func(n int64) int { return []int{0, 500_000, -1}[min(n, 2)] }},
		"again and again":  {breakAt: func(int64) int { return 70_001 }},
		"before the first": {breakAt: func(n int64) int { return []int{0, 1, 1, -1}[min(n, 3)] }},
		"refused for now":  {breakAt: func(n int64) int { return []int{0, 100, -1}[min(n, 2)] }, refuse: func(n int64) int { return []int{0, 0, 503, 503, 0}[min(n, 4)] }},
	} {
		s.content, s.etag = content, always(`"v1"`)
		got, err := fetch(t, s)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%s: %d of %d bytes, %v", what, len(got), len(content), err)
		}
	}
}

func TestFetchThatCannotBeTakenUp(t *testing.T) {
	t.Parallel()
	content := bytes.Repeat([]byte("x"), 100_000)
	half := func(n int64) int { return []int{0, 50_000, -1}[min(n, 2)] }
	for what, c := range map[string]struct {
		s    *source
		want string
	}{
		"another file now":  {&source{breakAt: half, etag: func(n int64) string { return []string{"", `"v1"`, `"v2"`}[min(n, 2)] }}, "not the same"},
		"no ETag":           {&source{breakAt: half}, "cannot be taken up"},
		"revoked meanwhile": {&source{breakAt: half, etag: always(`"v"`), refuse: func(n int64) int { return []int{0, 0, 410}[min(n, 2)] }}, "no"},
		"never a byte":      {&source{breakAt: func(n int64) int { return []int{0, 50_000, 0}[min(n, 2)] }, etag: always(`"v"`), refuse: func(n int64) int { return []int{0, 0, 503}[min(n, 2)] }}, "no"},
	} {
		c.s.content = content
		got, err := fetch(t, c.s)
		if err == nil || !strings.Contains(err.Error(), c.want) || len(got) != 50_000 {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
		if err != nil && strings.Contains(err.Error(), "canary-ticket") {
			t.Errorf("%s: the error shows the ticket: %v", what, err)
		}
	}
}

func TestFetchOfRefusals(t *testing.T) {
	t.Parallel()
	for status, calls := range map[int]int64{403: 1, 404: 1, 410: 1, 500: 1, 302: 1, 503: 4, 429: 4} {
		s := &source{refuse: func(int64) int { return status }}
		_, err := fetch(t, s)
		if p, ok := errors.AsType[*apiclient.Problem](err); !ok || p.Status != status || s.calls.Load() != calls {
			t.Errorf("%d: %v after %d calls", status, err, s.calls.Load())
		}
	}
	f := &apiclient.Fetcher{}
	if _, err := f.Open(t.Context(), "http://backup.example.net/download/x"); err == nil || !strings.Contains(err.Error(), "in clear") {
		t.Errorf("plain HTTP over a network: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (&apiclient.Fetcher{Tries: 2}).Open(ctx, "http://127.0.0.1:1/x"); err == nil {
		t.Error("it goes on after it was told to stop")
	}
}
