package hub_test

import (
	"strings"
	"testing"

	"xvault/archive/seal"
	"xvault/internal/secret"
)

func TestTenants(t *testing.T) {
	t.Parallel()
	l := start(t)
	var made object
	l.must(201, operatorKey, "POST", "/api/v1/tenants", object{"name": "Café \"Ümläut\" 日本 😀", "plan": "gold"}, &made)
	id := made.id()
	if made["name"] != "Café \"Ümläut\" 日本 😀" || made["plan"] != "gold" || !strings.HasPrefix(made.text("public_key"), "age1") {
		t.Errorf("made %v", made)
	}
	if at := made.text("created_at"); len(at) != len("2026-11-25T19:08:04.436165Z") || !strings.HasSuffix(at, "Z") {
		t.Errorf("created_at %q is not UTC with microseconds", at)
	}
	var got, patched object
	l.must(200, operatorKey, "GET", "/api/v1/tenants/"+id, nil, &got)
	l.must(200, operatorKey, "PATCH", "/api/v1/tenants/"+id, object{"name": "new name"}, &patched)
	if got["public_key"] != made["public_key"] || patched["name"] != "new name" || patched["plan"] != "gold" {
		t.Errorf("got %v, patched %v", got, patched)
	}

	var kit struct {
		Identity  string `json:"identity"`
		PublicKey string `json:"public_key"`
	}
	l.must(200, operatorKey, "POST", "/api/v1/tenants/"+id+"/export-key", nil, &kit)
	recipient, err := seal.Recipient(secret.New(kit.Identity))
	if err != nil || recipient != kit.PublicKey || recipient != made["public_key"] {
		t.Errorf("the recovery kit does not fit: %v, %q for %q", err, recipient, made["public_key"])
	}
	var events struct{ Items []object }
	l.must(200, operatorKey, "GET", "/api/v1/audit-events?action=tenant.export_key&object_id="+id, nil, &events)
	if len(events.Items) != 1 || events.Items[0]["actor_type"] != "operator" {
		t.Errorf("export was not audited: %v", events.Items)
	}
	l.must(204, operatorKey, "DELETE", "/api/v1/tenants/"+id, nil, nil)
	l.must(404, operatorKey, "GET", "/api/v1/tenants/"+id, nil, nil)
	l.must(404, operatorKey, "DELETE", "/api/v1/tenants/"+id, nil, nil)
	l.must(404, operatorKey, "POST", "/api/v1/tenants/"+id+"/export-key", nil, nil)
	l.must(200, operatorKey, "GET", "/api/v1/audit-events?object_type=tenant&object_id="+id, nil, &events)
	if len(events.Items) != 4 {
		t.Errorf("the trail does not outlive the tenant: %v", events.Items)
	}
}

func TestATenantsKeyAndItsTenant(t *testing.T) {
	t.Parallel()
	l := start(t)
	id, key := l.tenant("one")
	other, _ := l.tenant("two")
	var list struct{ Items []object }
	l.must(200, key, "GET", "/api/v1/tenants", nil, &list)
	if len(list.Items) != 1 || list.Items[0].id() != id {
		t.Errorf("sees %v", list.Items)
	}
	l.must(200, key, "PATCH", "/api/v1/tenants/"+id, object{"name": "renamed"}, nil)
	l.must(403, key, "PATCH", "/api/v1/tenants/"+id, object{"plan": "gold"}, nil)
	l.must(403, key, "DELETE", "/api/v1/tenants/"+id, nil, nil)
	l.must(403, key, "POST", "/api/v1/tenants/"+id+"/export-key", nil, nil)
	for _, tenant := range []string{other, "01a2141b-9fd3-774e-a826-af6faf6b0237"} {
		l.must(404, key, "GET", "/api/v1/tenants/"+tenant, nil, nil)
		l.must(404, key, "PATCH", "/api/v1/tenants/"+tenant, object{"plan": "gold"}, nil)
		l.must(404, key, "DELETE", "/api/v1/tenants/"+tenant, nil, nil)
		l.must(404, key, "POST", "/api/v1/tenants/"+tenant+"/export-key", nil, nil)
		l.must(404, key, "GET", "/api/v1/sources?tenant_id="+tenant, nil, nil)
	}
}

// Snapshots whose bytes exist keep their tenant and source; deleted ones do not.
func TestDeleteIsRefusedWhileSnapshotsOrJobsExist(t *testing.T) {
	t.Parallel()
	l := start(t)
	tenant, key := l.tenant("one")
	source := l.source(key, tenant, l.credential(key, tenant, "pw"))
	var job object
	l.must(201, key, "POST", "/api/v1/jobs", object{"source_id": source}, &job)
	refused := func(path, who, code string) {
		t.Helper()
		if p := l.must(409, who, "DELETE", path, nil, nil).problem(t); p.Code != code {
			t.Errorf("DELETE %s: %s", path, p.Code)
		}
	}
	refused("/api/v1/sources/"+source, key, "source_in_use")
	refused("/api/v1/tenants/"+tenant, operatorKey, "tenant_has_jobs")
	l.must(200, key, "POST", "/api/v1/jobs/"+job.id()+"/cancel", nil, nil)

	l.exec(`INSERT INTO snapshots (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms,
		manifest_json, artifact_sha256, encryption_algorithm, encryption_key_id, encryption_recipient, storage_backend, worker_id, local_path)
		SELECT gen_random_uuid(), $1, $2, $3, 'completed', 1, now(), now(), 1, '{}', repeat('0', 64), 'age-x25519', k.id, k.public_key,
		'local_fs', 'w', '/x' FROM tenant_keys k WHERE tenant_id = $1`, tenant, source, job.id())
	refused("/api/v1/sources/"+source, key, "source_in_use")
	refused("/api/v1/tenants/"+tenant, operatorKey, "tenant_has_snapshots")

	l.exec(`UPDATE snapshots SET status = 'deleted' WHERE tenant_id = $1`, tenant)
	l.must(204, key, "DELETE", "/api/v1/sources/"+source, nil, nil)
	l.must(204, operatorKey, "DELETE", "/api/v1/tenants/"+tenant, nil, nil)
	l.must(401, key, "GET", "/api/v1/sources", nil, nil)
}
