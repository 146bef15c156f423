package api

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"

	"xvault/hub/auth"
	"xvault/hub/problem"
	"xvault/store/catalog"
)

// IdempotencyHeader is the header of a POST that may be repeated. Its key and
// what the request creates are committed in one transaction, so that neither
// two requests at once nor a hub that dies before its answer can create twice.
const IdempotencyHeader = "Idempotency-Key"

const (
	maxIdempotencyKey = 255
	maxBody           = 1 << 20
)

type idempotencyKey struct{}

func idempotencyFrom(ctx context.Context) *catalog.Idempotency {
	i, _ := ctx.Value(idempotencyKey{}).(*catalog.Idempotency)
	return i
}

// idempotent gives the first answer again where the request's key was used
// before. Only creations (201) whose answer holds no secret take part; refused
// requests leave no trace and may be repeated with the same key.
func (s *server) idempotent(api huma.API) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		key := ctx.Header(IdempotencyHeader)
		op := ctx.Operation()
		if key == "" || !takesIdempotencyKey(op) {
			next(ctx)
			return
		}
		r, w := humachi.Unwrap(ctx)
		if len(key) > maxIdempotencyKey || checkNames(named{"", key}) != nil {
			problem.Write(w, problem.Field("header."+IdempotencyHeader, fmt.Sprintf("it must be 1 to %d printable characters", maxIdempotencyKey)))
			return
		}
		i, err := idempotencyOf(r, key)
		if err != nil {
			problem.Write(w, problem.New(http.StatusBadRequest, problem.BadRequest, "The body could not be read."))
			return
		}
		c := &idempotentCall{s: s, api: api, r: r, w: w, key: i}
		if !c.replay() {
			c.run(op, next)
		}
	}
}

func takesIdempotencyKey(op *huma.Operation) bool {
	return op.DefaultStatus == http.StatusCreated && op.Metadata[metaSecretAnswer] != true
}

// idempotencyOf reads the body for its hash and puts it back. The hash is keyed
// with the caller's own key, which the catalog does not hold: nobody can guess
// a low-entropy secret in the body from it.
func idempotencyOf(r *http.Request, key string) (*catalog.Idempotency, error) {
	head, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		return nil, err
	}
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	p := auth.From(r.Context())
	mac := hmac.New(sha256.New, []byte(p.Bearer.Reveal()))
	_, _ = fmt.Fprintf(mac, "%s %s\n", r.Method, r.URL.RequestURI()) // a hash never fails
	_, _ = mac.Write(head)
	return &catalog.Idempotency{Principal: p.KeyID, Key: key, RequestHash: mac.Sum(nil)}, nil
}

type idempotentCall struct {
	s   *server
	api huma.API
	r   *http.Request
	w   http.ResponseWriter
	key *catalog.Idempotency
}

// replay gives the earlier answer, or the reason why there can be none. It
// reports false where the request is the first with its key.
func (c *idempotentCall) replay() bool {
	answer, err := c.s.db.EarlierAnswer(c.r.Context(), c.key)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return false
	case err != nil:
		problem.Write(c.w, problem.From(c.s.problem(c.r.Context(), err)))
	case answer.Status == 0:
		c.rebuild(answer)
	default:
		c.w.Header().Set("Content-Type", "application/json")
		c.w.Header().Set("Idempotency-Replayed", "true")
		c.w.WriteHeader(answer.Status)
		_, _ = c.w.Write(answer.Body) // a client that is gone is no error of ours
	}
	return true
}

// run does the request and keeps its answer.
func (c *idempotentCall) run(op *huma.Operation, next func(huma.Context)) {
	ctx := context.WithValue(c.r.Context(), idempotencyKey{}, c.key)
	rec := newRecorder()
	next(humachi.NewContext(op, c.r.WithContext(ctx), rec))
	if c.key.Repeated() && c.replay() {
		return // another request with the key was faster by a hair
	}
	if rec.status != http.StatusCreated {
		rec.send(c.w)
		return
	}
	if err := c.s.db.SaveAnswer(ctx, c.key, rec.status, rec.body.Bytes()); err != nil {
		// The key and the object are committed; a repetition is answered from them.
		c.s.log.WarnContext(ctx, "cannot keep an idempotent answer", "error", err, "request_id", requestID(ctx))
	}
	rec.send(c.w)
}

// rebuild answers from the object that the first request made, when that
// request's own answer was lost.
func (c *idempotentCall) rebuild(answer catalog.Answer) {
	collections := map[string]string{"tenant": "/tenants/", "credential": "/credentials/", "source": "/sources/", "job": "/jobs/", "schedule": "/schedules/",
		"notification_channel": "/notification-channels/"}
	collection, ok := collections[answer.ObjectType]
	if !ok {
		problem.Write(c.w, problem.New(http.StatusConflict, "idempotency_answer_lost",
			"A request with this Idempotency-Key was done, but its answer was lost; look for what it made."))
		return
	}
	// Without the route of this request, so that the router finds its own.
	ctx := context.WithValue(c.r.Context(), chi.RouteCtxKey, nil)
	get, err := http.NewRequestWithContext(ctx, http.MethodGet, collection+answer.ObjectID, nil)
	if err != nil {
		problem.Write(c.w, problem.From(c.s.problem(ctx, err)))
		return
	}
	get.Header.Set("Authorization", c.r.Header.Get("Authorization"))
	get.RemoteAddr = c.r.RemoteAddr
	rec := newRecorder()
	c.api.Adapter().ServeHTTP(rec, get)
	if rec.status == http.StatusOK {
		rec.status = http.StatusCreated
	}
	rec.Header().Set("Idempotency-Replayed", "true")
	rec.send(c.w)
}

// recorder holds an answer back until it is complete. Answers of creations are
// single objects, so it needs no bound.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func newRecorder() *recorder { return &recorder{header: http.Header{}, status: http.StatusOK} }

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) { r.status = status }

func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func (r *recorder) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), r.header)
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body.Bytes()) // a client that is gone is no error of ours
}
