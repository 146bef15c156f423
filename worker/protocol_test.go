package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestALostClaimIsAskedAgainWithTheSameID(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hub.answer("claim", times(2, lost, ""))
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	if done := l.completion(); done.Status != job.Completed {
		t.Errorf("completion: %+v", done.Error)
	}
	ids := map[string]bool{}
	for _, c := range l.hub.got("claim") {
		ids[decode[job.ClaimRequest](t, c.body).ClaimID.String()] = true
	}
	if len(ids) != 1 {
		t.Errorf("claim ids: %v", ids)
	}
}

func TestNothingToDoDropsTheDelivery(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]struct {
		status int
		code   string
	}{"not claimable": {409, job.RefusedNotClaimable}, "gone": {410, job.RefusedGone}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			l.start()
			refused := l.hub.addJob(job.Backup)
			l.hub.answer("claim", func(c call) (int, any) {
				if decode[job.ClaimRequest](t, c.body).JobID == refused.JobID {
					return problem(refusal.status, refusal.code)
				}
				return 0, nil
			})
			l.deliver(refused)
			l.waitCalls("claim", 1)
			l.deliver(l.hub.addJob(job.Backup))
			if done := l.completion(); done.Status != job.Completed {
				t.Errorf("completion: %+v", done.Error)
			}
			if n := len(l.hub.got("claim")); n != 2 {
				t.Errorf("%d claims", n)
			}
		})
	}
}

func TestAHubInTroubleGetsTheClaimAgain(t *testing.T) {
	t.Parallel()
	for _, status := range []int{429, 500, 503} {
		l := newLab(t)
		l.hub.answer("claim", times(3, status, "unavailable"))
		l.start()
		l.deliver(l.hub.addJob(job.Backup))
		if done := l.completion(); done.Status != job.Completed {
			t.Errorf("status %d: %+v", status, done.Error)
		}
	}
}

func TestLosingTheLeaseStopsTheJob(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	reading, stopped := make(chan struct{}), make(chan error, 1)
	l.source.during = func(ctx context.Context, _ connectors.Env) error {
		close(reading)
		<-ctx.Done()
		stopped <- context.Cause(ctx)
		return context.Cause(ctx)
	}
	l.hub.answer("renew", func(call) (int, any) {
		<-reading // lost any earlier, the job would not get as far as to be stopped
		return problem(409, job.RefusedLeaseLost)
	})
	l.start()
	c := l.hub.addJob(job.Backup)
	l.deliver(c)
	if cause := <-stopped; !errors.Is(cause, errFenced) {
		t.Errorf("cause: %v", cause)
	}
	l.stop()
	if err := l.end(); err != nil {
		t.Error(err)
	}
	if names := l.hub.names(); !slices.Equal(names, []string{"claim"}) {
		t.Errorf("calls: %v", names)
	}
	l.stagingIsEmpty()
	if l.exists(l.snapshotDir(c)) {
		t.Error("a snapshot was stored")
	}
}

func TestCancel(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.source.during = untilDone
	l.hub.answer("renew", func(call) (int, any) { return 200, job.RenewResponse{CancelRequested: true} })
	l.start()
	c := l.hub.addJob(job.Backup)
	l.deliver(c)
	if done := l.completion(); done.Status != job.Canceled || done.Error != nil || done.Snapshot != nil {
		t.Errorf("completion: %+v", done)
	}
	l.stagingIsEmpty()
	if l.exists(l.snapshotDir(c)) {
		t.Error("a snapshot was stored")
	}
}

// TestASilentHubCostsNoWork: the hub goes away in the middle of a backup, and
// again at each of the steps that end it.
func TestASilentHubCostsNoWork(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hub.answer("renew", times(5, 503, "unavailable"))
	l.hub.answer("finalize", times(3, lost, ""))
	l.hub.answer("complete", times(3, 502, ""))
	l.source.during = func(ctx context.Context, _ connectors.Env) error {
		testenv.Eventually(t, 2*time.Minute, func() bool { return len(l.hub.got("renew")) > 6 || ctx.Err() != nil }, "renewals")
		return ctx.Err()
	}
	l.start()
	c := l.hub.addJob(job.Backup)
	l.deliver(c)
	last := decode[job.CompleteRequest](t, l.waitCalls("complete", 4)[3].body)
	if last.Status != job.Completed || last.Attempt != 1 || !l.exists(l.snapshotDir(c)) {
		t.Errorf("completion: %+v", last)
	}
}

// TestFinalizeRefused: another attempt won, or a cancel came first. The bytes
// stay until the hub calls them unknown.
func TestFinalizeRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hub.answer("finalize", func(call) (int, any) { return problem(409, job.RefusedLeaseLost) })
	l.start()
	c := l.hub.addJob(job.Backup)
	l.deliver(c)
	l.waitCalls("finalize", 1)
	l.stop()
	if err := l.end(); err != nil {
		t.Error(err)
	}
	if !l.exists(l.snapshotDir(c)) {
		t.Error("the bytes were removed")
	}
	if names := l.hub.names(); !slices.Equal(names, []string{"claim", "finalize"}) {
		t.Errorf("calls: %v", names)
	}
}

func TestRenewalsTellTheProgress(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	release := make(chan struct{})
	l.source.during = func(context.Context, connectors.Env) error {
		<-release
		return nil
	}
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	testenv.Eventually(t, 2*time.Minute, func() bool {
		for _, c := range l.hub.got("renew") {
			r := decode[job.RenewRequest](t, c.body)
			if r.Attempt == 1 && r.Progress.Phase == "reading" && r.Progress.Files == 2 && r.Progress.Bytes == 10 {
				return true
			}
		}
		return false
	}, "no renewal tells of two files")
	close(release)
	l.completion()
}

func TestOneJobIsDoneOnceAtATime(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	release := make(chan struct{})
	var running, most atomic.Int32
	l.source.during = func(context.Context, connectors.Env) error {
		most.Store(max(most.Load(), running.Add(1)))
		defer running.Add(-1)
		<-release
		return nil
	}
	l.start()
	c := l.hub.addJob(job.Backup)
	for range 3 {
		l.deliver(c)
	}
	l.waitCalls("claim", 1)
	other := l.hub.addJob(job.Backup)
	l.deliver(other)
	l.waitCalls("claim", 2)
	close(release)
	l.waitCalls("complete", 2)
	if n := len(l.hub.got("claim")); n != 2 {
		t.Errorf("%d claims for two jobs", n)
	}
}

func TestSlotsBoundTheJobs(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.Concurrency = 2
	var mu sync.Mutex
	running, most := 0, 0
	l.source.during = func(context.Context, connectors.Env) error {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		time.Sleep(20 * time.Millisecond) // work
		mu.Lock()
		running--
		mu.Unlock()
		return nil
	}
	l.start()
	for range 8 {
		l.deliver(l.hub.addJob(job.Backup))
	}
	l.waitCalls("complete", 8)
	if most > 2 {
		t.Errorf("%d jobs at once in 2 slots", most)
	}
}

func TestDrainWaitsForTheJob(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	reading, release := make(chan struct{}), make(chan struct{})
	l.source.during = func(context.Context, connectors.Env) error {
		close(reading)
		<-release
		return nil
	}
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	<-reading
	l.stop()
	testenv.Eventually(t, 2*time.Minute, func() bool {
		calls := l.hub.got("heartbeat")
		return decode[job.Heartbeat](t, calls[len(calls)-1].body).Status == "draining"
	}, "the worker does not say that it drains")
	untouched := l.hub.addJob(job.Backup)
	l.deliver(untouched)
	close(release)
	if err := l.end(); err != nil {
		t.Error(err)
	}
	if names := l.hub.names(); !slices.Equal(names, []string{"claim", "finalize", "complete"}) {
		t.Errorf("calls: %v", names)
	}
}

func TestDrainHandsBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.DrainTimeout = 50 * time.Millisecond
	l.hub.answer("release", times(2, lost, ""))
	reading := make(chan struct{})
	l.source.during = func(ctx context.Context, env connectors.Env) error {
		close(reading)
		return untilDone(ctx, env)
	}
	l.start()
	c := l.hub.addJob(job.Backup)
	l.deliver(c)
	<-reading
	l.stop()
	if err := l.end(); err != nil {
		t.Error(err)
	}
	if names := l.hub.names(); !slices.Equal(names, []string{"claim", "release", "release", "release"}) {
		t.Errorf("calls: %v", names)
	}
	l.stagingIsEmpty()
	if l.exists(l.snapshotDir(c)) {
		t.Error("a snapshot was stored")
	}
}

// TestAStorageThatTheHubDoesNotKnow: every claim would be refused, and each
// delivery that was taken for it lost to the other workers.
func TestAStorageThatTheHubDoesNotKnow(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var foreign atomic.Bool
	foreign.Store(true)
	l.hub.answer("heartbeat", func(call) (int, any) { return 200, job.HeartbeatResponse{StorageForeign: foreign.Load()} })
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	l.waitCalls("heartbeat", 3)
	if n := len(l.hub.got("claim")); n != 0 {
		t.Errorf("%d claims", n)
	}
	foreign.Store(false)
	l.completion()
}

// TestAReportThatIsRefused must not end as a lost lease, for the next attempt
// would say the same.
func TestAReportThatIsRefused(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hub.answer("complete", times(1, 409, "invalid_report"))
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	done := decode[job.CompleteRequest](t, l.waitCalls("complete", 2)[1].body)
	if done.Status != job.Failed || done.Snapshot != nil || done.Error == nil || done.Error.Code != job.Internal {
		t.Errorf("completion: %+v %+v", done, done.Error)
	}
}

// TestNothingOpensTheIntakeOfADrainingWorker: the answer to a heartbeat may
// come just then.
func TestNothingOpensTheIntakeOfADrainingWorker(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	reading, release := make(chan struct{}), make(chan struct{})
	l.source.during = func(context.Context, connectors.Env) error {
		close(reading)
		<-release
		return nil
	}
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	<-reading
	l.stop()
	testenv.Eventually(t, 2*time.Minute, func() bool {
		l.worker.mu.Lock()
		defer l.worker.mu.Unlock()
		return l.worker.over
	}, "the worker does not drain")
	late := &intake{redis: l.worker.redis, lines: l.worker.lines, handle: l.worker.deliver, log: l.worker.log}
	l.worker.take(late, true)
	if l.worker.accept() {
		l.worker.running.Done()
		t.Error("a draining worker takes jobs again")
	}
	l.worker.take(late, false)
	close(release)
	if err := l.end(); err != nil {
		t.Error(err)
	}
}

func TestTheHubMayAskToDrain(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	var drain atomic.Bool
	drain.Store(true)
	l.hub.answer("heartbeat", func(call) (int, any) { return 200, job.HeartbeatResponse{Drain: drain.Load()} })
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	l.waitCalls("heartbeat", 3)
	if n := len(l.hub.got("claim")); n != 0 {
		t.Errorf("%d claims while draining", n)
	}
	drain.Store(false)
	l.completion()
}

func TestSuperseded(t *testing.T) {
	t.Parallel()
	for name, when := range map[string]string{"at a heartbeat": "heartbeat", "at a renewal": "renew", "at a claim": "claim", "at the end": "complete"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			if when == "renew" {
				l.source.during = untilDone
			}
			l.start()
			l.waitCalls("heartbeat", 1)
			l.hub.answer(when, func(call) (int, any) { return problem(401, job.RefusedSuperseded) })
			l.deliver(l.hub.addJob(job.Backup))
			if err := l.end(); !errors.Is(err, errSuperseded) || !strings.Contains(err.Error(), "WORKER_ID") {
				t.Errorf("run: %v", err)
			}
			if n := len(l.hub.got("register")); n != 1 {
				t.Errorf("registered %d times", n)
			}
			l.stagingIsEmpty()
		})
	}
}

func TestTheHubDoesNotAnswerYet(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hub.answer("register", times(3, 503, "unavailable"))
	l.start()
	l.waitCalls("heartbeat", 1)
	if !strings.Contains(l.log.String(), "the hub does not answer yet") {
		t.Error("nothing was said of it")
	}
	if err := Healthy(l.cfg.StateDir, time.Now()); err != nil {
		testenv.Eventually(t, 2*time.Minute, func() bool { return Healthy(l.cfg.StateDir, time.Now()) == nil }, "not healthy")
	}
	if err := Healthy(l.cfg.StateDir, time.Now().Add(time.Hour)); err == nil {
		t.Error("healthy an hour after the last heartbeat")
	}
}

func TestStoppedWhileTheHubIsAway(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.hub.answer("register", times(1<<30, lost, ""))
	l.start()
	l.waitCalls("register", 2)
	l.stop()
	if err := l.end(); err != nil {
		t.Error(err)
	}
}

// TestRegistration follows a worker over its starts: which token and which
// registration it shows.
func TestRegistration(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	start := func(answer func(call) (int, any)) (call, error) {
		seen, beats := len(l.hub.got("register")), len(l.hub.got("heartbeat"))
		l.hub.answer("register", answer)
		l.start()
		l.waitCalls("register", seen+1)
		if seen > 0 { // the first one's answer never comes
			testenv.Eventually(t, 2*time.Minute, func() bool { return len(l.hub.got("heartbeat")) > beats || len(l.ended) > 0 }, "neither registered nor refused")
		}
		l.stop()
		return l.hub.got("register")[seen], l.end()
	}
	id := func(c call) string { return decode[job.RegisterRequest](t, c.body).RegistrationID.String() }

	first, err := start(times(1<<30, lost, "")) // the answer is lost, and the worker stopped
	if err != nil || first.token != joinToken {
		t.Errorf("first: %q, %v", first.token, err)
	}
	second, err := start(nil)
	if err != nil || second.token != joinToken || id(second) != id(first) {
		t.Errorf("after a lost answer: token %q, id %s after %s, %v", second.token, id(second), id(first), err)
	}
	third, err := start(nil)
	if err != nil || third.token != "token-1" || id(third) == id(second) {
		t.Errorf("registered: token %q, id %s after %s, %v", third.token, id(third), id(second), err)
	}
	fourth, err := start(func(call) (int, any) { return problem(401, job.RefusedSuperseded) })
	if err == nil || fourth.token != "token-1" {
		t.Errorf("superseded: token %q, %v", fourth.token, err)
	}
	seen := len(l.hub.got("register"))
	removed := func(c call) (int, any) {
		if c.token != joinToken {
			return problem(401, job.RefusedUnauthorized)
		}
		return 0, nil
	}
	if _, err := start(removed); err != nil {
		t.Errorf("removed: %v", err)
	}
	if calls := l.hub.got("register")[seen:]; len(calls) != 2 || calls[1].token != joinToken {
		t.Errorf("a removed worker does not join anew: %d calls", len(calls))
	}
	if _, err := start(func(call) (int, any) { return problem(403, "forbidden") }); err == nil {
		t.Error("a refusal is not final")
	}
}

func TestNoJoinToken(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.cfg.JoinToken = secret.Text{}
	l.start()
	if err := l.end(); err == nil || !strings.Contains(err.Error(), "WORKER_JOIN_TOKEN") {
		t.Errorf("run: %v", err)
	}
}

func TestAStorageThatComesAndGoes(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	l.completion()

	away := l.cfg.StorageBase + ".unmounted"
	if err := os.Rename(l.cfg.StorageBase, away); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(l.cfg.StorageBase, 0o700); err != nil { // the mount point
		t.Fatal(err)
	}
	shows := func(state string) {
		t.Helper()
		testenv.Eventually(t, 2*time.Minute, func() bool {
			calls := l.hub.got("heartbeat")
			return decode[job.Heartbeat](t, calls[len(calls)-1].body).StorageState == state
		}, "no heartbeat says %s", state)
	}
	shows(job.StorageMissing)
	waiting := l.hub.addJob(job.Backup)
	l.deliver(waiting)
	n := len(l.hub.got("heartbeat"))
	l.waitCalls("heartbeat", n+3)
	if n := len(l.hub.got("claim")); n != 1 {
		t.Errorf("%d claims without a storage", n)
	}
	if left, err := os.ReadDir(l.cfg.StorageBase); err != nil || len(left) > 0 {
		t.Errorf("the mount point holds %v, %v", left, err)
	}
	if err := os.Remove(l.cfg.StorageBase); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, l.cfg.StorageBase); err != nil {
		t.Fatal(err)
	}
	shows(job.StorageOK)
	l.waitCalls("complete", 2)
	if !l.exists(l.snapshotDir(waiting)) {
		t.Error("the waiting job stored nothing")
	}
}

func TestLeftoversAreSweptAtTheStart(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.waitCalls("heartbeat", 1)
	l.stop()
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	staged := filepath.Join(l.cfg.StorageBase, "staging", newID().String()+"-ABC")
	temp, kept := filepath.Join(l.cfg.TempDir, newID().String()), filepath.Join(l.cfg.TempDir, "not-ours")
	for _, dir := range []string{staged, temp, kept} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	l.start()
	l.waitCalls("register", 2)
	if l.exists(staged) || l.exists(temp) || !l.exists(kept) {
		t.Errorf("staged %v, temporary %v, other %v", l.exists(staged), l.exists(temp), l.exists(kept))
	}
}

func TestRedisGoesAndComesBack(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	l.start()
	l.deliver(l.hub.addJob(job.Backup))
	l.completion()
	l.redis.Kill()
	testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.log.String(), "Redis cannot be used") }, "it is not said")
	before := strings.Count(l.log.String(), "Dequeue error")
	l.redis.Start()
	testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.log.String(), "Redis is back") }, "it is not said")
	l.deliver(l.hub.addJob(job.Backup))
	l.waitCalls("complete", 2)
	if before > 20 {
		t.Errorf("%d failed calls while Redis was away", before)
	}
}
