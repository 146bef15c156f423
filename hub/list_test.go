package hub_test

import (
	"fmt"
	"net/url"
	"slices"
	"testing"
)

// page is one page of any list.
type page struct {
	Items      []object
	NextCursor string `json:"next_cursor"`
}

// all follows the cursors.
func (l *lab) all(key, path string, limit int) (ids []string, pages int) {
	l.t.Helper()
	for cursor := ""; ; pages++ {
		var p page
		l.must(200, key, "GET", fmt.Sprintf("%s?limit=%d&cursor=%s", path, limit, url.QueryEscape(cursor)), nil, &p)
		if len(p.Items) > limit {
			l.t.Errorf("%s: %d items with limit %d", path, len(p.Items), limit)
		}
		for _, item := range p.Items {
			ids = append(ids, item.id())
		}
		if cursor = p.NextCursor; cursor == "" {
			return ids, pages + 1
		}
	}
}

func TestListsAreWholeAndNewestFirst(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	other, otherKey := l.tenant("two")
	credential := l.credential(key, tenant, "pw")
	foreign := l.source(otherKey, other, l.credential(otherKey, other, "pw"))
	var made []string
	for range 12 {
		made = append(made, l.source(key, tenant, credential))
	}
	slices.Reverse(made)
	for limit, pages := range map[int]int{1: 12, 5: 3, 6: 2, 12: 1, 500: 1} {
		ids, n := l.all(key, "/api/v1/sources", limit)
		if !slices.Equal(ids, made) || n != pages {
			t.Errorf("limit %d: %d pages of %v", limit, n, ids)
		}
	}
	everything, _ := l.all(operatorKey, "/api/v1/sources", 500)
	if len(everything) != 13 || !slices.Contains(everything, foreign) {
		t.Errorf("the operator sees %d", len(everything))
	}
	var p page
	l.must(200, operatorKey, "GET", "/api/v1/sources?tenant_id="+other, nil, &p)
	if len(p.Items) != 1 || p.Items[0].id() != foreign {
		t.Errorf("the operator asks for one tenant's: %v", p.Items)
	}
	if r := l.do(operatorKey, "GET", "/api/v1/tenants?tenant_id="+tenant, nil); r.status != 200 {
		t.Errorf("%d %s", r.status, r.body)
	}
	// An empty list is a list.
	if r := l.do(otherKey, "GET", "/api/v1/snapshots", nil); string(r.body) != "{\"items\":[],\"next_cursor\":\"\"}\n" {
		t.Errorf("empty list: %s", r.body)
	}
	for _, noun := range []string{"tenants", "credentials", "sources", "jobs", "snapshots", "workers", "api-keys", "audit-events"} {
		l.must(200, operatorKey, "GET", "/api/v1/"+noun, nil, &p)
	}
}

func TestAuditFilters(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	_, otherKey := l.tenant("two")
	credential := l.credential(key, tenant, "pw")
	source := l.source(key, tenant, credential)
	for query, want := range map[string]int{
		"object_id=" + source:                            1,
		"object_type=credential":                         1,
		"action=source.create":                           1,
		"action=source.create&object_type=source":        1,
		"action=source.create&object_id=" + tenant:       0,
		"tenant_id=" + tenant + "&action=api_key.create": 1,
		"action=nothing.such":                            0,
	} {
		var p page
		l.must(200, key, "GET", "/api/v1/audit-events?"+query, nil, &p)
		if len(p.Items) != want {
			t.Errorf("%s: %d events, want %d", query, len(p.Items), want)
		}
		l.must(200, operatorKey, "GET", "/api/v1/audit-events?"+query, nil, nil)
	}
	var mine page
	l.must(200, otherKey, "GET", "/api/v1/audit-events?limit=500", nil, &mine)
	for _, e := range mine.Items {
		if e["tenant_id"] == tenant {
			t.Errorf("another tenant's event: %v", e)
		}
	}
	l.must(422, key, "GET", "/api/v1/audit-events?action=Robert%27)%3B", nil, nil)
}
