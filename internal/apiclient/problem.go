package apiclient

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Problem is what the hub says when it refuses (RFC 9457).
type Problem struct { //nolint:errname // RFC 9457's own word
	Status int          `json:"status"`
	Title  string       `json:"title"`
	Detail string       `json:"detail"`
	Code   string       `json:"code"` // stable: "source_in_use"
	Errors []FieldError `json:"errors"`
}

// FieldError is one fault of a request.
type FieldError struct {
	Location string `json:"location"` // "body.config.paths[1]"
	Message  string `json:"message"`
}

// Error gives the whole story in one line a field.
func (p *Problem) Error() string {
	var b strings.Builder
	b.WriteString(p.Detail)
	if p.Detail == "" {
		b.WriteString(strings.ToLower(p.Title))
	}
	for _, e := range p.Errors {
		fmt.Fprintf(&b, "\n  %s: %s", strings.TrimPrefix(e.Location, "body."), e.Message)
	}
	return b.String()
}

// UnreachableError says that the hub did not answer at all.
type UnreachableError struct {
	Server string
	Err    error
}

func (e *UnreachableError) Error() string { return fmt.Sprintf("cannot reach %s: %v", e.Server, e.Err) }

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

func problemOf(resp *http.Response, raw []byte) error {
	p := &Problem{}
	isProblem := strings.HasPrefix(resp.Header.Get("Content-Type"), "application/problem+json")
	if !isProblem || json.Unmarshal(raw, p) != nil {
		// Something between here and the hub answered.
		p = &Problem{Detail: fmt.Sprintf("the server answered %s, which is not xVault's way: is this the address of a hub?", resp.Status)}
	}
	p.Status = resp.StatusCode
	if p.Title == "" {
		p.Title = http.StatusText(p.Status)
	}
	return p
}
