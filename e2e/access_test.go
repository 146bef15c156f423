package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/e2e/system"
)

// F18: every route and method of the public API, with every wrong key, and with
// a key that is right but another tenant's.
func TestAccess(t *testing.T) {
	t.Parallel()
	trials := system.NewTrials(t, "F18, every route, method, foreign id and foreign key")
	start := time.Now()
	s := system.Start(t, system.Options{}).NewScene(t, system.SceneOptions{Seed: 14, Files: 5, Small: true})
	a := property(t, s)
	b := s.API.CreateTenant(t, "tenant b")
	bKey := s.API.CreateKey(t, b.ID, "b's key")
	wrong := wrongKeys(t, s, a)
	before := a.state(t, s)

	routes := publicRoutes(t, s)
	if len(routes) < 25 {
		t.Fatalf("the API describes only %d calls", len(routes))
	}
	for _, r := range routes {
		a.refusesWrongKeys(t, s, r, wrong)
		a.hidesFrom(t, s.API.As(bKey), r, trials)
	}
	a.hidesReferences(t, s.API.As(bKey), b.ID)
	if after := a.state(t, s); !maps.Equal(before, after) {
		t.Errorf("somebody else's calls changed tenant a:\nbefore %v\nafter  %v", before, after)
	}
	trials.Add(time.Since(start), 0)
}

// owned is all that tenant a has, by the path that leads to it.
type owned map[string]string

func property(t *testing.T, s *system.Scene) owned {
	t.Helper()
	job := s.Acknowledged(s.Backup().ID, 3*time.Minute)
	key := system.Post[system.Object](t, s.API, "/api/v1/api-keys", map[string]any{"tenant_id": s.Tenant.ID, "name": "a's key"})
	source := system.Get[struct {
		CredentialID string `json:"credential_id"`
	}](t, s.API, "/api/v1/sources/"+s.SourceID)
	return owned{
		"tenants": s.Tenant.ID, "credentials": source.CredentialID, "sources": s.SourceID, "jobs": job.ID,
		"snapshots": job.SnapshotID, "api-keys": key.ID, "workers": s.Workers[0].ID,
	}
}

// state is what the operator sees of it.
func (a owned) state(t *testing.T, s *system.Scene) map[string]string {
	t.Helper()
	state := map[string]string{}
	for noun, id := range a {
		if noun == "api-keys" || noun == "workers" {
			continue
		}
		state[noun] = string(s.API.Do(t, "GET", "/api/v1/"+noun+"/"+id, nil, 200).Body)
	}
	for _, table := range []string{"credentials", "sources", "jobs", "snapshots", "api_keys"} {
		state[table+" count"] = s.One(t, "SELECT count(*)::text FROM "+table+" WHERE tenant_id = $1", s.Tenant.ID)
	}
	state["workers"] = s.One(t, "SELECT count(*)::text FROM workers WHERE NOT drain_requested")
	state["tenants"] = s.One(t, "SELECT count(*)::text FROM tenants")
	return state
}

// wrongKeys are bearers that open nothing of the public API.
func wrongKeys(t *testing.T, s *system.Scene, a owned) map[string]string {
	t.Helper()
	good := s.API.CreateKey(t, s.Tenant.ID, "to be altered")
	revoked := system.Post[struct{ ID, Key string }](t, s.API, "/api/v1/api-keys", map[string]any{"tenant_id": s.Tenant.ID, "name": "to be revoked"})
	s.API.Do(t, "DELETE", "/api/v1/api-keys/"+revoked.ID, nil, http.StatusNoContent)
	expired := system.Post[struct{ Key string }](t, s.API, "/api/v1/api-keys", map[string]any{
		"tenant_id": s.Tenant.ID, "name": "to expire", "expires_at": time.Now().Add(time.Hour),
	})
	s.Exec(t, `UPDATE api_keys SET expires_at = xvault_now() - interval '1 second' WHERE name = 'to expire'`)
	last := good[len(good)-1]
	altered := good[:len(good)-1] + string(rune(map[bool]byte{true: 'b', false: 'a'}[last == 'a']))
	return map[string]string{
		"none": "", "garbage": "xv_garbage", "long": strings.Repeat("x", 10_000), "altered": altered, "revoked": revoked.Key,
		"expired": expired.Key, "join token": s.JoinToken, "worker's token": readState(t, s.Workers[0], "token"),
		"prefix of the operator's": s.OperatorKey[:len(s.OperatorKey)-1], "key id alone": a["api-keys"],
	}
}

// route is one call that the API describes, or a method that it does not.
type route struct {
	method, path string
	described    bool
}

func (r route) noun() string { return strings.Split(r.path, "/")[1] }

var parameter = regexp.MustCompile(`\{[a-z_]+\}`)

func (r route) with(id string) string { return "/api/v1" + parameter.ReplaceAllString(r.path, id) }

// bodies are valid, so that it is not validation that refuses.
var bodies = map[string]any{
	"PATCH /tenants/{id}":                  map[string]any{"name": "taken over"},
	"PUT /credentials/{id}/secret":         map[string]any{"secret": map[string]any{"type": "password", "password": "taken over"}},
	"PATCH /sources/{id}":                  map[string]any{"name": "taken over"},
	"PATCH /snapshots/{id}":                map[string]any{"hold": true},
	"POST /sources/{id}/retention/preview": map[string]any{"retention_policy": map[string]any{}},
	"POST /snapshots/{id}/restore":         map[string]any{},
	"POST /jobs/{id}/restore":              map[string]any{},
}

func publicRoutes(t *testing.T, s *system.Scene) []route {
	t.Helper()
	doc := system.Get[struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}](t, s.API, "/api/v1/openapi.json")
	var routes []route
	for path, methods := range doc.Paths {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"} {
			_, described := methods[strings.ToLower(method)]
			routes = append(routes, route{method, path, described})
		}
	}
	slices.SortFunc(routes, func(a, b route) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return routes
}

func (a owned) refusesWrongKeys(t *testing.T, s *system.Scene, r route, wrong map[string]string) {
	t.Helper()
	for what, key := range wrong {
		reply, err := s.API.As(key).Try(r.method, r.with(a[r.noun()]), []byte(`{"half a body`))
		if err != nil || reply.Status != http.StatusUnauthorized {
			t.Errorf("%s %s with a wrong key (%s): want 401, got %s %v", r.method, r.path, what, reply, err)
		}
	}
}

// hidesFrom: another tenant's object is answered just like one that never was.
func (a owned) hidesFrom(t *testing.T, b *system.Client, r route, trials *system.Trials) {
	t.Helper()
	start := time.Now()
	id, ok := a[r.noun()]
	if !ok || !r.described {
		id = a["sources"]
	}
	body := bodies[r.method+" "+r.path]
	if body == nil && r.method != "GET" {
		body = map[string]any{}
	}
	reply, err := b.Try(r.method, r.with(id), body)
	if err != nil {
		t.Errorf("%s %s: %v", r.method, r.path, err)
		return
	}
	trials.Add(time.Since(start), 0)
	switch {
	case !r.described:
		if reply.Status != 405 && reply.Status != 404 && r.method != "HEAD" {
			t.Errorf("%s %s is not described and answered %s", r.method, r.path, reply)
		}
		if reply.Status < 300 {
			a.mustNotShow(t, r, reply)
		}
	case parameter.MatchString(r.path):
		never := uuid.Must(uuid.NewV7()).String()
		if r.noun() == "workers" {
			never = "never-was"
		}
		unknown, err := b.Try(r.method, r.with(never), body)
		must(t, err)
		if reply.Status != 404 && reply.Status != 403 {
			t.Errorf("tenant b's key on tenant a's object: %s %s answered %s", r.method, r.path, reply)
		}
		if same(reply, id) != same(unknown, never) {
			t.Errorf("%s %s tells that the object exists:\nforeign %s\nunknown %s", r.method, r.path, reply, unknown)
		}
	case r.method == "GET":
		if reply.Status != 200 && reply.Status != 403 {
			t.Errorf("%s %s answered %s", r.method, r.path, reply)
		}
		a.mustNotShow(t, r, reply)
		for _, query := range []string{"?tenant_id=" + a["tenants"], "?source_id=" + a["sources"], "?limit=500&tenant_id=" + a["tenants"]} {
			reply, err := b.Try(r.method, r.with("")+query, nil)
			must(t, err)
			if reply.Status == 200 {
				a.mustNotShow(t, r, reply)
			}
		}
	}
}

// same is an answer without what must differ.
func same(r system.Reply, id string) string {
	var problem map[string]any
	if json.Unmarshal(r.Body, &problem) != nil {
		return r.String()
	}
	delete(problem, "instance")
	delete(problem, "request_id")
	b, err := json.Marshal(problem)
	if err != nil {
		return err.Error()
	}
	return http.StatusText(r.Status) + strings.ReplaceAll(string(b), id, "ID")
}

func (a owned) mustNotShow(t *testing.T, r route, reply system.Reply) {
	t.Helper()
	for noun, id := range a {
		if bytes.Contains(reply.Body, []byte(id)) {
			t.Errorf("%s %s shows tenant b the id of tenant a's %s: %s", r.method, r.path, noun, reply)
		}
	}
}

// hidesReferences: new objects that point to another tenant's.
func (a owned) hidesReferences(t *testing.T, b *system.Client, own string) {
	t.Helper()
	never := uuid.Must(uuid.NewV7()).String()
	config := map[string]any{"host": "127.0.0.1", "username": "u", "paths": []string{"/x"}, "trust_on_first_use": true}
	secret := system.Password("a password")
	mine := b.CreateCredential(t, own, secret)
	forms := map[string]func(id string) any{
		"credentials tenant_id": func(id string) any {
			return map[string]any{"tenant_id": id, "kind": "source", "secret": secret}
		},
		"sources tenant_id": func(id string) any {
			return map[string]any{"tenant_id": id, "type": "sftp", "name": "n", "credential_id": mine, "config": config}
		},
		"sources credential_id": func(id string) any {
			return map[string]any{"tenant_id": own, "type": "sftp", "name": "n", "credential_id": id, "config": config}
		},
		"jobs source_id":     func(id string) any { return map[string]any{"source_id": id} },
		"api-keys tenant_id": func(id string) any { return map[string]any{"tenant_id": id, "name": "n"} },
	}
	for form, body := range forms {
		noun, field, _ := strings.Cut(form, " ")
		id := a[map[string]string{"tenant_id": "tenants", "credential_id": "credentials", "source_id": "sources"}[field]]
		foreign, err := b.Try("POST", "/api/v1/"+noun, body(id))
		must(t, err)
		unknown, err := b.Try("POST", "/api/v1/"+noun, body(never))
		must(t, err)
		if foreign.Status < 400 || foreign.Status >= 500 || same(foreign, id) != same(unknown, never) {
			t.Errorf("POST /%s with another tenant's %s:\nforeign %s\nunknown %s", noun, field, foreign, unknown)
		}
	}
	foreign, err := b.Try("PATCH", "/api/v1/sources/"+b.CreateSource(t, own, mine, config), map[string]any{"credential_id": a["credentials"]})
	must(t, err)
	if foreign.Status < 400 || foreign.Status >= 500 {
		t.Errorf("a source took another tenant's credential: %s", foreign)
	}
}
