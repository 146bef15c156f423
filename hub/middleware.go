package hub

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"xvault/hub/problem"
	"xvault/internal/loopback"
	"xvault/store/catalog"
)

const requestIDHeader = "X-Request-ID"

var saneRequestID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// withRequestID takes the caller's request id where it is sane, or makes one,
// and gives it back.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get(requestIDHeader)
		if !saneRequestID.MatchString(id) {
			id = catalog.NewID().String()
		}
		w.Header().Set(requestIDHeader, id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), middleware.RequestIDKey, id)))
	})
}

// observe logs and measures each request when it has ended. Query strings are
// not logged: whoever puts a secret there is not punished twice.
func observe(log *slog.Logger, m *metrics) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			start := time.Now() //nolint:forbidigo // measures, decides nothing
			ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
			defer func() {
				took := time.Since(start)
				status := ww.Status()
				if status == 0 {
					status = http.StatusOK
				}
				route := chi.RouteContext(r.Context()).RoutePattern()
				m.observe(r.Method, route, status, took)
				log.LogAttrs(r.Context(), levelOf(r, status), "request", requestAttrs(r, route, status, took)...)
			}()
			next.ServeHTTP(ww, r)
		})
	}
}

func levelOf(r *http.Request, status int) slog.Level {
	switch {
	case status >= http.StatusInternalServerError:
		return slog.LevelError
	case r.URL.Path == "/healthz", r.URL.Path == "/readyz", r.URL.Path == "/metrics", strings.HasPrefix(r.URL.Path, "/internal/"):
		return slog.LevelDebug // many and regular; what matters in them is logged where it happens
	}
	return slog.LevelInfo
}

func requestAttrs(r *http.Request, route string, status int, took time.Duration) []slog.Attr {
	attrs := []slog.Attr{
		slog.String("request_id", middleware.GetReqID(r.Context())),
		slog.String("method", r.Method),
		slog.String("route", route),
		slog.Int("status", status),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000),
		slog.String("remote_addr", r.RemoteAddr),
	}
	if id := chi.URLParam(r, "id"); id != "" {
		name := "object_id"
		if strings.Contains(route, "/jobs/{id}") {
			name = "job_id"
		}
		attrs = append(attrs, slog.String(name, id))
	}
	return attrs
}

// recoverPanics answers a panic with a problem that tells nothing of it.
func recoverPanics(log *slog.Logger) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() {
				v := recover()
				if v == nil {
					return
				}
				if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(v)
				}
				log.ErrorContext(r.Context(), "panic in a request", "panic", v, "stack", string(debug.Stack()),
					"request_id", middleware.GetReqID(r.Context()))
				problem.Write(w, problem.From(errors.New("panic")))
			}()
			next.ServeHTTP(w, r)
		})
	}
}

// securityHeaders suit an API: nothing of it is a page, but for the
// documentation, which sets its own policy.
func securityHeaders(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if r.TLS != nil {
			h.Set("Strict-Transport-Security", "max-age=31536000")
		}
		next.ServeHTTP(w, r)
	})
}

// refusePlaintext serves plain HTTP to this machine only, unless the operator
// took the risk.
func refusePlaintext(allowed bool) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS == nil && !allowed && !loopback.Peer(r.RemoteAddr) {
				problem.Write(w, problem.New(http.StatusForbidden, "plaintext_refused",
					"This hub takes plain HTTP from its own machine only. Give it a certificate (HUB_TLS_CERT_FILE, HUB_TLS_KEY_FILE), "+
						"put a proxy that ends TLS beside it, or accept with HUB_ALLOW_PLAIN_HTTP=true that keys can be read on the way."))
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
