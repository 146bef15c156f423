package hub_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
)

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	l := start(t)
	second := l.another()
	tenant, key := l.tenant("one")
	_, otherKey := l.tenant("two")
	credential := l.credential(key, tenant, "pw")
	source := l.source(key, tenant, credential)
	withKey := func(hub *lab, who, idempotencyKey, path string, body any) reply {
		t.Helper()
		return hub.do(who, "POST", path, body, "Idempotency-Key", idempotencyKey)
	}
	creations := map[string]object{
		"/api/v1/credentials":                  {"kind": "source", "secret": object{"type": "password", "password": "pw"}},
		"/api/v1/sources":                      sourceBody(tenant, credential),
		"/api/v1/jobs":                         {"source_id": source},
		"/api/v1/sources/" + source + "/probe": {},
	}
	for path, body := range creations {
		first := withKey(l, key, "k "+path, path, body)
		again := withKey(second, key, "k "+path, path, body)
		if first.status != 201 || again.status != 201 || string(first.body) != string(again.body) || again.header.Get("Idempotency-Replayed") == "" {
			t.Errorf("%s: %d %s, then %d %s", path, first.status, first.body, again.status, again.body)
		}
		changed := maps.Clone(body)
		changed["name"] = "another request"
		if r := withKey(l, key, "k "+path, path, changed); r.status != 409 || r.problem(t).Code != "idempotency_mismatch" {
			t.Errorf("%s with another body: %d %s", path, r.status, r.body)
		}
	}
	// The same key of somebody else, or on another path, is another matter.
	a := withKey(l, key, "shared", "/api/v1/credentials", creations["/api/v1/credentials"])
	b := withKey(l, otherKey, "shared", "/api/v1/credentials", creations["/api/v1/credentials"])
	if a.status != 201 || b.status != 201 || sameJSON(a.body, b.body) {
		t.Errorf("two tenants with one key: %d %s and %d %s", a.status, a.body, b.status, b.body)
	}
	if r := withKey(l, key, "shared", "/api/v1/sources", creations["/api/v1/sources"]); r.status != 409 {
		t.Errorf("another path: %d %s", r.status, r.body)
	}
	// A refused request leaves the key free.
	if r := withKey(l, key, "after a refusal", "/api/v1/jobs", object{"source_id": tenant}); r.status != 404 {
		t.Errorf("refused: %d %s", r.status, r.body)
	}
	if r := withKey(l, key, "after a refusal", "/api/v1/jobs", object{"source_id": source}); r.status != 201 {
		t.Errorf("after a refusal: %d %s", r.status, r.body)
	}
	// An answer with a secret is never kept.
	one := withKey(l, key, "secret", "/api/v1/api-keys", object{"name": "n"})
	two := withKey(l, key, "secret", "/api/v1/api-keys", object{"name": "n"})
	if one.status != 201 || two.status != 201 || sameJSON(one.body, two.body) {
		t.Errorf("api keys: %s and %s", one.body, two.body)
	}
	if r := withKey(l, key, strings.Repeat("x", 256), "/api/v1/jobs", object{"source_id": source}); r.status != 422 {
		t.Errorf("a long key: %d", r.status)
	}
}

// Many requests at once with one key, on two hubs, create one object.
func TestIdempotencyKeyUnderConcurrency(t *testing.T) {
	t.Parallel()
	l := start(t)
	hubs := []*lab{l, l.another()}
	tenant, key := l.tenant("one")
	source := l.source(key, tenant, l.credential(key, tenant, "pw"))
	for round := range 5 {
		var wg sync.WaitGroup
		answers := make([]reply, 12)
		for i := range answers {
			wg.Go(func() {
				r, err := hubs[i%2].try(key, "POST", "/api/v1/jobs", object{"source_id": source}, "Idempotency-Key", fmt.Sprint("round ", round))
				if err != nil {
					t.Error(err)
				}
				answers[i] = r
			})
		}
		wg.Wait()
		ids := map[string]bool{}
		for _, r := range answers {
			var job struct{ ID string }
			if err := json.Unmarshal(r.body, &job); err != nil || r.status != 201 {
				t.Fatalf("%d %s", r.status, r.body)
			}
			ids[job.ID] = true
		}
		if len(ids) != 1 {
			t.Errorf("one key made %d jobs", len(ids))
		}
	}
}

// The hub may die between the commit and its answer; the repetition is then
// answered from the object.
func TestIdempotencyKeyWhoseAnswerWasLost(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	source := l.source(key, tenant, l.credential(key, tenant, "pw"))
	body := object{"source_id": source}
	first := l.do(key, "POST", "/api/v1/jobs", body, "Idempotency-Key", "lost")
	l.exec(`UPDATE idempotency_keys SET status = 0, body = jsonb_build_object('object_type', 'job', 'object_id', body->>'id') WHERE key = 'lost'`)
	again := l.do(key, "POST", "/api/v1/jobs", body, "Idempotency-Key", "lost")
	var a, b struct{ ID, Status string }
	if json.Unmarshal(first.body, &a) != nil || json.Unmarshal(again.body, &b) != nil || a.ID != b.ID || again.status != 201 {
		t.Errorf("first %d %s\nagain %d %s", first.status, first.body, again.status, again.body)
	}
}

func TestIdempotencyKeysHoldNothingToGuessFrom(t *testing.T) {
	t.Parallel()
	l := start(t)
	_, key := l.tenant("one")
	_, other := l.tenant("two")
	body := object{"kind": "source", "secret": object{"type": "password", "password": "pw"}}
	for _, who := range []string{key, other} {
		if r := l.do(who, "POST", "/api/v1/credentials", body, "Idempotency-Key", "k"); r.status != 201 {
			t.Fatalf("%d %s", r.status, r.body)
		}
	}
	if n := l.count(`SELECT count(DISTINCT request_hash) FROM idempotency_keys`); n != 2 {
		t.Errorf("the same request of two callers has %d hashes", n)
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}
