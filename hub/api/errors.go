package api

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"xvault/hub/problem"
)

// toProblem replaces huma's own error body by a problem with a code. It is a
// transformer rather than huma's global hook, so that two APIs in one process
// do not share it.
func toProblem(ctx huma.Context, _ string, v any) (any, error) {
	model, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := problem.New(model.Status, problem.CodeOf(model.Status), sentence(model))
	if model.Status == http.StatusUnsupportedMediaType {
		return p, nil // the error beside it speaks of the body's text
	}
	secretOp := ctx.Operation() != nil && ctx.Operation().Metadata[metaSecretBody] == true
	for _, detail := range model.Errors {
		p.Errors = append(p.Errors, fieldError(detail, secretOp))
	}
	slices.SortStableFunc(p.Errors, func(a, b problem.FieldError) int { return strings.Compare(a.Location, b.Location) })
	return p, nil
}

// Metadata of an operation.
const (
	// metaSecretBody: the body holds a secret, so nothing of it is echoed.
	metaSecretBody = "secret_body"
	// metaSecretAnswer: the answer holds a secret, so it is never kept for an
	// Idempotency-Key.
	metaSecretAnswer = "secret_answer"
)

func sentence(model *huma.ErrorModel) string {
	switch model.Status {
	case http.StatusUnprocessableEntity:
		return problem.Validation().Detail
	case http.StatusBadRequest:
		if len(model.Errors) > 0 {
			return "The body is not valid JSON."
		}
	case http.StatusUnsupportedMediaType:
		return "The body must be JSON, with the header Content-Type: application/json."
	case http.StatusRequestEntityTooLarge:
		return fmt.Sprintf("The body is larger than the %d bytes that a call takes.", maxBody)
	case http.StatusInternalServerError:
		return problem.From(model).Detail
	}
	if model.Detail == "" {
		return http.StatusText(model.Status) + "."
	}
	return strings.ToUpper(model.Detail[:1]) + model.Detail[1:] + "."
}

var requiredProperty = regexp.MustCompile(`^expected required property (\S+) to be present$`)

func fieldError(d *huma.ErrorDetail, secretOp bool) problem.FieldError {
	e := problem.FieldError{Location: d.Location, Message: d.Message}
	if m := requiredProperty.FindStringSubmatch(d.Message); m != nil {
		e.Location, e.Message = d.Location+"."+m[1], "it is required"
	}
	if d.Location == "body" {
		// A decoder's message may quote the body.
		e.Message = bodyMessage(d)
	}
	if echoed(d, secretOp) {
		e.Value = d.Value
	}
	return e
}

func bodyMessage(d *huma.ErrorDetail) string {
	if m := requiredProperty.FindStringSubmatch(d.Message); m != nil {
		return "it is required"
	}
	if d.Message == "expected object" {
		return d.Message
	}
	return "it is not valid JSON for this call"
}

const maxEchoed = 100

// secretLocation matches the names of fields that hold secrets, wherever a
// mistaken client may have put them.
var secretLocation = regexp.MustCompile(`(?i)secret|password|passphrase|private|token|\bkey\b|identity|authorization`)

// echoed tells whether the value may be sent back: a short scalar, at a place
// that the API declares, in a call and under a name that hold no secret. An
// unknown field is not echoed: nobody knows what it was meant to be.
func echoed(d *huma.ErrorDetail, secretOp bool) bool {
	inBody := strings.HasPrefix(d.Location, "body")
	if d.Location == "body" || secretOp && inBody || strings.HasPrefix(d.Location, "header") ||
		strings.HasPrefix(d.Message, "un") || secretLocation.MatchString(d.Location) {
		return false
	}
	switch v := d.Value.(type) {
	case string:
		return len(v) > 0 && len(v) <= maxEchoed
	case bool, float64, int64, int:
		return true
	}
	return false
}

// NotFound is the answer for a path that does not exist.
func NotFound(w http.ResponseWriter, _ *http.Request) {
	problem.Write(w, problem.New(http.StatusNotFound, problem.NotFound, "There is no such path."))
}

// MethodNotAllowed is the answer for a path that has other methods, and names
// them in Allow.
func MethodNotAllowed(routes chi.Routes) http.HandlerFunc {
	methods := []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	return func(w http.ResponseWriter, r *http.Request) {
		for _, method := range methods {
			if routes.Match(chi.NewRouteContext(), method, r.URL.Path) {
				w.Header().Add("Allow", method)
			}
		}
		problem.Write(w, problem.New(http.StatusMethodNotAllowed, problem.MethodNotAllowed, "This path does not take this method; Allow names those that it takes."))
	}
}
