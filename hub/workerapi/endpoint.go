package workerapi

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"

	"xvault/hub/problem"
	"xvault/store/catalog"
)

// body makes an endpoint whose request is JSON of at most limit bytes.
func body[Req, Res any](a *api, limit int64, do func(context.Context, *call, Req) (Res, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var req Req
		if err := decode(w, r, limit, &req); err != nil {
			a.refuse(w, r, err)
			return
		}
		res, err := do(r.Context(), callOf(r), req)
		a.answer(w, r, res, err)
	}
}

// noBody makes an endpoint that looks at the path only.
func noBody[Res any](a *api, do func(context.Context, *call) (Res, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		res, err := do(r.Context(), callOf(r))
		a.answer(w, r, res, err)
	}
}

// done is the answer of calls that have nothing to say but yes.
type done struct{}

func callOf(r *http.Request) *call {
	c, _ := callerOf(r)
	return &call{worker: c.worker, token: catalog.HashToken(c.bearer), r: r}
}

// pathID reads {id}. What is no id names nothing.
func (c *call) pathID() (uuid.UUID, error) {
	id, err := uuid.Parse(chi.URLParam(c.r, "id"))
	if err != nil || id == uuid.Nil {
		return uuid.Nil, catalog.ErrNotFound
	}
	return id, nil
}

func (a *api) answer(w http.ResponseWriter, r *http.Request, res any, err error) {
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	out, err := json.Marshal(res)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	// A worker that is gone asks again.
	_, _ = w.Write(append(out, '\n'))
}

// decode reads one JSON value. Its errors never quote the body, which may hold
// a secret.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) error {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	var network net.Error
	switch {
	case errors.As(err, &tooLarge):
		return problem.New(http.StatusRequestEntityTooLarge, problem.TooLarge, "The body is larger than this call takes.")
	case errors.As(err, &network) && network.Timeout():
		return problem.New(http.StatusRequestTimeout, problem.RequestTimeout, "The body did not arrive in time.")
	case err != nil:
		return problem.New(http.StatusBadRequest, problem.BadRequest, "The body did not arrive whole.")
	}
	err = json.Unmarshal(raw, into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return problem.Field("body."+wrongType.Field, "it has the wrong type")
	case err != nil:
		return problem.New(http.StatusBadRequest, problem.BadRequest, "The body is not the JSON that this call takes.")
	}
	return nil
}

// callAttrs names request, worker and job for the log.
func callAttrs(r *http.Request) []slog.Attr {
	attrs := []slog.Attr{slog.String("request_id", requestID(r)), slog.String("path", r.URL.Path)}
	if c, ok := callerOf(r); ok {
		attrs = append(attrs, slog.String("worker_id", c.worker.ID))
	}
	return attrs
}

func requestID(r *http.Request) string { return middleware.GetReqID(r.Context()) }

func remoteAddr(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
