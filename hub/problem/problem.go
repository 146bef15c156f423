// Package problem is how the hub says no: application/problem+json (RFC 9457)
// with a stable code. One function, From, turns every error of the hub into a
// problem; what it does not know becomes an "internal" one without a cause, so
// that no SQL, path, stack or secret ever reaches a client.
package problem

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"xvault/store/catalog"
)

// ContentType is the media type of every problem.
const ContentType = "application/problem+json"

// Codes that are not a catalog.Conflict's own. They are stable.
const (
	BadRequest       = "bad_request"
	Unauthorized     = "unauthorized"
	Forbidden        = "forbidden"
	NotFound         = "not_found"
	MethodNotAllowed = "method_not_allowed"
	NotAcceptable    = "not_acceptable"
	RequestTimeout   = "request_timeout"
	Conflict         = "conflict"
	Gone             = "gone"
	TooLarge         = "body_too_large"
	UnsupportedMedia = "unsupported_media_type"
	TooManyRequests  = "too_many_requests"
	Invalid          = "validation_failed"
	Internal         = "internal"
	Unavailable      = "unavailable"
)

// FieldError is one thing that is wrong with a request.
type FieldError struct {
	Location string `json:"location,omitempty" doc:"Where, as in body.config.paths[1], query.limit or path.id"`
	Message  string `json:"message" doc:"What is wrong there"`
	Value    any    `json:"value,omitempty" doc:"What was sent there; never a secret"`
}

// Problem is an RFC 9457 problem with a stable code.
type Problem struct { //nolint:errname // the RFC's word
	Title  string       `json:"title" doc:"The status in words"`
	Status int          `json:"status" doc:"The HTTP status"`
	Detail string       `json:"detail" doc:"What happened and what to do"`
	Code   string       `json:"code" doc:"A stable name for programs, such as source_in_use"`
	Errors []FieldError `json:"errors,omitempty" doc:"The fields that are wrong"`

	cause error
}

// New makes a problem.
func New(status int, code, detail string) *Problem {
	return &Problem{Title: http.StatusText(status), Status: status, Detail: detail, Code: code}
}

// Validation makes a 422 that names fields.
func Validation(errs ...FieldError) *Problem {
	p := New(http.StatusUnprocessableEntity, Invalid, "The request is not valid; errors names each field.")
	p.Errors = errs
	return p
}

// Field makes a 422 that names one field.
func Field(location, message string) *Problem {
	return Validation(FieldError{Location: location, Message: message})
}

// Denied is a 403.
func Denied(detail string) *Problem { return New(http.StatusForbidden, Forbidden, detail) }

// Error implements error.
func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// Unwrap gives the cause, which is for the log only.
func (p *Problem) Unwrap() error { return p.cause }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is the media type of the problem.
func (p *Problem) ContentType(string) string { return ContentType }

// From turns any error into a problem.
func From(err error) *Problem {
	var known *Problem
	var conflict *catalog.Conflict
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, catalog.ErrNotFound):
		return New(http.StatusNotFound, NotFound, "There is no such object.")
	case errors.As(err, &conflict):
		return New(http.StatusConflict, conflict.Code, conflict.Message)
	case errors.Is(err, catalog.ErrRepeated):
		return New(http.StatusConflict, "idempotency_in_progress", "A request with this Idempotency-Key is being done; repeat it for its answer.")
	case errors.Is(err, catalog.ErrBadCursor):
		return Field("query.cursor", "it is not a cursor of this API; use next_cursor of the page before")
	case errors.Is(err, catalog.ErrBadText):
		return New(http.StatusUnprocessableEntity, Invalid, "A text in the request holds characters that cannot be stored, such as NUL.")
	case errors.Is(err, catalog.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		p := New(http.StatusServiceUnavailable, Unavailable, "The catalog cannot be reached just now; try again.")
		p.cause = err
		return p
	}
	p := New(http.StatusInternalServerError, Internal, "Something went wrong in the hub; its log tells more under this request's id.")
	p.cause = err
	return p
}

// Write sends the problem.
func Write(w http.ResponseWriter, p *Problem) {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // it is JSON, and says nosniff
	if err := encoder.Encode(p); err != nil {
		// The values are left out rather than the problem.
		body.Reset()
		_, _ = fmt.Fprintf(&body, "{\"title\":%q,\"status\":%d,\"detail\":\"\",\"code\":%q}\n", p.Title, p.Status, p.Code)
	}
	w.Header().Set("Content-Type", ContentType)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="xvault"`)
	}
	w.WriteHeader(p.Status)
	// A client that is gone is no error of ours.
	_, _ = w.Write(body.Bytes())
}

// CodeOf names a status that has no code of its own.
func CodeOf(status int) string {
	codes := map[int]string{
		http.StatusBadRequest: BadRequest, http.StatusUnauthorized: Unauthorized, http.StatusForbidden: Forbidden,
		http.StatusNotFound: NotFound, http.StatusMethodNotAllowed: MethodNotAllowed, http.StatusNotAcceptable: NotAcceptable,
		http.StatusRequestTimeout: RequestTimeout, http.StatusConflict: Conflict, http.StatusGone: Gone,
		http.StatusRequestEntityTooLarge: TooLarge, http.StatusTooManyRequests: TooManyRequests, http.StatusUnsupportedMediaType: UnsupportedMedia,
		http.StatusUnprocessableEntity: Invalid, http.StatusServiceUnavailable: Unavailable,
	}
	if code, ok := codes[status]; ok {
		return code
	}
	return Internal
}
