package api

import (
	"embed"
	"encoding/json"
	"net/http"
	"reflect"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"xvault/hub/problem"
)

// The documentation page and what it loads: all of it from the binary.
//
//go:embed docs
var docsFiles embed.FS

// docsPolicy lets the page load its own script, style and description, and
// nothing from anywhere else.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func mountDocs(r chi.Router) {
	r.Get("/docs", docsFile("docs/index.html", "text/html; charset=utf-8"))
	r.Get("/docs/docs.js", docsFile("docs/docs.js", "text/javascript; charset=utf-8"))
	r.Get("/docs/docs.css", docsFile("docs/docs.css", "text/css; charset=utf-8"))
}

func docsFile(name, contentType string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		content, err := docsFiles.ReadFile(name)
		if err != nil {
			NotFound(w, nil)
			return
		}
		w.Header().Set("Content-Type", contentType)
		w.Header().Set("Content-Security-Policy", docsPolicy)
		_, _ = w.Write(content) // a client that is gone is no error of ours
	}
}

// serveDescription answers with the OpenAPI document, encoded once.
func serveDescription(api huma.API) http.HandlerFunc {
	encoded := sync.OnceValues(func() ([]byte, error) { return json.Marshal(api.OpenAPI()) })
	return func(w http.ResponseWriter, _ *http.Request) {
		body, err := encoded()
		if err != nil {
			http.Error(w, "the description cannot be encoded", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(body) // a client that is gone is no error of ours
	}
}

// Description is the OpenAPI document, indented for reading and comparing.
func Description(version string) ([]byte, error) {
	api := New(chi.NewRouter(), Config{Version: version})
	body, err := json.MarshalIndent(api.OpenAPI(), "", "  ")
	return append(body, '\n'), err
}

// complete adds to the description what every call has in common: problems, in
// the place of huma's own errors, and the Idempotency-Key of creations.
func complete(api huma.API) {
	doc := api.OpenAPI()
	schema := doc.Components.Schemas.Schema(reflect.TypeFor[problem.Problem](), true, "Problem")
	delete(doc.Components.Schemas.Map(), "ErrorModel")
	for _, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op != nil {
				completeCall(op, schema)
			}
		}
	}
}

func completeCall(op *huma.Operation, problemSchema *huma.Schema) {
	op.Responses["default"] = &huma.Response{
		Description: "A problem",
		Content:     map[string]*huma.MediaType{problem.ContentType: {}},
	}
	for _, r := range op.Responses {
		if content, ok := r.Content[problem.ContentType]; ok {
			content.Schema = problemSchema
		}
	}
	if takesIdempotencyKey(op) {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: IdempotencyHeader, In: "header",
			Description: "Repeating the request with the same key gives the first answer, for a day",
			Schema:      &huma.Schema{Type: huma.TypeString},
		})
	}
}
