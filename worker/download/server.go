// Package download is a worker's own listener: whoever has a ticket of the hub
// fetches restored files here, and lists what is in a snapshot.
//
// What it keeps to: a ticket is checked here and redeemed at the hub for every
// single transfer, and that is where the tenant's identity comes from; nothing
// is put down in clear; every file is held against its hash while it is sent,
// and a transfer that cannot be finished as announced is broken off and never
// ended as if it were whole.
package download

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"xvault/archive"
	"xvault/internal/job"
	"xvault/internal/loopback"
	"xvault/internal/secret"
	"xvault/internal/ticket"
	"xvault/store/blob"
)

// Config is what the listener stands on. All fields but those with a default are
// required.
type Config struct {
	// WorkerID is this worker; tickets of others are refused.
	WorkerID string
	// Identity is the worker's own, to which the hub seals tenants' identities.
	Identity secret.Text
	// Keys gives the public keys by which tickets are known.
	Keys func() []ed25519.PublicKey
	// Redeem asks the hub what a ticket is good for.
	Redeem func(context.Context, job.RedeemRequest) (job.RedeemResponse, error)
	// Store gives the storage, or why there is none.
	Store func() (blob.Store, error)
	// Budget bounds what all downloads together read ahead. Default: each has
	// memory of its own.
	Budget *archive.Budget
	// AllowPlainHTTP serves other machines without TLS, tickets and files readable
	// on the way. Without it plain HTTP is for this machine only.
	AllowPlainHTTP bool
	// Transfers is how many downloads run at once; those beyond it are told to
	// come again. Default 8.
	Transfers int
	// Stall is how long a reader may take for the next quarter of a megabyte.
	// Default 1 min.
	Stall time.Duration
	// Now is the clock. Default: time.Now.
	Now func() time.Time
	// Log takes what happens. Default: nothing is logged.
	Log *slog.Logger
}

// Server is the listener's handler.
type Server struct {
	cfg   Config
	mux   *http.ServeMux
	slots chan struct{} // of downloads
	lists chan struct{} // of listings
}

// New makes the handler.
func New(cfg Config) *Server {
	if cfg.Transfers <= 0 {
		cfg.Transfers = 8
	}
	if cfg.Stall <= 0 {
		cfg.Stall = time.Minute
	}
	if cfg.Now == nil {
		now := time.Now
		cfg.Now = now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		cfg: cfg, mux: http.NewServeMux(),
		slots: make(chan struct{}, cfg.Transfers), lists: make(chan struct{}, cfg.Transfers),
	}
	s.mux.HandleFunc("GET /download/{subject}", s.ticketed(ticket.Download, s.slots, s.download))
	s.mux.HandleFunc("GET /files/{subject}", s.ticketed(ticket.Files, s.lists, s.files))
	s.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte("{\"ok\":true}\n"))
	})
	s.mux.HandleFunc("/", s.other)
	return s
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	h.Set("Cache-Control", "private, no-store")
	// A ticket is all that counts, so a page from anywhere may use one.
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Content-Length, Content-Range, Content-Disposition, ETag, Accept-Ranges")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	} else if !s.cfg.AllowPlainHTTP && !loopback.Peer(r.RemoteAddr) {
		refuse(w, &refusal{http.StatusForbidden, "plaintext_refused", "This worker takes plain HTTP from its own machine only. Give it a certificate " +
			"(WORKER_TLS_CERT_FILE, WORKER_TLS_KEY_FILE), put a proxy that ends TLS beside it, or accept with WORKER_ALLOW_PLAIN_HTTP=true that files can be read on the way."})
		return
	}
	s.deadline(w)
	s.mux.ServeHTTP(w, r)
}

// deadline gives a reader time for the next piece.
func (s *Server) deadline(w http.ResponseWriter) {
	// A writer that knows no deadline is a test's.
	_ = http.NewResponseController(w).SetWriteDeadline(s.cfg.Now().Add(s.cfg.Stall))
}

func (s *Server) other(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		refuse(w, &refusal{http.StatusNotFound, "not_found", "There is no such path."})
	default:
		w.Header().Set("Allow", "GET, HEAD")
		refuse(w, &refusal{http.StatusMethodNotAllowed, "method_not_allowed", "Files are only fetched here."})
	}
}

// request is one that came with a good ticket.
type request struct {
	w    http.ResponseWriter
	r    *http.Request
	good job.RedeemResponse
	log  *slog.Logger
}

// ticketed serves what needs a ticket of that kind, named by the path and bound
// to it.
func (s *Server) ticketed(kind ticket.Kind, slots chan struct{}, serve func(*request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		t, text, err := s.ticket(kind, r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		select {
		case slots <- struct{}{}:
			defer func() { <-slots }()
		default:
			w.Header().Set("Retry-After", "5")
			refuse(w, &refusal{http.StatusServiceUnavailable, "busy", "As many downloads as this worker serves at once are running; try again in a moment."})
			return
		}
		good, err := s.cfg.Redeem(r.Context(), job.RedeemRequest{Ticket: text, Client: client(r)})
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		log := s.cfg.Log.With("ticket_id", t.ID, "snapshot_id", good.SnapshotID, "tenant_id", good.TenantID)
		if err := serve(&request{w, r, good, log}); err != nil {
			s.refuse(w, r, err)
		}
	}
}

// ticket reads the request's ticket. Everything that is wrong with one is told
// in the same words.
func (s *Server) ticket(kind ticket.Kind, r *http.Request) (ticket.Ticket, string, error) {
	texts := r.URL.Query()["ticket"]
	if len(texts) != 1 {
		return ticket.Ticket{}, "", errTicket
	}
	t, err := ticket.Open(s.cfg.Keys(), texts[0])
	// The id is compared as text: it has other spellings.
	if err != nil || t.Kind != kind || t.Worker != s.cfg.WorkerID || t.Subject.String() != r.PathValue("subject") {
		return ticket.Ticket{}, "", errTicket
	}
	return t, texts[0], nil
}

// refuse answers with what an error means, unless an answer has begun.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, err error) {
	ref := refusalOf(err)
	attrs := []any{"status", ref.status, "code", ref.code, "client", client(r), "error", err}
	switch {
	case errors.Is(err, context.Canceled):
		s.cfg.Log.Debug("someone left before an answer", attrs...)
	case ref.status >= http.StatusInternalServerError:
		s.cfg.Log.Error("a download failed", attrs...)
	default:
		s.cfg.Log.Info("a download was refused", attrs...)
	}
	refuse(w, ref)
}
