package catalog_test

import (
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// TestOneOfTwoWins has two calls race for one attempt, many times, and checks
// that the job ended up as one of them said, with the other one told so.
func TestOneOfTwoWins(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	type contest struct {
		c catalog.Claimed
		f catalog.Fence
	}
	finalize := func(x contest) error { return l.FinalizeJob(t.Context(), x.f) }
	complete := func(x contest) error { return l.CompleteJob(t.Context(), x.f, l.success(x.c, l.w1)) }
	fail := func(x contest) error { return l.CompleteJob(t.Context(), x.f, failed(x.c, job.ConnectFailed)) }
	release := func(x contest) error { return l.ReleaseJob(t.Context(), x.f) }
	renew := func(x contest) error {
		_, err := l.RenewLease(t.Context(), x.f, job.Progress{})
		return err
	}
	cancel := func(x contest) error {
		_, err := l.tenant().CancelJob(t.Context(), x.f.JobID)
		return err
	}
	reap := func(contest) error {
		ended, err := l.ReapExpired(t.Context(), 100)
		if err == nil && len(ended) == 0 {
			return errNothing
		}
		return err
	}
	tests := map[string]struct {
		expired bool
		a, b    func(contest) error
		// ok says whether the state fits who was told that it won.
		ok func(j catalog.Job, a, b bool) bool
	}{
		"cancel and finalize": {false, cancel, finalize, func(j catalog.Job, a, b bool) bool {
			return a && !b && j.Status == job.Canceled || b && !a && j.Status == job.Finalizing
		}},
		"cancel and complete": {false, cancel, complete, func(j catalog.Job, a, b bool) bool {
			return a && !b && j.Status == job.Canceled || b && !a && j.Status == job.Completed
		}},
		"reap and complete": {true, reap, complete, func(j catalog.Job, a, b bool) bool {
			return a && !b && j.Status == job.Queued || b && !a && j.Status == job.Completed
		}},
		"reap and finalize": {true, reap, finalize, func(j catalog.Job, a, b bool) bool {
			return a && !b && j.Status == job.Queued || b && !a && j.Status == job.Finalizing
		}},
		"reap and renew": {true, reap, renew, func(j catalog.Job, a, b bool) bool {
			return a && !b && j.Status == job.Queued || b && !a && j.Status == job.Running
		}},
		"reap and reap": {true, reap, reap, func(j catalog.Job, a, b bool) bool {
			return a != b && j.Status == job.Queued
		}},
		"complete and fail": {false, complete, fail, func(j catalog.Job, a, b bool) bool {
			return a && !b && j.Status == job.Completed || b && !a && j.Status == job.Queued
		}},
		"complete and complete": {false, complete, complete, func(j catalog.Job, a, b bool) bool {
			return a && b && j.Status == job.Completed
		}},
		"release and fail": {false, release, fail, func(j catalog.Job, a, b bool) bool {
			return a != b && j.Status == job.Queued && (j.Error == nil) == a
		}},
		"cancel and release": {false, cancel, release, func(j catalog.Job, a, b bool) bool {
			return a && j.Status == job.Canceled && (b || j.Attempt == 1)
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) { // one after the other: reaping knows no fence
			for range 25 {
				c, f := l.running()
				if tt.expired {
					l.expire(c.JobID)
				}
				x := contest{c, f}
				var errA, errB error
				var both sync.WaitGroup
				both.Go(func() { errA = tt.a(x) })
				both.Go(func() { errB = tt.b(x) })
				both.Wait()
				for _, err := range []error{errA, errB} {
					var conflict *catalog.Conflict
					if err != nil && !errors.Is(err, catalog.ErrFenced) && !errors.As(err, &conflict) && !errors.Is(err, errNothing) {
						t.Fatal(err)
					}
				}
				j := l.job(c.JobID)
				if !tt.ok(j, errA == nil, errB == nil) {
					t.Fatalf("a: %v, b: %v, job is %s with %+v", errA, errB, j.Status, j.Error)
				}
				l.exec("DELETE FROM snapshots")
				l.exec("DELETE FROM jobs")
			}
		})
	}
}

var errNothing = errors.New("nothing to reap")

// ledger is what workers were told, kept outside of the catalog.
type ledger struct {
	mu        sync.Mutex
	completed map[uuid.UUID]map[int]bool // job -> attempts whose success was accepted
	finalized map[uuid.UUID]int          // job -> attempt that was told that it is finalizing
	attempts  map[uuid.UUID]map[int]int  // job -> attempt -> claims that got it
	errs      []error
}

func (g *ledger) note(fn func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fn()
}

// TestManyWorkersOneTruth has workers, users and reapers act on a few jobs at
// random, all at once, and then holds the catalog against what each was told.
func TestManyWorkersOneTruth(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	l := newLine(t)
	var jobs []uuid.UUID
	for range 12 {
		jobs = append(jobs, l.post().ID)
	}
	l.exec("UPDATE jobs SET max_attempts = 1000")
	g := &ledger{
		completed: map[uuid.UUID]map[int]bool{}, finalized: map[uuid.UUID]int{}, attempts: map[uuid.UUID]map[int]int{},
	}
	var all sync.WaitGroup
	for i := range uint64(4) {
		w := []catalog.WorkerRef{l.w1, l.w2}[i%2]
		all.Go(func() { l.work(rand.New(rand.NewPCG(seed, i)), g, w, jobs, 150) })
	}
	all.Go(func() { l.disturb(rand.New(rand.NewPCG(seed, 99)), jobs, 150) })
	all.Wait()
	for _, err := range g.errs {
		t.Error(err)
	}
	for _, id := range jobs {
		l.judge(g, id)
	}
}

// work claims at random and takes each attempt to some end, or none.
func (l *line) work(r *rand.Rand, g *ledger, w catalog.WorkerRef, jobs []uuid.UUID, steps int) {
	ctx := l.t.Context()
	for range steps {
		id := jobs[r.IntN(len(jobs))]
		c, err := l.ClaimJob(ctx, w, job.ClaimRequest{JobID: id, ClaimID: uuid.New()})
		if errors.Is(err, catalog.ErrGone) || errors.Is(err, catalog.ErrNotClaimable) {
			continue
		}
		if err != nil {
			g.note(func() { g.errs = append(g.errs, err) })
			return
		}
		g.note(func() {
			if g.attempts[id] == nil {
				g.attempts[id] = map[int]int{}
			}
			g.attempts[id][c.Attempt]++
		})
		f := fence(c, w)
		if r.IntN(3) == 0 {
			_, err = l.RenewLease(ctx, f, job.Progress{Files: 1})
		}
		if err == nil && r.IntN(2) == 0 {
			if err = l.FinalizeJob(ctx, f); err == nil {
				g.note(func() { g.finalized[id] = max(g.finalized[id], c.Attempt) })
			}
		}
		switch end := r.IntN(10); {
		case end < 2: // vanishes
			continue
		case end < 4:
			err = l.ReleaseJob(ctx, f)
		case end < 7:
			err = l.CompleteJob(ctx, f, failed(c, job.LeaseLost))
		default:
			if err = l.CompleteJob(ctx, f, l.success(c, w)); err == nil {
				g.note(func() {
					if g.completed[id] == nil {
						g.completed[id] = map[int]bool{}
					}
					g.completed[id][c.Attempt] = true
				})
			}
		}
		if err != nil && !errors.Is(err, catalog.ErrFenced) {
			g.note(func() { g.errs = append(g.errs, err) })
		}
	}
}

// disturb makes leases run out and reaps them, dispatches, and cancels now and
// then.
func (l *line) disturb(r *rand.Rand, jobs []uuid.UUID, steps int) {
	ctx := l.t.Context()
	for range steps {
		id := jobs[r.IntN(len(jobs))]
		switch r.IntN(8) {
		case 0:
			if r.IntN(4) == 0 {
				_, _ = l.operator().CancelJob(ctx, id)
			}
		case 1, 2, 3:
			_, _ = l.raw.Exec(ctx, "UPDATE jobs SET lease_expires_at = xvault_now() WHERE id = $1 AND lease_expires_at IS NOT NULL", id)
		case 4:
			_, _ = l.Dispatch(ctx, catalog.Queue{Name: job.QueueBackup, Room: 3}, []uuid.UUID{l.owner.tenant})
		default:
			_, _ = l.ReapExpired(ctx, 3)
		}
	}
}

func (l *line) judge(g *ledger, id uuid.UUID) {
	j := l.job(id)
	accepted := g.completed[id]
	if len(accepted) > 1 {
		l.t.Errorf("job %v: the success of %d attempts was accepted", id, len(accepted))
	}
	if (len(accepted) == 1) != (j.Status == job.Completed) {
		l.t.Errorf("job %v is %s; accepted successes: %v", id, j.Status, accepted)
	}
	if accepted != nil && !accepted[j.Attempt] {
		l.t.Errorf("job %v ended with attempt %d, accepted was %v", id, j.Attempt, accepted)
	}
	if j.Status == job.Canceled && g.finalized[id] == j.Attempt && j.Attempt > 0 && // unless it was lost or failed before
		l.count("SELECT count(*) FROM jobs WHERE id = $1 AND attempt_outcome IN ('lost', 'failed')", id) == 0 {
		l.t.Errorf("job %v was canceled after attempt %d was told that it is finalizing", id, j.Attempt)
	}
	for attempt, claims := range g.attempts[id] {
		if claims != 1 || attempt > j.Attempt {
			l.t.Errorf("job %v: attempt %d was handed out %d times; the last is %d", id, attempt, claims, j.Attempt)
		}
	}
	want := len(accepted)
	if n := l.count("SELECT count(*) FROM snapshots WHERE job_id = $1", id); n != want {
		l.t.Errorf("job %v has %d snapshots, accepted were %d", id, n, want)
	}
}
