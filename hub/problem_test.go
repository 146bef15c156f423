package hub_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// Every refusal is a problem with a stable code, whoever refuses: the router,
// the key check, the decoder, validation or the catalog.
func TestEveryRefusalIsAProblem(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	credential := l.credential(key, tenant, "pw")
	source := l.source(key, tenant, credential)
	cases := []struct {
		name, key, method, path string
		body                    any
		status                  int
		code, locations         string
	}{
		{"no key", "", "GET", "/api/v1/tenants", nil, 401, "unauthorized", ""},
		{"no key, no such path", "", "GET", "/api/v1/nope", nil, 401, "unauthorized", ""},
		{"no key, broken body", "", "POST", "/api/v1/tenants", `{"half`, 401, "unauthorized", ""},
		{"no such path", key, "GET", "/api/v1/nope", nil, 404, "not_found", ""},
		{"no such path outside", key, "GET", "/nope", nil, 404, "not_found", ""},
		{"no such internal path", key, "GET", "/internal/nope", nil, 404, "not_found", ""},
		{"wrong method", key, "PUT", "/api/v1/tenants", nil, 405, "method_not_allowed", ""},
		{"wrong method outside", key, "POST", "/healthz", nil, 405, "method_not_allowed", ""},
		{"no body", key, "POST", "/api/v1/sources", nil, 400, "bad_request", ""},
		{"half a body", key, "POST", "/api/v1/sources", `{"half`, 400, "bad_request", "body"},
		{"not an object", key, "POST", "/api/v1/sources", `[]`, 422, "validation_failed", "body"},
		{"too large", key, "POST", "/api/v1/sources", `{"name":"` + strings.Repeat("x", 2<<20) + `"}`, 413, "body_too_large", ""},
		{"unknown field", key, "POST", "/api/v1/api-keys", object{"name": "n", "hue": "red"}, 422, "validation_failed", "body.hue"},
		{"missing field", key, "POST", "/api/v1/api-keys", object{}, 422, "validation_failed", "body.name"},
		{"control character", key, "POST", "/api/v1/api-keys", object{"name": "a\nb"}, 422, "validation_failed", "body.name"},
		{"NUL", key, "POST", "/api/v1/api-keys", object{"name": "a\x00b"}, 422, "validation_failed", "body.name"},
		{"expired already", key, "POST", "/api/v1/api-keys", object{"name": "a", "expires_at": "2001-01-01T00:00:00Z"}, 422, "validation_failed", "body.expires_at"},
		{"limit", key, "GET", "/api/v1/sources?limit=501", nil, 422, "validation_failed", "query.limit"},
		{"limit 0", key, "GET", "/api/v1/sources?limit=0", nil, 422, "validation_failed", "query.limit"},
		{"cursor", key, "GET", "/api/v1/sources?cursor=garbage", nil, 422, "validation_failed", "query.cursor"},
		{"unknown filter", key, "GET", "/api/v1/sources?naem=x", nil, 422, "validation_failed", "query.naem"},
		{"no id", key, "GET", "/api/v1/sources/not-an-id", nil, 404, "not_found", ""},
		{"no id, broken body", key, "PATCH", "/api/v1/sources/not-an-id", `{"half`, 404, "not_found", ""},
		{"no such object", key, "GET", "/api/v1/sources/" + tenant, nil, 404, "not_found", ""},
		{"operator only", key, "POST", "/api/v1/tenants", object{"name": "n"}, 403, "forbidden", ""},
		{"operator needs tenant_id", operatorKey, "POST", "/api/v1/credentials", object{"kind": "source", "secret": object{"type": "password", "password": "x"}}, 422, "validation_failed", "body.tenant_id"},
		{"conflict", key, "DELETE", "/api/v1/credentials/" + credential, nil, 409, "credential_in_use", ""},
		{"several fields", key, "POST", "/api/v1/sources", object{"type": "sftp", "name": "", "credential_id": "x"}, 422, "validation_failed", "body.config body.credential_id body.name"},
		{"unknown type", key, "PATCH", "/api/v1/sources/" + source, object{"status": "paused"}, 422, "validation_failed", "body.status"},
	}
	for _, c := range cases {
		r := l.do(c.key, c.method, c.path, c.body)
		if r.status != c.status {
			t.Errorf("%s: got %d, want %d: %s", c.name, r.status, c.status, r.body)
			continue
		}
		p := r.problem(t)
		if p.Code != c.code || p.locations() != c.locations {
			t.Errorf("%s: code %q at %q, want %q at %q: %s", c.name, p.Code, p.locations(), c.code, c.locations, r.body)
		}
		if c.status == 401 && r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", c.name)
		}
	}
	if allow := l.do(key, "PUT", "/api/v1/tenants", nil).header.Values("Allow"); strings.Join(allow, " ") != "GET POST" {
		t.Errorf("Allow: %v", allow)
	}
	r := l.do(key, "POST", "/api/v1/sources", `name=web`, "Content-Type", "application/x-www-form-urlencoded")
	if p := r.problem(t); r.status != 415 || p.Code != "unsupported_media_type" || !strings.Contains(p.Detail, "application/json") || p.locations() != "" {
		t.Errorf("form: %d %s", r.status, r.body)
	}
}

// The same place may hold a secret by mistake, and a validator's error may
// quote what it was given.
func TestProblemsEchoNoSecret(t *testing.T) {
	t.Parallel()
	l := start(t)
	_, key := l.tenant("one")
	const canary = "canary-of-a-secret-7f3a"
	secret := object{"type": "password", "password": canary}
	bodies := []any{
		object{"kind": "source", "secret": canary},
		object{"kind": "source", "secret": object{"type": canary}},
		object{"kind": "source", "secret": object{"type": "password", "pasword": canary}},
		object{"kind": "source", "secret": object{"type": "password", "password": []string{canary}}},
		object{"kind": "source", "secret": object{"type": "password", "password": canary, "passphrase": canary}},
		object{"kind": "source", "secret": object{"type": "private_key", "private_key": canary}},
		object{"kind": "source", "secret": object{"type": "private_key", "private_key": "-----BEGIN OPENSSH PRIVATE KEY-----\n" + canary}},
		object{"kind": "source", "secret": object{"type": "private_key", "password": canary}},
		object{"kind": "nonsense", "secret": secret},
		object{"kind": canary, "secret": secret},
		object{"kind": "source", "secret": secret, "password": canary},
		object{"kind": "source", "name": strings.Repeat("n", 201), "secret": secret},
		object{"secret": secret},
		object{"type": "sftp", "password": canary, "name": "n"},
		`"` + canary + `"`,
		`{"kind":"source","secret":{"type":"password","password":"` + canary,
		`{"kind":"source","secret":{"type":"password","password":"` + canary + `"}}}`,
		canary,
	}
	for _, body := range bodies {
		for _, path := range []string{"/api/v1/credentials", "/api/v1/sources", "/api/v1/credentials/" + key} {
			method := "POST"
			if strings.HasSuffix(path, key) {
				method, path = "PUT", "/api/v1/credentials/01a2141b-9fd3-774e-a826-af6faf6b0237/secret"
			}
			r := l.do(key, method, path, body)
			if r.status < 400 || r.status >= 500 {
				t.Errorf("%s %s %v: %d %s", method, path, body, r.status, r.body)
			}
			if strings.Contains(string(r.body), canary) {
				t.Errorf("%s %s echoes the secret of %v: %s", method, path, body, r.body)
			}
		}
	}
	l.do(key, "GET", "/api/v1/sources?tenant_id="+canary, nil) // not in the log either
	l.stop()
	if strings.Contains(l.log.String(), canary) {
		t.Errorf("the log holds the secret:\n%s", l.log)
	}
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	l := start(t)
	_, key := l.tenant("one")
	given := l.do(key, "GET", "/api/v1/sources", nil, "X-Request-ID", "my-request.1_2")
	if got := given.header.Get("X-Request-ID"); got != "my-request.1_2" {
		t.Errorf("a sane id came back as %q", got)
	}
	for _, bad := range []string{"two words", strings.Repeat("x", 65), "quote\"", "<script>"} {
		r := l.do(key, "GET", "/api/v1/sources", nil, "X-Request-ID", bad)
		if got := r.header.Get("X-Request-ID"); got == bad || len(got) != 36 {
			t.Errorf("id %q came back as %q", bad, got)
		}
	}
	var made object
	l.must(201, key, "POST", "/api/v1/api-keys", object{"name": "n"}, &made)
	r := l.do(key, "DELETE", "/api/v1/api-keys/"+made.id(), nil, "X-Request-ID", "the-delete")
	if r.status != 204 || len(r.body) != 0 {
		t.Fatalf("delete: %d %s", r.status, r.body)
	}
	var events struct{ Items []object }
	l.must(200, key, "GET", "/api/v1/audit-events?action=api_key.delete", nil, &events)
	if len(events.Items) != 1 || events.Items[0]["request_id"] != "the-delete" || events.Items[0]["remote_addr"] != "127.0.0.1" {
		t.Errorf("audit: %v", events.Items)
	}
}

func TestDescriptionAndDocsLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	l := start(t)
	var description struct {
		OpenAPI    string
		Paths      map[string]map[string]json.RawMessage
		Components struct{ Schemas map[string]json.RawMessage }
	}
	l.must(200, "", "GET", "/api/v1/openapi.json", nil, &description)
	if !strings.HasPrefix(description.OpenAPI, "3.1") || len(description.Paths) < 15 {
		t.Errorf("description: %s, %d paths", description.OpenAPI, len(description.Paths))
	}
	for _, path := range []string{"/docs", "/docs/docs.js", "/docs/docs.css"} {
		r := l.do("", "GET", path, nil)
		if r.status != http.StatusOK || len(r.body) == 0 {
			t.Errorf("%s: %d", path, r.status)
		}
		policy := r.header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
			t.Errorf("%s: policy %q", path, policy)
		}
		if strings.Contains(string(r.body), "://") {
			t.Errorf("%s names another place", path)
		}
	}
}
