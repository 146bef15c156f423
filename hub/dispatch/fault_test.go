package dispatch_test

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/hub/dispatch"
	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

var discard = slog.New(slog.DiscardHandler)

func TestARedisThatWasEmptiedIsFilledAgain(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 4)
	log := &lines{}
	y.hub(log, func(c *dispatch.Config) { c.ReconcileEvery = time.Hour }) // the marker alone has to tell
	o := y.owner()
	for range 6 {
		y.post(o)
	}
	for round := int64(1); round <= 3; round++ {
		testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 6 }, "six jobs are in Redis, round %d", round)
		testenv.Eventually(t, soon, func() bool { return y.redis.Exists(t.Context(), job.QueueMarker).Val() == 1 }, "the marker is there")
		for _, d := range y.pending(job.QueueBackup) {
			if d.Seq < round {
				t.Errorf("round %d: sequence %d was used again", round, d.Seq)
			}
		}
		r.FlushAll()
	}
	y.work(w, job.QueueBackup, 4, y.doNothing(w))
	testenv.Eventually(t, soon, func() bool { return y.completed() == 6 }, "all jobs complete")
	if n := log.count("redis was emptied"); n < 3 {
		t.Errorf("the log tells %d times that Redis was emptied", n)
	}
}

// TestDeliveriesThatAreGoneAreFound: the marker is there, single deliveries are
// not; or the hub died between its commit and Redis.
func TestDeliveriesThatAreGoneAreFound(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 4)
	o := y.owner()
	var jobs []uuid.UUID
	for range 4 {
		jobs = append(jobs, y.post(o))
	}
	taken, err := y.Dispatch(t.Context(), catalog.Queue{Name: job.QueueBackup, Room: 2}, []uuid.UUID{o.tenant})
	y.must(err) // and never enqueued
	if len(taken) != 2 {
		t.Fatalf("took %v", taken)
	}
	y.must(y.redis.Set(t.Context(), job.QueueMarker, "x", 0).Err())
	y.hub(io.Discard)
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 4 }, "all four are in Redis")
	gone := y.pending(job.QueueBackup)[0]
	y.must(y.inspect.DeleteTask(job.QueueBackup, gone.TaskID()))
	archived := y.pending(job.QueueBackup)[0]
	y.must(y.inspect.ArchiveTask(job.QueueBackup, archived.TaskID()))
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 4 }, "all four are in Redis again")
	y.work(w, job.QueueBackup, 4, y.doNothing(w))
	testenv.Eventually(t, soon, func() bool { return y.completed() == 4 }, "all jobs complete")
	for _, id := range jobs {
		if n := y.count("SELECT count(*) FROM snapshots WHERE job_id = $1", id); n != 1 {
			t.Errorf("%d snapshots of job %v", n, id)
		}
	}
}

// TestADeliveryThatAWorkerSitsOn: a worker took it and died before it claimed.
func TestADeliveryThatAWorkerSitsOn(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 2)
	y.hub(io.Discard, func(c *dispatch.Config) { c.StaleAfter = 300 * time.Millisecond })
	y.post(y.owner())
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 1 }, "the job is in Redis")
	// What asynq's dequeue does, with nobody behind it.
	id, err := y.redis.LMove(t.Context(), "asynq:{backup}:pending", "asynq:{backup}:active", "RIGHT", "LEFT").Result()
	y.must(err)
	y.must(y.redis.HSet(t.Context(), "asynq:{backup}:t:"+id, "state", "active").Err())
	y.work(w, job.QueueBackup, 2, y.doNothing(w))
	testenv.Eventually(t, soon, func() bool { return y.completed() == 1 }, "the job completes by another delivery")
}

func TestRedisGoneAndBack(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 4)
	log := &lines{}
	y.hub(log)
	o := y.owner()
	y.post(o)
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 1 }, "the job is in Redis")
	r.Kill()
	for range 30 {
		y.post(o)
	}
	testenv.Eventually(t, soon, func() bool { return log.count("queue is disturbed") >= 2 }, "the log tells of the outage")
	before := log.count("\n")
	<-time.After(2 * time.Second) // an outage, during which nothing spins
	if n := log.count("\n") - before; n > 3 {
		t.Errorf("%d log lines in two seconds of outage", n)
	}
	if n := y.count("SELECT count(*) FROM jobs WHERE dispatch_seq > 3"); n != 0 {
		t.Errorf("%d jobs used up sequences while Redis was gone", n)
	}
	r.Start()
	back := time.Now()
	y.work(w, job.QueueBackup, 4, y.doNothing(w))
	testenv.Eventually(t, soon, func() bool { return y.completed() == 31 }, "all jobs complete")
	t.Logf("31 jobs completed %v after Redis was back", time.Since(back).Round(time.Millisecond))
	testenv.Eventually(t, soon, func() bool { return log.count("queue works again") >= 2 }, "the log tells of the recovery")
}

func TestPostgresGoneAndBack(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	pg := testenv.NewPostgres(t, testenv.PostgresOptions{Durable: true})
	y := newYard(t, pg.Catalog("hub"), r.URL)
	w := y.worker("w1", 4)
	o := y.owner()
	log := &lines{}
	grace := 1500 * time.Millisecond
	y.hub(log, func(c *dispatch.Config) { c.ReapGrace = grace })
	hold := make(chan struct{})
	y.work(w, job.QueueBackup, 4, func(c catalog.Claimed) {
		if c.Attempt == 1 {
			<-hold
		}
		y.doNothing(w)(c)
	})
	y.post(o)
	testenv.Eventually(t, soon, func() bool { return y.count("SELECT count(*) FROM jobs WHERE status = 'running'") == 1 }, "the job runs")
	<-time.After(grace)

	pg.Kill()
	testenv.Eventually(t, soon, func() bool { return log.count("queue is disturbed") >= 1 }, "the log tells of the outage")
	pg.Restart()
	back := time.Now()
	testenv.Eventually(t, soon, func() bool {
		_, err := y.raw.Exec(t.Context(), "UPDATE jobs SET lease_expires_at = xvault_now() WHERE status = 'running'")
		return err == nil
	}, "the lease ran out during the outage")
	testenv.Eventually(t, soon, func() bool { return y.count("SELECT count(*) FROM jobs WHERE attempt = 2") == 1 }, "the job is tried again")
	if waited := time.Since(back); waited < grace {
		t.Errorf("a lease was reaped %v after the catalog was back, before its worker could renew", waited)
	}
	y.post(o)
	close(hold)
	testenv.Eventually(t, soon, func() bool { return y.completed() == 2 }, "both jobs complete")
}

func TestTheReaperWaitsAfterTheStart(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 1)
	id := y.post(y.owner())
	c, err := y.ClaimJob(t.Context(), w, job.ClaimRequest{JobID: id, ClaimID: uuid.New()})
	y.must(err)
	y.exec("UPDATE jobs SET lease_expires_at = xvault_now() - interval '10 min'")
	log := &lines{}
	start := time.Now()
	y.hub(log, func(c *dispatch.Config) { c.ReapGrace = time.Second })
	testenv.Eventually(t, soon, func() bool { return y.count("SELECT count(*) FROM jobs WHERE attempt_outcome = 'lost'") == 1 }, "the lease is reaped")
	if waited := time.Since(start); waited < time.Second {
		t.Errorf("it was reaped after %v", waited)
	}
	if _, err := y.RenewLease(t.Context(), y.fence(c, w), job.Progress{}); err == nil {
		t.Error("a reaped lease was renewed")
	}
	testenv.Eventually(t, soon, func() bool { return log.count("an attempt was lost") == 1 }, "the log tells")
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 1 }, "the job is dispatched again at once")
}

// TestTheReaperWaitsAfterAPause: this process stood still, so that workers may
// have found nobody to renew with.
func TestTheReaperWaitsAfterAPause(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	w := y.worker("w1", 1)
	jump := make(chan time.Duration, 1)
	ahead := time.Duration(0)
	y.hub(io.Discard, func(c *dispatch.Config) {
		c.ReapGrace = time.Second
		c.Now = func() time.Time {
			select {
			case d := <-jump:
				ahead += d
			default:
			}
			return time.Now().Add(ahead)
		}
	})
	<-time.After(1100 * time.Millisecond) // the start is over
	jump <- 10 * time.Minute
	testenv.Eventually(t, soon, func() bool { return len(jump) == 0 }, "the reaper has seen the jump")
	y.claimed(w)
	y.exec("UPDATE jobs SET lease_expires_at = xvault_now()")
	start := time.Now()
	testenv.Eventually(t, soon, func() bool { return y.count("SELECT count(*) FROM jobs WHERE attempt_outcome = 'lost'") == 1 }, "the lease is reaped")
	if waited := time.Since(start); waited < 500*time.Millisecond {
		t.Errorf("it was reaped after %v", waited)
	}
}

func (y *yard) claimed(w catalog.WorkerRef) catalog.Claimed {
	y.t.Helper()
	c, err := y.ClaimJob(y.t.Context(), w, job.ClaimRequest{JobID: y.post(y.owner()), ClaimID: uuid.New()})
	y.must(err)
	return c
}

func TestAHubThatCannotDispatchTellsOthers(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	url := testenv.Catalog(t)
	cut := newYard(t, url, "redis://127.0.0.1:1/0")
	cut.worker("w1", 1)
	cut.hub(io.Discard)
	other := newYard(t, url, r.URL)
	other.hub(io.Discard, func(c *dispatch.Config) { c.Tick = time.Hour })
	cut.post(cut.owner())
	testenv.Eventually(t, soon, func() bool { return len(other.pending(job.QueueBackup)) == 1 }, "another hub dispatches it")
}

// What a clock ahead has left is found also where nobody saw the clock ahead: it
// was so for a moment, or what it had dated was committed late.
func TestADeliveryThatIsDatedAhead(t *testing.T) {
	t.Parallel()
	r := testenv.Redis(t)
	y := newYard(t, testenv.Catalog(t), r.URL)
	o := y.owner()
	y.worker("w1", 1)
	y.hub(io.Discard, func(c *dispatch.Config) { c.PullBackEvery = 100 * time.Millisecond })
	first := y.post(o)
	testenv.Eventually(t, soon, func() bool { return len(y.pending(job.QueueBackup)) == 1 }, "the job is in Redis")
	y.must(y.inspect.DeleteTask(job.QueueBackup, y.pending(job.QueueBackup)[0].TaskID()))
	y.exec("UPDATE jobs SET dispatched_at = xvault_now() + interval '1 year', updated_at = xvault_now() + interval '1 year' WHERE id = $1", first)
	testenv.Eventually(t, soon, func() bool {
		again := y.pending(job.QueueBackup)
		return len(again) == 1 && again[0].JobID == first && again[0].Seq > 1
	}, "the job does not wait for the time that it is dated")
}
