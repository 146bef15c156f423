package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"xvault/hub/api"
)

var update = flag.Bool("update", false, "write docs/openapi.json anew")

const openAPIFile = "../../docs/openapi.json"

// The committed description is the one that the code serves: a change of the
// API shows in a review.
func TestOpenAPI(t *testing.T) {
	t.Parallel()
	got, err := api.Description("dev")
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(openAPIFile, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(openAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not what the code serves: run `make generate` and look at the difference", openAPIFile)
	}
}

func TestOpenAPIDescribesEachCall(t *testing.T) {
	t.Parallel()
	body, err := api.Description("dev")
	if err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Summary     string
			Tags        []string
			Parameters  []struct{ Name, In string }
			Responses   map[string]struct{ Content map[string]json.RawMessage }
		}
	}
	if err := json.Unmarshal(body, &doc); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			name := method + " " + path
			if op.OperationID == "" || seen[op.OperationID] || op.Summary == "" || len(op.Tags) != 1 {
				t.Errorf("%s: id %q, summary %q, tags %v", name, op.OperationID, op.Summary, op.Tags)
			}
			seen[op.OperationID] = true
			if _, ok := op.Responses["default"].Content["application/problem+json"]; !ok {
				t.Errorf("%s does not describe its problems", name)
			}
			if strings.HasPrefix(op.OperationID, "list-") {
				parameters := map[string]bool{}
				for _, p := range op.Parameters {
					parameters[p.Name] = true
				}
				if !parameters["limit"] || !parameters["cursor"] {
					t.Errorf("%s is a list without limit and cursor", name)
				}
			}
		}
	}
	for call := range strings.FieldsSeq(`create-tenant list-tenants get-tenant update-tenant delete-tenant export-tenant-key
		create-credential list-credentials get-credential replace-secret delete-credential
		create-source list-sources get-source update-source delete-source
		create-api-key list-api-keys delete-api-key list-audit-events`) {
		if !seen[call] {
			t.Errorf("%s is not described", call)
		}
	}
}
