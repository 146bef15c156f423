package catalog_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// fill posts n jobs at once.
func (f *fleet) fill(o owner, n, priority int) {
	f.t.Helper()
	f.exec(`INSERT INTO jobs (id, tenant_id, source_id, type, priority, run_after)
		SELECT gen_random_uuid(), $1, $2, 'backup', $4, xvault_now() - interval '1 s' FROM generate_series(1, $3)`, o.tenant, o.source, n, priority)
}

func (l *line) dispatch(room int, owners ...owner) []job.Delivery {
	l.t.Helper()
	var tenants []uuid.UUID
	for _, o := range owners {
		tenants = append(tenants, o.tenant)
	}
	taken, err := l.Dispatch(l.t.Context(), catalog.Queue{Name: job.QueueBackup, Room: room}, tenants)
	l.must(err)
	var deliveries []job.Delivery
	for _, h := range taken {
		deliveries = append(deliveries, h.Delivery)
	}
	return deliveries
}

func (l *line) tenantsOf(deliveries []job.Delivery) []uuid.UUID {
	l.t.Helper()
	var out []uuid.UUID
	for _, d := range deliveries {
		out = append(out, l.job(d.JobID).TenantID)
	}
	return out
}

func TestRoomIsTwiceTheLiveSlots(t *testing.T) {
	t.Parallel()
	l := newLine(t) // two workers of four slots
	room := func() map[string]int {
		queues, err := l.DispatchQueues(t.Context())
		l.must(err)
		got := map[string]int{}
		for _, q := range queues {
			got[q.Name] = q.Room
		}
		return got
	}
	want := func(backup, w1 int) {
		t.Helper()
		if got := room(); got["backup"] != backup || got["worker:w1"] != w1 {
			t.Errorf("room is %v, want %d and %d", got, backup, w1)
		}
	}
	want(0, 0) // nothing waits
	l.fill(l.owner, 40, 5)
	l.post(only("w1"))
	l.post(only("w9")) // who is not there
	want(16, 8)
	l.running() // takes room as well
	want(15, 8)
	if n := len(l.dispatch(10, l.owner)); n != 10 {
		t.Fatalf("dispatched %d", n)
	}
	want(5, 8)
	for _, away := range []string{"status = 'offline'", "status = 'draining'", "drain_requested = true", "storage_state = 'missing'"} {
		l.exec("UPDATE workers SET " + away + " WHERE id = 'w2'")
		want(0, 8) // 8 - 11
		l.exec("UPDATE workers SET status = 'online', drain_requested = false, storage_state = 'ok'")
	}
	l.exec("UPDATE jobs SET dispatched_at = NULL")
	l.exec("UPDATE workers SET status = 'offline'")
	want(1, 0) // 2 - 1: as if a worker came soon
}

func TestDispatchGivesSequences(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	j := l.post()
	for seq := int64(1); seq <= 3; seq++ {
		if got := l.dispatch(5, l.owner); len(got) != 1 || got[0] != (job.Delivery{JobID: j.ID, Seq: seq}) {
			t.Fatalf("dispatched %v, want sequence %d", got, seq)
		}
		if got := l.dispatch(5, l.owner); len(got) != 0 {
			t.Fatalf("dispatched %v twice", got)
		}
		standing, err := l.Dispatched(t.Context(), 0, 10)
		l.must(err)
		if len(standing) != 1 || standing[0].Seq != seq || standing[0].Queue != job.QueueBackup || standing[0].Age < 0 {
			t.Fatalf("standing are %+v", standing)
		}
		if young, err := l.Dispatched(t.Context(), time.Minute, 10); err != nil || len(young) != 0 {
			t.Fatalf("%v of a minute's age, error %v", young, err)
		}
		n, err := l.Undispatch(t.Context(), []job.Delivery{{JobID: j.ID, Seq: seq - 1}, {JobID: uuid.New(), Seq: seq}})
		l.must(err)
		if n != 0 {
			t.Fatal("took back another delivery")
		}
		n, err = l.Undispatch(t.Context(), []job.Delivery{{JobID: j.ID, Seq: seq}})
		l.must(err)
		if n != 1 {
			t.Fatal("did not take back the delivery")
		}
	}
	delivery := l.dispatch(5, l.owner)
	l.claim(l.w1, j.ID)
	if n, err := l.Undispatch(t.Context(), delivery); err != nil || n != 0 {
		t.Errorf("took back %d deliveries of a running job, error %v", n, err)
	}
}

func TestWhatIsNotDueIsNotDispatched(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.must(l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)))
	targeted := l.post(only("w1"))
	_, err := l.tenant().CancelJob(t.Context(), l.post().ID)
	l.must(err)
	if got := l.dispatch(5, l.owner); len(got) != 0 {
		t.Errorf("dispatched %v to all", got)
	}
	got, err := l.Dispatch(t.Context(), catalog.Queue{Name: job.WorkerQueue("w1"), Room: 3}, []uuid.UUID{l.owner.tenant})
	l.must(err)
	if len(got) != 1 || got[0].JobID != targeted.ID {
		t.Errorf("dispatched %v to w1", got)
	}
	l.moveClock(time.Minute)
	if got := l.dispatch(5, l.owner); len(got) != 1 || got[0].JobID != c.JobID {
		t.Errorf("when it was due, dispatched %v", got)
	}
}

func TestDispatchGoesInTurnOverTenants(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	a, b, c := l.owner, l.fleet.owner(), l.fleet.owner()
	l.fill(a, 10_000, 5)
	l.fill(b, 3, 5)
	l.fill(c, 3, 9)

	// In each turn one of each; priority decides within a turn.
	got := l.tenantsOf(l.dispatch(6, a, b, c))
	if got[0] != c.tenant || got[3] != c.tenant || countOf(got, a.tenant) != 2 || countOf(got, b.tenant) != 2 {
		t.Errorf("first six are %v (a %v, b %v, c %v)", got, a.tenant, b.tenant, c.tenant)
	}
	// What a tenant has in Redis counts: a newcomer is served first.
	d := l.fleet.owner()
	l.fill(d, 5, 0)
	if got := l.tenantsOf(l.dispatch(3, a, b, c, d)); countOf(got, d.tenant) != 2 {
		t.Errorf("next three are %v, want two of the newcomer %v", got, d.tenant)
	}
	// Nothing stays free while somebody waits.
	n := 0
	for range 3 {
		n += len(l.dispatch(100-n, a, b, c, d))
	}
	if n != 100 {
		t.Errorf("dispatched %d into room for 100", n)
	}
}

func countOf(ids []uuid.UUID, id uuid.UUID) int {
	n := 0
	for _, i := range ids {
		if i == id {
			n++
		}
	}
	return n
}

func TestWithinATenantPriorityThenAgeDecides(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var want []uuid.UUID
	priorities := []int{1, 9, 5, 9, 0}
	posted := make([]catalog.Job, len(priorities))
	for i, p := range priorities {
		posted[i] = l.post(func(n *catalog.NewJob) { n.Priority = p })
	}
	for _, i := range []int{1, 3, 2, 0, 4} {
		want = append(want, posted[i].ID)
	}
	var got []uuid.UUID
	for _, d := range l.dispatch(10, l.owner) {
		got = append(got, d.JobID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("order is %v, want %v", got, want)
	}
}

func TestTenantsInTurn(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var all []uuid.UUID
	for range 7 {
		o := l.fleet.owner()
		l.fill(o, 3, 5)
		all = append(all, o.tenant)
	}
	slices.SortFunc(all, func(a, b uuid.UUID) int { return slices.Compare(a[:], b[:]) })
	look := func(after uuid.UUID, limit int) []uuid.UUID {
		got, err := l.TenantsInTurn(t.Context(), job.QueueBackup, after, limit)
		l.must(err)
		return got
	}
	if got := look(uuid.Nil, 100); !slices.Equal(got, all) {
		t.Errorf("got %v, want %v", got, all)
	}
	if got := look(all[1], 3); !slices.Equal(got, all[2:5]) {
		t.Errorf("behind the second: got %v, want %v", got, all[2:5])
	}
	if got := look(all[6], 3); len(got) != 0 {
		t.Errorf("behind the last: %v", got)
	}
}

func TestTwoDispatchersNeverTakeTheSameJob(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.fill(l.owner, 300, 5)
	var mu sync.Mutex
	seen := map[uuid.UUID]int{}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 1000 {
				if l.count("SELECT count(*) FROM jobs WHERE dispatched_at IS NULL") == 0 {
					return
				}
				got, err := l.Dispatch(t.Context(), catalog.Queue{Name: job.QueueBackup, Room: 7}, []uuid.UUID{l.owner.tenant})
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for _, d := range got {
					seen[d.JobID]++
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("job %v was dispatched %d times", id, n)
		}
	}
	if len(seen) != 300 {
		t.Errorf("%d of 300 jobs were dispatched", len(seen))
	}
}
