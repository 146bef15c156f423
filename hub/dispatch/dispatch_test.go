package dispatch_test

import (
	"io"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"

	"xvault/hub/dispatch"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

func TestAJobBecomesADelivery(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	y.worker("w1", 2)
	y.hub(io.Discard)
	id := y.post(y.owner())
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 1 }, "the job is in Redis")
	delivery := job.Delivery{JobID: id, Seq: 1}
	if got := y.pending(job.QueueBackup)[0]; got != delivery {
		t.Errorf("delivery is %+v, want %+v", got, delivery)
	}
	task, err := y.inspect.GetTaskInfo(job.QueueBackup, delivery.TaskID())
	y.must(err)
	if task.Type != job.TaskType || task.MaxRetry != math.MaxInt32 || task.Timeout < 7*24*time.Hour || task.Retention != 0 {
		t.Errorf("task is %+v", task)
	}
	testenv.Eventually(t, soon, func() bool { return y.redis.Exists(t.Context(), job.QueueMarker).Val() == 1 }, "the marker is set")
}

func TestWithoutAWorkerLittleStandsInRedis(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	y.fill(y.owner(), 50)
	y.hub(io.Discard)
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 2 }, "two jobs wait in Redis for a first worker")
	y.worker("w1", 10)
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 20 }, "twice as many as slots stand in Redis")
}

func TestWhatOneWorkerAloneCanDoWaitsForIt(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	y.worker("w1", 1)
	y.exec("UPDATE workers SET status = 'offline'")
	y.hub(io.Discard)
	o, w1 := y.owner(), "w1"
	id := y.post(o, func(n *catalog.NewJob) { n.TargetWorkerID, n.Kind = &w1, job.Verify })
	y.post(o)
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 1 }, "a job for anybody is in Redis")
	if got := y.pending(job.WorkerQueue(w1)); len(got) != 0 {
		t.Fatalf("an absent worker's queue holds %v", got)
	}
	y.exec("UPDATE workers SET status = 'online'")
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.WorkerQueue(w1))) == 1 }, "the worker's own queue has its job")
	if got := y.pending(job.WorkerQueue(w1))[0]; got.JobID != id {
		t.Errorf("it has %v", got)
	}
}

func TestAFailureComesBackWhenItIsDue(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 2)
	y.hub(io.Discard)
	y.work(w, job.QueueBackup, 2, func(c catalog.Claimed) {
		if c.Attempt > 1 {
			y.doNothing(w)(c)
			return
		}
		err := y.CompleteJob(t.Context(), y.fence(c, w), job.CompleteRequest{
			Status: job.Failed, Error: &job.WireError{Code: job.ConnectFailed, Message: "no"},
		})
		if err != nil {
			t.Error(err)
		}
	})
	y.post(y.owner())
	testenv.Eventually(t, soon, func() bool {
		return y.count("SELECT count(*) FROM jobs WHERE status = 'queued' AND run_after > xvault_now()") == 1
	}, "the job waits")
	y.exec("CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT statement_timestamp() + interval '1 h' $$")
	testenv.Eventually(t, soon, func() bool { return y.completed() == 1 }, "the job was tried again")
	if seq := y.count("SELECT dispatch_seq FROM jobs"); seq != 2 {
		t.Errorf("sequence is %d", seq)
	}
}

// TestStaleDeliveriesAreDropped puts a job's earlier, doubled and false
// deliveries into Redis, by hand.
func TestStaleDeliveriesAreDropped(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 2)
	y.hub(io.Discard)
	id := y.post(y.owner())
	client := asynq.NewClientFromRedisClient(y.redis)
	for _, d := range []job.Delivery{{JobID: id, Seq: 77}, {JobID: id, Seq: 0}, {JobID: uuid.New(), Seq: 1}} {
		payload := `{"job_id":"` + d.JobID.String() + `","seq":1}`
		_, err := client.Enqueue(asynq.NewTask(job.TaskType, []byte(payload)), asynq.Queue(job.QueueBackup), asynq.TaskID(d.TaskID()))
		y.must(err)
	}
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 4 }, "four deliveries stand in Redis")
	crew := y.work(w, job.QueueBackup, 2, y.doNothing(w))
	testenv.Eventually(t, soon, func() bool {
		deliveries, dropped := crew.seen()
		return deliveries == 4 && dropped == 3
	}, "three of four deliveries are dropped")
	if n := y.count("SELECT count(*) FROM jobs WHERE status = 'completed' AND attempt = 1"); n != 1 {
		t.Errorf("%d jobs completed at once", n)
	}
	if n := y.count("SELECT count(*) FROM snapshots"); n != 1 {
		t.Errorf("%d snapshots", n)
	}
}

func TestTwoHubsDeliverEachJobOnce(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	url := testenv.Catalog(t)
	y := newYard(t, url, r.URL)
	other := newYard(t, url, r.URL)
	w := y.worker("w1", 8)
	y.hub(io.Discard)
	stop := other.hub(io.Discard)
	crew := y.work(w, job.QueueBackup, 8, y.doNothing(w))
	o := y.owner()
	const jobs = 300
	for i := range jobs {
		[]*yard{y, other}[i%2].post(o)
		if i == jobs/2 {
			stop() // the other one goes on alone
		}
	}
	testenv.Eventually(t, 2*soon, func() bool { return y.completed() == jobs }, "all jobs complete")
	deliveries, dropped := crew.seen()
	t.Logf("%d deliveries of %d jobs, %d dropped", deliveries, jobs, dropped)
	if dropped > jobs/10 {
		t.Errorf("%d of %d deliveries were in vain", dropped, deliveries)
	}
	if n := y.count("SELECT count(*) FROM snapshots"); n != jobs {
		t.Errorf("%d snapshots", n)
	}
}

// TestOneTenantCannotHoldUpAnother: with 10,000 jobs of one tenant before it, the
// job of another starts within two turnovers of the slots.
func TestOneTenantCannotHoldUpAnother(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 4, 10} {
		r := testenv.Redis(t)
		y := newYard(t, testenv.Catalog(t), r.URL)
		w := y.worker("w1", slots)
		greedy, modest := y.owner(), y.owner()
		y.fill(greedy, 10_000)
		started, finish := make(chan catalog.Claimed), make(chan struct{})
		y.work(w, job.QueueBackup, slots, func(c catalog.Claimed) {
			started <- c
			<-finish
			y.doNothing(w)(c)
		})
		stop := y.hub(io.Discard)
		for range slots {
			<-started
		}
		testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == slots }, "redis is as full as it gets")
		y.post(modest)
		turns := 0
		for ; ; turns++ { // a turn is one slot that becomes free and is taken again
			finish <- struct{}{}
			if c := <-started; c.TenantID == modest.tenant {
				break
			}
			if turns > 10*slots {
				t.Fatal("it does not start")
			}
		}
		t.Logf("with %d slots the job started after %d jobs of the other tenant, %.1f turnovers", slots, turns, float64(turns+1)/float64(slots))
		if turns+1 > 2*slots {
			t.Errorf("with %d slots the job started only after %d others", slots, turns)
		}
		stop()
		y.exec("UPDATE jobs SET status = 'canceled', finished_at = xvault_now() WHERE status = 'queued'")
		y.must(y.redis.FlushAll(t.Context()).Err())
		close(finish)
		for range slots { // what was taken out of Redis meanwhile
			select {
			case <-started:
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// TestOneOfAThousandTenants: ten thousand jobs of one tenant's many sources are
// queued before those of 999 others, one each, under the limits that a hub ships
// with. While others wait the one gets no more than its turn.
func TestOneOfAThousandTenants(t *testing.T) {
	t.Parallel()
	const slots, others, jobs = 20, 999, 10_000
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	limited, err := catalog.Open(t.Context(), catalog.Config{
		URL: secret.New(y.raw.Config().ConnString()), Limits: catalog.Limits{PerSource: 1, PerHost: 16, PerTenant: 64},
	})
	y.must(err)
	t.Cleanup(limited.Close)
	y.DB = limited
	w := y.worker("w1", slots)
	greedy := y.owner()
	y.exec(`INSERT INTO sources (id, tenant_id, type, name, config)
		SELECT gen_random_uuid(), $1, 'sftp', 's', jsonb_build_object('host', 'h' || g) FROM generate_series(1, 200) g`, greedy.tenant)
	y.exec(`INSERT INTO jobs (id, tenant_id, source_id, type) SELECT gen_random_uuid(), $1, s.id, 'backup'
		FROM (SELECT id FROM sources WHERE tenant_id = $1 LIMIT 200) s, generate_series(1, $2::integer / 200)`, greedy.tenant, jobs)
	y.exec(`INSERT INTO tenants (id, name) SELECT gen_random_uuid(), 'modest' FROM generate_series(1, $1::integer)`, others)
	y.exec(`INSERT INTO tenant_keys (id, tenant_id, algorithm, public_key, encrypted_private_key, key_id, key_status)
		SELECT gen_random_uuid(), id, 'age-x25519', 'age1x', 'x', 'k', 'active' FROM tenants WHERE name = 'modest'`)
	y.exec(`INSERT INTO sources (id, tenant_id, type, name, config) SELECT gen_random_uuid(), id, 'sftp', 's', '{}' FROM tenants WHERE name = 'modest'`)
	y.exec(`INSERT INTO jobs (id, tenant_id, source_id, type) SELECT gen_random_uuid(), tenant_id, s.id, 'backup'
		FROM sources s JOIN tenants t ON t.id = s.tenant_id WHERE t.name = 'modest'`)
	y.exec("ANALYZE")
	var mu sync.Mutex
	served, ofGreedy := 0, 0 // until the last of the others began
	y.work(w, job.QueueBackup, slots, func(c catalog.Claimed) {
		mu.Lock()
		switch {
		case c.TenantID != greedy.tenant:
			served++
		case served < others:
			ofGreedy++
		}
		mu.Unlock()
		y.doNothing(w)(c)
	})
	y.hub(io.Discard)
	testenv.Eventually(t, 8*soon, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return served == others
	}, "all the others were served")
	mu.Lock()
	defer mu.Unlock()
	t.Logf("999 tenants were served while the one with 10,000 jobs had %d", ofGreedy)
	// In each round of the tenants it has one turn, and what it had in Redis
	// before the others were seen.
	if most := others/16 + 4*slots; ofGreedy > most {
		t.Errorf("meanwhile %d jobs of the one were done, more than %d", ofGreedy, most)
	}
}

// TestADeadSourceHoldsOneSlot: its backup never ends. The jobs of others pass by on
// the other slots, and so do those of its tenant's other sources.
func TestADeadSourceHoldsOneSlot(t *testing.T) {
	t.Parallel()
	const slots = 3
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	limited, err := catalog.Open(t.Context(), catalog.Config{URL: secret.New(y.raw.Config().ConnString()), Limits: catalog.Limits{PerSource: 1}})
	y.must(err)
	t.Cleanup(limited.Close)
	y.DB = limited
	w := y.worker("w1", slots)
	dead, other := y.owner(), y.owner()
	sibling := dead
	sibling.source = catalog.NewID()
	y.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'sibling', '{}')", sibling.source, dead.tenant)
	y.fill(dead, 500)
	y.fill(sibling, 20)
	y.fill(other, 20)
	begun, release := make(chan struct{}, 1), make(chan struct{})
	t.Cleanup(func() { close(release) })
	y.work(w, job.QueueBackup, slots, func(c catalog.Claimed) {
		if c.Source.ID == dead.source {
			begun <- struct{}{}
			<-release
			return
		}
		y.doNothing(w)(c)
	})
	y.hub(io.Discard)
	<-begun
	testenv.Eventually(t, 3*soon, func() bool { return y.completed() == 40 }, "all jobs of the other sources complete")
	if n := y.count("SELECT count(*) FROM jobs WHERE source_id = $1 AND status = 'running'", dead.source); n != 1 {
		t.Errorf("%d backups of the dead source run", n)
	}
}

// TestManyTenantsEachGetTheirTurn has more of them than one look takes in.
func TestManyTenantsEachGetTheirTurn(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	y.worker("w1", 300) // room for 600
	y.exec(`INSERT INTO tenants (id, name) SELECT gen_random_uuid(), 'a tenant' FROM generate_series(1, 600)`)
	y.exec(`INSERT INTO sources (id, tenant_id, type, name, config) SELECT gen_random_uuid(), id, 'sftp', 's', '{}' FROM tenants`)
	y.exec(`INSERT INTO jobs (id, tenant_id, source_id, type) SELECT gen_random_uuid(), tenant_id, id, 'backup'
		FROM sources, generate_series(1, 3)`)
	y.hub(io.Discard)
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 600 }, "redis is full")
	if n := y.count("SELECT count(DISTINCT tenant_id) FROM jobs WHERE dispatched_at IS NOT NULL"); n != 600 {
		t.Errorf("the first 600 deliveries are of %d tenants", n)
	}
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	y := newYard(t, testenv.Catalog(t), testenv.Redis(t).URL)
	for _, url := range []string{"", "http://h", "redis://u:hunter2@h:1:2/x", "redis-sentinel://", ":"} {
		_, err := dispatch.New(dispatch.Config{DB: y.DB, Log: discard, RedisURL: secret.New(url)})
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("url %q gives %v", url, err)
		}
	}
	if _, err := dispatch.New(dispatch.Config{RedisURL: secret.New(y.redisURL), Log: discard}); err == nil {
		t.Error("no catalog, no error")
	}
	if _, err := dispatch.New(dispatch.Config{DB: y.DB, RedisURL: secret.New(y.redisURL), Log: discard, Tick: -1}); err == nil {
		t.Error("negative tick, no error")
	}
	d, err := dispatch.New(dispatch.Config{DB: y.DB, Log: discard, RedisURL: secret.New("redis-sentinel://h1:1,h2:2?master=m")})
	y.must(err)
	y.must(d.Close())
}
