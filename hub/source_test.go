package hub_test

import (
	"fmt"
	"maps"
	"strings"
	"testing"
)

func TestSourceValidation(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	other, otherKey := l.tenant("two")
	credential, foreign := l.credential(key, tenant, "pw"), l.credential(otherKey, other, "pw")
	config := func(change object) object {
		c := object{"host": "files.example.net", "username": "backup", "paths": []string{"/srv"}}
		maps.Copy(c, change)
		return c
	}
	cases := []struct {
		name   string
		change object
		at     string
	}{
		{"right", object{}, ""},
		{"unknown type", object{"type": "gopher"}, "body.type"},
		{"type of a later version", object{"type": "mssql"}, "body.type"},
		{"another tenant's credential", object{"credential_id": foreign}, "body.credential_id"},
		{"no such credential", object{"credential_id": tenant}, "body.credential_id"},
		{"config is no object", object{"config": "x"}, "body.config"},
		{"unknown field of config", object{"config": config(object{"hots": "x"})}, "body.config.hots"},
		{"relative path", object{"config": config(object{"paths": []string{"/a", "b"}})}, "body.config.paths[1]"},
		{"port", object{"config": config(object{"port": 0})}, "body.config.port"},
		{"NUL in a path", object{"config": config(object{"paths": []string{"/a\x00b"}})}, "body.config.paths[0]"},
	}
	for _, c := range cases {
		body := sourceBody(tenant, credential)
		maps.Copy(body, c.change)
		r := l.do(key, "POST", "/api/v1/sources", body)
		if c.at == "" {
			if r.status != 201 {
				t.Errorf("%s: %d %s", c.name, r.status, r.body)
			}
			continue
		}
		if p := r.problem(t); r.status != 422 || p.locations() != c.at {
			t.Errorf("%s: %d %s, want 422 at %s", c.name, r.status, r.body, c.at)
		}
	}
}

func TestSourceLife(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	credential := l.credential(key, tenant, "pw")
	id := l.source(key, tenant, credential)
	path := "/api/v1/sources/" + id
	pin := func() { l.exec(`UPDATE sources SET pinned_host_keys = '{ssh-ed25519 AAAA}' WHERE id = $1`, id) }
	pins := func(s object) int { return strings.Count(fmt.Sprint(s["pinned_host_keys"]), "ssh-") }
	config := func(host string, port int, paths ...string) object {
		return object{"host": host, "port": port, "username": "u", "paths": paths, "trust_on_first_use": true}
	}
	steps := []struct {
		name string
		body object
		pins int
	}{
		{"rename", object{"name": "new"}, 1},
		{"disable", object{"status": "disabled"}, 1},
		{"other paths on the same host", object{"config": config("files.example.net", 22, "/a", "/b")}, 1},
		{"another port", object{"config": config("files.example.net", 2222, "/a")}, 0},
		{"another host", object{"config": config("other.example.net", 2222, "/a")}, 0},
		{"forget", object{"pinned_host_keys": []string{}}, 0},
	}
	for _, step := range steps {
		pin()
		var s object
		l.must(200, key, "PATCH", path, step.body, &s)
		if pins(s) != step.pins {
			t.Errorf("%s: %d pinned keys, want %d", step.name, pins(s), step.pins)
		}
	}
	var s object
	l.must(200, key, "GET", path, nil, &s)
	if s["name"] != "new" || s["status"] != "disabled" || s["credential_id"] != credential {
		t.Errorf("in the end: %v", s)
	}
	l.must(422, key, "PATCH", path, object{"pinned_host_keys": []string{"ssh-ed25519 AAAA"}}, nil)
	l.must(422, key, "PATCH", path, object{"type": "ssh"}, nil)
	l.must(422, key, "PATCH", path, object{"credential_id": tenant}, nil)
	l.must(422, key, "PATCH", path, object{"config": object{"paths": []string{"/a"}}}, nil)
	l.must(204, key, "DELETE", path, nil, nil)
	l.must(404, key, "PATCH", path, object{"name": "x"}, nil)
}

func TestSourceBandwidth(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	body := sourceBody(tenant, l.credential(key, tenant, "pw"))
	office := object{"from": "08:00", "to": "18:00", "days": []string{"mon", "fri"}, "limit_bps": 5_000_000}
	body["bandwidth"] = object{"limit_bps": 20_000_000, "windows": []object{office}, "timezone": "Europe/Berlin"}
	var s object
	l.must(201, key, "POST", "/api/v1/sources", body, &s)
	path := "/api/v1/sources/" + fmt.Sprint(s["id"])
	const stored = "map[limit_bps:2e+07 timezone:Europe/Berlin windows:[map[days:[mon fri] from:08:00 limit_bps:5e+06 to:18:00]]]"
	has := func(want string) {
		t.Helper()
		s = nil
		l.must(200, key, "GET", path, nil, &s)
		if got := fmt.Sprint(s["bandwidth"]); got != want {
			t.Errorf("the limit is %s, want %s", got, want)
		}
	}
	has(stored)
	l.must(200, key, "PATCH", path, object{"name": "new"}, nil)
	has(stored)
	for _, c := range []struct {
		change object
		at     string
	}{
		{object{"limit_bps": -1}, "body.bandwidth.limit_bps"},
		{object{"limit_bps": 5000}, "body.bandwidth.limit_bps"},
		{object{"rate": 5}, "body.bandwidth.rate"},
		{object{"timezone": "Mars/Base"}, "body.bandwidth.timezone"},
		{object{"windows": []object{office, {"from": "8", "to": "18:00", "limit_bps": 0}}}, "body.bandwidth.windows[1].from"},
		{object{"windows": []object{{"from": "08:00", "to": "18:00", "limit_bps": 0, "days": []string{"monday"}}}}, "body.bandwidth.windows[0].days[0]"},
		{object{"windows": []object{{"from": "08:00", "to": "18:00"}}}, "body.bandwidth.windows[0]"},
	} {
		if r := l.do(key, "PATCH", path, object{"bandwidth": c.change}); r.status != 422 || !strings.HasPrefix(r.problem(t).locations(), c.at) {
			t.Errorf("%v: %d %s, want 422 at %s", c.change, r.status, r.body, c.at)
		}
	}
	has(stored)
	l.must(200, key, "PATCH", path, object{"bandwidth": object{"limit_bps": 1_000_000}}, nil)
	has("map[limit_bps:1e+06]")
	l.must(200, key, "PATCH", path, object{"bandwidth": object{}}, nil)
	has("<nil>")
	l.must(200, key, "PATCH", path, object{"bandwidth": object{"limit_bps": 1_000_000}}, nil)
	l.must(200, key, "PATCH", path, object{"bandwidth": nil}, nil)
	has("<nil>")
}
