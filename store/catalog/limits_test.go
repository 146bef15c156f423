package catalog_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// limited is a line whose backups at once are bounded.
func limited(t *testing.T, limits catalog.Limits) *line {
	t.Helper()
	l := newLine(t)
	db, err := catalog.Open(t.Context(), catalog.Config{URL: secret.New(l.url), MaxConns: 8, Limits: limits})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	l.DB = db
	return l
}

// another makes one more source of the owner's tenant.
func (f *fleet) another(o owner, host string) owner {
	f.t.Helper()
	o.source = catalog.NewID()
	f.exec(`INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'another', jsonb_build_object('host', $3::text))`,
		o.source, o.tenant, host)
	return o
}

func (l *line) sourcesOf(deliveries []job.Delivery) map[uuid.UUID]int {
	l.t.Helper()
	out := map[uuid.UUID]int{}
	for _, d := range deliveries {
		out[l.job(d.JobID).SourceID]++
	}
	return out
}

func (l *line) waits(id uuid.UUID, reason string) {
	l.t.Helper()
	if got := l.job(id).WaitingReason; got != reason {
		l.t.Errorf("the job waits for %q, want %q", got, reason)
	}
}

func TestOneBackupOfASourceAtOnce(t *testing.T) {
	t.Parallel()
	l := limited(t, catalog.Limits{PerSource: 1})
	first, second := l.post(), l.post()
	probe := l.post(ofKind(job.Probe))
	// A backup, and what is none.
	if got := l.dispatch(10, l.owner); len(got) != 2 {
		t.Fatalf("dispatched %v", got)
	}
	l.waits(second.ID, catalog.WaitingSourceBusy)
	l.waits(first.ID, "")
	l.waits(probe.ID, "")
	c := l.claim(l.w1, first.ID)
	if got := l.dispatch(10, l.owner); len(got) != 0 {
		t.Fatalf("dispatched %v while one is made", got)
	}
	l.waits(second.ID, catalog.WaitingSourceBusy)
	// Two hubs at the same moment could hand out both: the claim says no.
	_, err := l.ClaimJob(t.Context(), l.w2, job.ClaimRequest{JobID: second.ID, ClaimID: uuid.New()})
	wantErr(t, err, catalog.ErrNotClaimable)
	l.must(l.CompleteJob(t.Context(), fence(c, l.w1), l.success(c, l.w1)))
	l.waits(second.ID, "")
	if got := l.dispatch(10, l.owner); len(got) != 1 || got[0].JobID != second.ID {
		t.Fatalf("dispatched %v when it has ended", got)
	}
	l.claim(l.w2, second.ID)
}

// TestOfManyClaimsOfASourceOneWins: they are dispatched, as by hubs that know
// nothing of limits, and claimed at once.
func TestOfManyClaimsOfASourceOneWins(t *testing.T) {
	t.Parallel()
	l := limited(t, catalog.Limits{PerSource: 1})
	var jobs []uuid.UUID
	for range 12 {
		jobs = append(jobs, l.post().ID)
	}
	var mu sync.Mutex
	won := 0
	var all sync.WaitGroup
	for i, id := range jobs {
		all.Go(func() {
			_, err := l.ClaimJob(t.Context(), []catalog.WorkerRef{l.w1, l.w2}[i%2], job.ClaimRequest{JobID: id, ClaimID: uuid.New()})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				won++
			case !errors.Is(err, catalog.ErrNotClaimable):
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := l.count("SELECT count(*) FROM jobs WHERE status = 'running'"); won != 1 || n != 1 {
		t.Errorf("%d claims won, %d jobs run", won, n)
	}
}

// TestABusySourceHoldsUpNoOtherOfItsTenant: ten thousand jobs of one source stand
// before those of the others.
func TestABusySourceHoldsUpNoOtherOfItsTenant(t *testing.T) {
	t.Parallel()
	l := limited(t, catalog.Limits{PerSource: 1})
	l.fill(l.owner, 10_000, 9)
	var others []owner
	for range 100 {
		o := l.another(l.owner, "h")
		l.fill(o, 1, 5)
		others = append(others, o)
	}
	taken := map[uuid.UUID]int{}
	rounds := 0
	for ; len(taken) < 101 && rounds < 60; rounds++ {
		for source, n := range l.sourcesOf(l.dispatch(8, l.owner)) {
			taken[source] += n
		}
	}
	if len(taken) != 101 || taken[l.owner.source] != 1 {
		t.Errorf("in %d rounds jobs of %d sources were dispatched, %d of the busy one", rounds, len(taken), taken[l.owner.source])
	}
	t.Logf("100 jobs of others took %d rounds of 8", rounds)
	for _, o := range others {
		if taken[o.source] != 1 {
			t.Errorf("source %v: %d", o.source, taken[o.source])
		}
	}
}

func TestLimitOfAHost(t *testing.T) {
	t.Parallel()
	l := limited(t, catalog.Limits{PerHost: 3})
	a, b := l.owner, l.fleet.owner()
	var on []owner
	for i := range 8 {
		on = append(on, l.another([]owner{a, b}[i%2], []string{"Files.example.net", "files.EXAMPLE.net"}[i%2]))
	}
	for _, o := range on {
		l.fill(o, 2, 9)
	}
	elsewhere := l.another(a, "other.example.net")
	// Of a source that is reached through the host, it is that host's limit.
	through := l.another(b, "127.0.0.1")
	l.exec(`UPDATE sources SET config = config || '{"ssh": {"host": "FILES.example.net"}}' WHERE id = $1`, through.source)
	on = append(on, through)
	l.fill(through, 2, 9)
	l.fill(elsewhere, 2, 1)
	nowhere := l.another(b, "")
	l.exec("UPDATE sources SET config = '{}' WHERE id = $1", nowhere.source)
	l.fill(nowhere, 5, 1)
	total := map[uuid.UUID]int{}
	for range 20 {
		for source, n := range l.sourcesOf(l.dispatch(4, a, b)) {
			total[source] += n
		}
	}
	host := 0
	for _, o := range on {
		host += total[o.source]
	}
	if host != 3 || total[elsewhere.source] != 2 || total[nowhere.source] != 5 {
		t.Errorf("dispatched %d of the host, %d of another, %d of none", host, total[elsewhere.source], total[nowhere.source])
	}
	if n := l.count("SELECT count(*) FROM jobs WHERE dispatched_at IS NULL"); n != 15 {
		t.Errorf("%d wait", n)
	}
	waiting, err := l.operator().Jobs(t.Context(), catalog.JobFilter{}, catalog.Page{Limit: 100})
	l.must(err)
	for _, j := range waiting {
		if want := map[bool]string{true: "", false: catalog.WaitingHostBusy}[j.WaitingReason == ""]; j.WaitingReason != want {
			t.Errorf("a job waits for %q", j.WaitingReason)
		}
	}
}

func TestLimitOfATenant(t *testing.T) {
	t.Parallel()
	l := limited(t, catalog.Limits{PerTenant: 5})
	a, b := l.owner, l.fleet.owner()
	for range 30 {
		l.fill(l.another(a, "h"), 1, 5)
	}
	l.fill(b, 2, 5)
	probe := l.post(ofKind(job.Probe), func(n *catalog.NewJob) { n.Priority = 9 })
	got := l.dispatch(20, a, b)
	tenants := l.tenantsOf(got)
	if countOf(tenants, a.tenant) != 6 || countOf(tenants, b.tenant) != 2 { // the probe does not count
		t.Errorf("dispatched %d and %d", countOf(tenants, a.tenant), countOf(tenants, b.tenant))
	}
	l.waits(probe.ID, "")
	if n := len(l.dispatch(20, a, b)); n != 0 {
		t.Errorf("dispatched %d more", n)
	}
	var id uuid.UUID
	l.must(l.raw.QueryRow(t.Context(), "SELECT id FROM jobs WHERE dispatched_at IS NULL LIMIT 1").Scan(&id))
	l.waits(id, catalog.WaitingTenantBusy)
}

func TestAJobWhoseTimeHasNotComeSaysSo(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	j := l.post()
	l.exec("UPDATE jobs SET run_after = xvault_now() + interval '5 min'")
	l.waits(j.ID, catalog.WaitingScheduled)
}
