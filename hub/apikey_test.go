package hub_test

import (
	"strings"
	"testing"
	"time"
)

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	other, otherKey := l.tenant("two")
	made := func(who string, body object) object {
		t.Helper()
		var o object
		l.must(201, who, "POST", "/api/v1/api-keys", body, &o)
		return o
	}
	// An operator's key, of a key that is one.
	operators := made(operatorKey, object{"name": "second operator"})
	if operators["tenant_id"] != nil {
		t.Errorf("operator's key: %v", operators)
	}
	second := operators.text("key")
	third := made(second, object{"name": "third operator"}).text("key")
	l.must(201, third, "POST", "/api/v1/tenants", object{"name": "three"}, nil)
	// A tenant's key makes keys of its tenant.
	own := made(key, object{"name": "own", "expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)})
	if own["tenant_id"] != tenant || !strings.HasPrefix(own.text("key"), "xv_") {
		t.Errorf("tenant's key: %v", own)
	}
	l.must(404, key, "POST", "/api/v1/api-keys", object{"name": "foreign", "tenant_id": other}, nil)
	l.must(404, operatorKey, "POST", "/api/v1/api-keys", object{"name": "foreign", "tenant_id": own.id()}, nil)
	l.must(403, own.text("key"), "POST", "/api/v1/tenants", object{"name": "n"}, nil)
	// It is shown once.
	r := l.must(200, key, "GET", "/api/v1/api-keys/"+own.id(), nil, nil)
	if strings.Contains(string(r.body), `"key"`) || strings.Contains(string(r.body), "hash") {
		t.Errorf("the record shows the key: %s", r.body)
	}
	// The operator's keys do not exist for a tenant.
	l.must(404, key, "GET", "/api/v1/api-keys/"+operators.id(), nil, nil)
	l.must(404, key, "DELETE", "/api/v1/api-keys/"+operators.id(), nil, nil)
	l.must(404, otherKey, "DELETE", "/api/v1/api-keys/"+own.id(), nil, nil)
	if ids, _ := l.all(key, "/api/v1/api-keys", 500); len(ids) != 2 {
		t.Errorf("a tenant sees %d keys, not its 2", len(ids))
	}
	// Use is noted, to the minute.
	var record object
	l.must(200, own.text("key"), "GET", "/api/v1/sources", nil, nil)
	l.must(200, key, "GET", "/api/v1/api-keys/"+own.id(), nil, &record)
	used := record["last_used_at"]
	l.must(200, own.text("key"), "GET", "/api/v1/sources", nil, nil)
	l.must(200, key, "GET", "/api/v1/api-keys/"+own.id(), nil, &record)
	if used == nil || record["last_used_at"] != used {
		t.Errorf("last_used_at: %v, then %v", used, record["last_used_at"])
	}
	// The end: expired, revoked.
	l.exec(`UPDATE api_keys SET expires_at = xvault_now() WHERE id = $1`, own.id())
	l.must(401, own.text("key"), "GET", "/api/v1/sources", nil, nil)
	l.must(204, operatorKey, "DELETE", "/api/v1/api-keys/"+operators.id(), nil, nil)
	l.must(401, second, "GET", "/api/v1/sources", nil, nil)
	l.must(200, third, "GET", "/api/v1/sources", nil, nil)
}

func TestWrongKeys(t *testing.T) {
	t.Parallel()
	l := start(t)
	_, key := l.tenant("one")
	altered := key[:len(key)-1] + string('a'+(key[len(key)-1]-'a'+1)%2)
	for _, authorization := range []string{
		"", "Bearer", "Bearer ", "Basic " + key, key, "Bearer " + altered, "Bearer " + key + "x", "Bearer " + key[:len(key)-1],
		"Bearer xv_", "Bearer xv__", "Bearer " + strings.Replace(key, "xv_", "xv_0", 1), "Bearer " + operatorKey[1:],
		"Bearer " + strings.ToUpper(key), "Bearer " + joinToken, "Bearer \x00",
	} {
		if strings.ContainsRune(authorization, 0) {
			continue // not a header that Go sends
		}
		r := l.do("", "GET", "/api/v1/sources", nil, "Authorization", authorization)
		if r.status != 401 {
			t.Errorf("%q: %d", authorization, r.status)
		}
	}
	for _, authorization := range []string{"bearer " + key, "Bearer  " + key + " "} {
		if r := l.do("", "GET", "/api/v1/sources", nil, "Authorization", authorization); r.status != 200 {
			t.Errorf("%q: %d", authorization, r.status)
		}
	}
}
