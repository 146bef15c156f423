package hub_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// Every route and method that the description names, with every wrong key and
// with the right key of another tenant. A route that is added later is tested
// without anybody thinking of it.
func TestAccess(t *testing.T) {
	t.Parallel()
	l := start(t)
	a, aKey := l.tenant("a")
	_, bKey := l.tenant("b")
	credential := l.credential(aKey, a, "pw")
	source := l.source(aKey, a, credential)
	var job, key, schedule, channel object
	l.must(201, aKey, "POST", "/api/v1/notification-channels", pingChannel("http://127.0.0.1:1/"), &channel)
	l.must(201, aKey, "POST", "/api/v1/schedules", object{"source_id": source, "cron": "@yearly"}, &schedule)
	l.must(201, aKey, "POST", "/api/v1/jobs", object{"source_id": source}, &job)
	l.must(201, aKey, "POST", "/api/v1/api-keys", object{"name": "n"}, &key)
	owned := map[string]string{"tenants": a, "credentials": credential, "sources": source, "jobs": job.id(), "api-keys": key.id(), "schedules": schedule.id(),
		"notification-channels": channel.id()}
	bodies := map[string]any{
		"PUT /credentials/{id}/secret": object{"type": "password", "password": "taken over"},
	}

	var description struct {
		Paths map[string]map[string]json.RawMessage
	}
	l.must(200, "", "GET", "/api/v1/openapi.json", nil, &description)
	before := l.events()
	calls := 0
	for path, methods := range description.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			noun := strings.Split(path, "/")[1]
			id, known := owned[noun]
			if !known {
				id = uuid.Must(uuid.NewV7()).String()
			}
			at := "/api/v1" + strings.ReplaceAll(path, "{id}", id)
			for _, wrong := range []string{"", "garbage", aKey + "x", joinToken} {
				if r := l.do(wrong, method, at, `{"half a body`); r.status != 401 {
					t.Errorf("%s %s with key %q: %d", method, path, wrong, r.status)
				}
			}
			calls++
			if !strings.Contains(path, "{id}") {
				continue
			}
			var body any
			if method != "GET" && method != "DELETE" {
				body = object{}
			}
			if b, ok := bodies[method+" "+path]; ok {
				body = b
			}
			foreign := l.do(bKey, method, at, body)
			unknown := l.do(bKey, method, "/api/v1"+strings.ReplaceAll(path, "{id}", uuid.Must(uuid.NewV7()).String()), body)
			if foreign.status != 404 && foreign.status != 403 {
				t.Errorf("%s %s on another tenant's object: %d %s", method, path, foreign.status, foreign.body)
			}
			if foreign.status != unknown.status || string(foreign.body) != string(unknown.body) {
				t.Errorf("%s %s tells that the object exists:\n%s\n%s", method, path, foreign.body, unknown.body)
			}
		}
	}
	if calls < 30 {
		t.Errorf("only %d calls are described", calls)
	}
	if after := l.events(); after != before {
		t.Errorf("%d events were recorded by calls that may do nothing", after-before)
	}
}

func (l *lab) events() int {
	l.t.Helper()
	return l.count(`SELECT count(*) FROM audit_events`)
}

// What one tenant sees never names anything of another's.
func TestListsShowNothingForeign(t *testing.T) {
	t.Parallel()
	l := start(t)
	a, aKey := l.tenant("a")
	b, bKey := l.tenant("b")
	credential := l.credential(aKey, a, "pw")
	source := l.source(aKey, a, credential)
	l.source(bKey, b, l.credential(bKey, b, "pw"))
	var channel object
	l.must(201, aKey, "POST", "/api/v1/notification-channels", pingChannel("http://127.0.0.1:1/"), &channel)
	for _, noun := range []string{"tenants", "credentials", "sources", "jobs", "snapshots", "api-keys", "audit-events", "notification-channels", "notifications"} {
		r := l.do(bKey, "GET", "/api/v1/"+noun+"?limit=500", nil)
		if r.status != 200 {
			t.Errorf("%s: %d %s", noun, r.status, r.body)
		}
		for _, foreign := range []string{a, credential, source, channel.id()} {
			if strings.Contains(string(r.body), foreign) {
				t.Errorf("%s shows %s: %s", noun, foreign, r.body)
			}
		}
	}
	// A reference to another tenant's object is like one to none.
	for _, credentialID := range []string{credential, uuid.Must(uuid.NewV7()).String()} {
		r := l.do(bKey, "POST", "/api/v1/sources", sourceBody(b, credentialID))
		if p := r.problem(t); r.status != 422 || p.locations() != "body.credential_id" {
			t.Errorf("foreign credential: %d %s", r.status, r.body)
		}
	}
}
