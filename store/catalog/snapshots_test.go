package catalog_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// owner is a tenant with one source and a key.
type owner struct{ tenant, source, key uuid.UUID }

// owner makes the rows that a snapshot hangs on.
func (f *fleet) owner() owner {
	f.t.Helper()
	o := owner{catalog.NewID(), catalog.NewID(), catalog.NewID()}
	f.exec("INSERT INTO encryption_keys (key_id, kind, canary) VALUES ('k', 'raw', 'x') ON CONFLICT DO NOTHING")
	f.exec("INSERT INTO tenants (id, name) VALUES ($1, 'a tenant')", o.tenant)
	f.exec(`INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
		VALUES ($1, $2, 'age-x25519', 'age1x', 'x', 'k', 'active')`, o.key, o.tenant)
	f.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'a source', '{}')", o.source, o.tenant)
	return o
}

// snapshotOf stores a snapshot of its own job on a worker's storage.
func (f *fleet) snapshotOf(o owner, worker string, storage uuid.UUID) uuid.UUID {
	f.t.Helper()
	id, jobID := catalog.NewID(), catalog.NewID()
	f.exec(`INSERT INTO jobs (id, tenant_id, source_id, type, status, finished_at)
		VALUES ($1, $2, $3, 'backup', 'completed', xvault_now())`, jobID, o.tenant, o.source)
	f.exec(`INSERT INTO snapshots (id, tenant_id, source_id, job_id, status, size_bytes, started_at, finished_at, duration_ms,
			manifest_json, artifact_sha256, encryption_algorithm, encryption_key_id, encryption_recipient,
			storage_backend, worker_id, storage_id, local_path)
		VALUES ($1, $2, $3, $4, 'completed', 7, xvault_now(), xvault_now(), 3, '{"format": "xvault/1"}', repeat('ab', 32),
			'age-x25519', $5, 'age1x', 'local_fs', $6, $7, '/srv/x')`, id, o.tenant, o.source, jobID, o.key, worker, storage)
	return id
}

func (f *fleet) snapshot(worker string, storage uuid.UUID) uuid.UUID {
	f.t.Helper()
	return f.snapshotOf(f.owner(), worker, storage)
}

// attempt makes a job with a current attempt, which may become a snapshot.
func (f *fleet) attempt(o owner, worker string, status job.Status) uuid.UUID {
	f.t.Helper()
	id := catalog.NewID()
	f.exec(`INSERT INTO jobs (id, tenant_id, source_id, type, status, attempt, claim_id, worker_id, worker_incarnation,
			lease_expires_at, started_at, attempt_snapshot_id)
		VALUES ($1, $2, $3, 'backup', $4, 1, $5, $6, 1, xvault_now() + interval '1 minute', xvault_now(), $7)`,
		catalog.NewID(), o.tenant, o.source, string(status), catalog.NewID(), worker, id)
	return id
}

func TestSnapshotsBelongToTheirTenant(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.owner(), f.owner()
	id := f.snapshotOf(a, "w1", uuid.New())
	actor := catalog.Actor{Type: catalog.ActorAPIKey, ID: "k"}
	own, foreign := f.Tenant(a.tenant, actor), f.Tenant(b.tenant, actor)
	for name, scope := range map[string]catalog.Scope{"operator": f.operator(), "own": own} {
		s, err := scope.Snapshot(t.Context(), id)
		if err != nil || s.ID != id || s.TenantID != a.tenant || s.SizeBytes != 7 || s.ETag != nil {
			t.Errorf("%s: %+v, %v", name, s, err)
		}
	}
	hold := true
	if _, err := foreign.Snapshot(t.Context(), id); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("foreign get: %v", err)
	}
	if _, err := foreign.PatchSnapshot(t.Context(), id, catalog.SnapshotPatch{Hold: &hold}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("foreign patch: %v", err)
	}
	list, err := foreign.Snapshots(t.Context(), catalog.SnapshotFilter{SourceID: &a.source}, catalog.Page{Limit: 10})
	if err != nil || len(list) != 0 {
		t.Errorf("foreign list by source: %v, %v", list, err)
	}
	if _, err := foreign.Snapshots(t.Context(), catalog.SnapshotFilter{TenantID: &a.tenant}, catalog.Page{Limit: 10}); !errors.Is(err, catalog.ErrNotFound) {
		t.Errorf("foreign list by tenant: %v", err)
	}
}

func TestSnapshotListFilters(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	a, b := f.owner(), f.owner()
	var ids []uuid.UUID
	for i := range 6 {
		o := a
		if i%3 == 2 {
			o = b
		}
		ids = append(ids, f.snapshotOf(o, "w1", uuid.New()))
	}
	f.exec("UPDATE snapshots SET status = 'partial' WHERE id = $1", ids[0])
	page := catalog.Page{Limit: 10}
	tests := map[string]struct {
		filter catalog.SnapshotFilter
		page   catalog.Page
		want   []int
	}{
		"all":                {catalog.SnapshotFilter{}, page, []int{5, 4, 3, 2, 1, 0}},
		"tenant":             {catalog.SnapshotFilter{TenantID: &b.tenant}, page, []int{5, 2}},
		"source":             {catalog.SnapshotFilter{SourceID: &a.source}, page, []int{4, 3, 1, 0}},
		"source, not tenant": {catalog.SnapshotFilter{SourceID: &a.source, TenantID: &b.tenant}, page, nil},
		"status":             {catalog.SnapshotFilter{Status: catalog.SnapshotPartial}, page, []int{0}},
		"first page":         {catalog.SnapshotFilter{TenantID: &a.tenant}, catalog.Page{Limit: 2}, []int{4, 3}},
		"second page":        {catalog.SnapshotFilter{TenantID: &a.tenant}, catalog.Page{Limit: 2, After: ids[3]}, []int{1, 0}},
		"no such source":     {catalog.SnapshotFilter{SourceID: &ids[0]}, page, nil},
	}
	for name, tt := range tests {
		list, err := f.operator().Snapshots(t.Context(), tt.filter, tt.page)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got []int
		for _, s := range list {
			got = append(got, slices.Index(ids, s.ID))
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v, want %v", name, got, tt.want)
		}
	}
}

func TestPatchSnapshot(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	o := f.owner()
	id := f.snapshotOf(o, "w1", uuid.New())
	yes, no, note := true, false, "before the move"
	s, err := f.operator().PatchSnapshot(t.Context(), id, catalog.SnapshotPatch{Hold: &yes})
	if err != nil || !s.Hold || s.Note != "" {
		t.Fatalf("hold: %+v, %v", s, err)
	}
	s, err = f.operator().PatchSnapshot(t.Context(), id, catalog.SnapshotPatch{Note: &note})
	if err != nil || !s.Hold || s.Note != note || !s.UpdatedAt.After(s.CreatedAt) {
		t.Fatalf("note: %+v, %v", s, err)
	}
	if n := f.count("SELECT count(*) FROM audit_events WHERE action = 'snapshot.update' AND object_id = $1 AND tenant_id = $2", id.String(), o.tenant); n != 2 {
		t.Errorf("%d audit events, want 2", n)
	}
	f.exec("UPDATE snapshots SET status = 'deleted'")
	var conflict *catalog.Conflict
	if _, err := f.operator().PatchSnapshot(t.Context(), id, catalog.SnapshotPatch{Hold: &yes}); !errors.As(err, &conflict) || conflict.Code != "snapshot_deleted" {
		t.Errorf("hold what is deleted: %v", err)
	}
	if s, err := f.operator().PatchSnapshot(t.Context(), id, catalog.SnapshotPatch{Hold: &no}); err != nil || s.Hold {
		t.Errorf("let go what is deleted: %+v, %v", s, err)
	}
}

func TestReconcile(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, _ := f.join("w1")
	otherReg, _ := f.join("w2")
	o := f.owner()
	stored, kept := f.snapshotOf(o, "w1", reg.StorageID), f.snapshotOf(o, "w1", reg.StorageID)
	deleted, deleting := f.snapshotOf(o, "w1", reg.StorageID), f.snapshotOf(o, "w1", reg.StorageID)
	f.exec("UPDATE snapshots SET status = 'deleted' WHERE id = $1", deleted)
	f.exec("UPDATE snapshots SET status = 'deleting' WHERE id = $1", deleting)
	elsewhere := f.snapshotOf(o, "w2", otherReg.StorageID)
	olderDisk := f.snapshotOf(o, "w1", uuid.New())
	running, finalizing := f.attempt(o, "w1", job.Running), f.attempt(o, "w1", job.Finalizing)
	orphan := uuid.New()
	names := map[uuid.UUID]string{
		stored: "stored", kept: "kept", deleted: "deleted", deleting: "deleting", elsewhere: "elsewhere",
		olderDisk: "older disk", running: "running", finalizing: "finalizing", orphan: "orphan",
	}
	onDisk := []uuid.UUID{stored, deleted, elsewhere, running, finalizing, orphan, orphan}
	tests := map[string]struct {
		req              job.ReconcileRequest
		unknown, missing []string
	}{
		"complete": {job.ReconcileRequest{StorageID: reg.StorageID, Snapshots: onDisk, Complete: true},
			[]string{"deleted", "orphan"}, []string{"kept"}},
		"a batch":         {job.ReconcileRequest{StorageID: reg.StorageID, Snapshots: onDisk}, []string{"deleted", "orphan"}, nil},
		"another storage": {job.ReconcileRequest{StorageID: uuid.New(), Snapshots: onDisk, Complete: true}, nil, nil},
		"no storage":      {job.ReconcileRequest{Snapshots: onDisk, Complete: true}, nil, nil},
		"empty storage":   {job.ReconcileRequest{StorageID: reg.StorageID, Complete: true}, nil, []string{"kept", "stored"}},
	}
	reconcile := func(req job.ReconcileRequest) (unknown, missing []string) {
		t.Helper()
		res, err := f.Reconcile(t.Context(), ref("w1", 1), req)
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range res.Unknown {
			unknown = append(unknown, names[id])
		}
		for _, id := range res.Missing {
			missing = append(missing, names[id])
		}
		slices.Sort(unknown)
		slices.Sort(missing)
		return unknown, missing
	}
	for name, tt := range tests {
		unknown, missing := reconcile(tt.req)
		if !slices.Equal(unknown, tt.unknown) || !slices.Equal(missing, tt.missing) {
			t.Errorf("%s: unknown %v, missing %v; want %v, %v", name, unknown, missing, tt.unknown, tt.missing)
		}
	}

	f.exec("UPDATE workers SET storage_state = 'missing' WHERE id = 'w1'")
	if unknown, missing := reconcile(tests["complete"].req); len(unknown)+len(missing) != 0 {
		t.Errorf("a storage that is not usable: unknown %v, missing %v", unknown, missing)
	}
	if _, err := f.Reconcile(t.Context(), ref("w1", 0), tests["complete"].req); !errors.Is(err, catalog.ErrSuperseded) {
		t.Errorf("another incarnation: %v", err)
	}
}

func TestReconcileOfManySnapshots(t *testing.T) {
	t.Parallel()
	f := newFleet(t)
	reg, _ := f.join("w1")
	o := f.owner()
	known := f.snapshotOf(o, "w1", reg.StorageID)
	ids := make([]uuid.UUID, 100_000)
	for i := range ids {
		ids[i] = uuid.New()
	}
	ids[len(ids)/2] = known
	res, err := f.Reconcile(t.Context(), ref("w1", 1), job.ReconcileRequest{StorageID: reg.StorageID, Snapshots: ids, Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(len(res.Unknown), len(res.Missing)); got != "99999 0" {
		t.Errorf("unknown and missing: %s", got)
	}
}
