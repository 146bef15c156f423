package catalog_test

import (
	"slices"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

func TestCreateJob(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	j := l.post(func(n *catalog.NewJob) { n.Priority = 9 })
	if j.Status != job.Queued || j.Kind != job.Backup || j.Priority != 9 || j.TenantID != l.owner.tenant || j.MaxAttempts != 5 ||
		j.Attempt != 0 || j.WaitingReason != "" || string(j.Payload) != "{}" || j.CreatedAt.IsZero() {
		t.Errorf("job is %+v", j)
	}
	if got := l.job(j.ID); !got.CreatedAt.Equal(j.CreatedAt) || got.Priority != 9 {
		t.Errorf("stored job is %+v", got)
	}
	if n := l.count(`SELECT count(*) FROM audit_events WHERE action = 'job.create' AND object_id = $1 AND tenant_id = $2
		AND actor_type = 'api_key' AND actor_id = 'key' AND request_id = 'r2'`, j.ID.String(), l.owner.tenant); n != 1 {
		t.Errorf("%d audit events tell of it", n)
	}
	op, err := l.operator().CreateJob(t.Context(), catalog.NewJob{SourceID: l.owner.source, Kind: job.Probe})
	l.must(err)
	if op.TenantID != l.owner.tenant {
		t.Errorf("the operator's job belongs to %v", op.TenantID)
	}
}

func TestCreateJobRefusals(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	stranger := l.fleet.owner()
	for name, n := range map[string]catalog.NewJob{
		"foreign source": {SourceID: stranger.source, Kind: job.Backup},
		"foreign tenant": {TenantID: stranger.tenant, SourceID: l.owner.source, Kind: job.Backup},
		"no source":      {SourceID: uuid.New(), Kind: job.Backup},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := l.tenant().CreateJob(t.Context(), n)
			wantErr(t, err, catalog.ErrNotFound)
		})
	}
	_, err := l.operator().CreateJob(t.Context(), catalog.NewJob{TenantID: stranger.tenant, SourceID: l.owner.source, Kind: job.Backup})
	wantErr(t, err, catalog.ErrNotFound)
	for _, priority := range []int{-1, 10, 1 << 20} {
		if _, err := l.tenant().CreateJob(t.Context(), catalog.NewJob{SourceID: l.owner.source, Kind: job.Backup, Priority: priority}); err == nil {
			t.Errorf("priority %d was taken", priority)
		}
	}
	l.exec("UPDATE sources SET status = 'disabled' WHERE id = $1", l.owner.source)
	_, err = l.tenant().CreateJob(t.Context(), catalog.NewJob{SourceID: l.owner.source, Kind: job.Backup})
	wantConflict(t, err, "source_disabled")
	l.post(ofKind(job.Probe))
	if n := l.count("SELECT count(*) FROM audit_events WHERE action = 'job.create'"); n != 1 {
		t.Errorf("%d audit events tell of one job", n)
	}
}

func TestJobsAreListed(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	stranger := l.fleet.owner()
	strange := l.Tenant(stranger.tenant, catalog.Actor{Type: catalog.ActorAPIKey})
	foreign, err := strange.CreateJob(t.Context(), catalog.NewJob{SourceID: stranger.source, Kind: job.Backup})
	l.must(err)
	probe, backup := l.post(ofKind(job.Probe)), l.post()
	canceled := l.post()
	_, err = l.tenant().CancelJob(t.Context(), canceled.ID)
	l.must(err)

	mine := []uuid.UUID{canceled.ID, backup.ID, probe.ID}
	all := append(slices.Clone(mine), foreign.ID)
	for name, tt := range map[string]struct {
		scope  catalog.Scope
		filter catalog.JobFilter
		want   []uuid.UUID
	}{
		"operator":             {l.operator(), catalog.JobFilter{}, all},
		"operator, one tenant": {l.operator(), catalog.JobFilter{TenantID: &stranger.tenant}, all[3:]},
		"operator, one source": {l.operator(), catalog.JobFilter{SourceID: &l.owner.source}, mine},
		"operator, no source":  {l.operator(), catalog.JobFilter{SourceID: &probe.ID}, nil},
		"tenant":               {l.tenant(), catalog.JobFilter{}, mine},
		"tenant, foreign":      {l.tenant(), catalog.JobFilter{TenantID: &stranger.tenant}, nil},
		"tenant, strange src":  {l.tenant(), catalog.JobFilter{SourceID: &stranger.source}, nil},
		"status":               {l.tenant(), catalog.JobFilter{Status: "canceled"}, mine[:1]},
		"type":                 {l.tenant(), catalog.JobFilter{Type: "probe"}, mine[2:]},
		"type and status":      {l.operator(), catalog.JobFilter{Type: "backup", Status: "queued"}, []uuid.UUID{backup.ID, foreign.ID}},
	} {
		t.Run(name, func(t *testing.T) {
			jobs, err := tt.scope.Jobs(t.Context(), tt.filter, catalog.Page{Limit: 50})
			l.must(err)
			if got := ids(jobs); !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
	var paged []uuid.UUID
	page := catalog.Page{Limit: 1}
	for range all {
		jobs, err := l.operator().Jobs(t.Context(), catalog.JobFilter{}, page)
		l.must(err)
		paged = append(paged, ids(jobs)...)
		page.After = jobs[0].ID
	}
	if !slices.Equal(paged, all) {
		t.Errorf("pages give %v, want %v", paged, all)
	}
	_, err = strange.Job(t.Context(), backup.ID)
	wantErr(t, err, catalog.ErrNotFound)
}

func ids(jobs []catalog.Job) []uuid.UUID {
	var out []uuid.UUID
	for _, j := range jobs {
		out = append(out, j.ID)
	}
	return out
}

func TestWhyAJobWaits(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	for _, tt := range []struct {
		online []string
		target string
		want   string
	}{
		{online: []string{"w1", "w2"}, want: ""},
		{online: []string{"w1"}, target: "w1", want: ""},
		{online: []string{"w2"}, target: "w1", want: catalog.WaitingWorkerOffline},
		{online: nil, target: "w1", want: catalog.WaitingWorkerOffline},
		{online: []string{"w1"}, target: "w9", want: catalog.WaitingWorkerOffline},
		{online: nil, want: catalog.WaitingNoWorker},
	} {
		l.exec("UPDATE workers SET status = CASE WHEN id = ANY($1) THEN 'online' ELSE 'offline' END", tt.online)
		var target []func(*catalog.NewJob)
		if tt.target != "" {
			target = append(target, only(tt.target))
		}
		created := l.post(target...)
		if got := l.job(created.ID).WaitingReason; got != tt.want || created.WaitingReason != tt.want {
			t.Errorf("with %v online a job for %q waits for %q (when created: %q), want %q", tt.online, tt.target, got, created.WaitingReason, tt.want)
		}
	}
}
