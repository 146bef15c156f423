package worker

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/testenv"
)

// unknownHub calls every snapshot unknown that a test names.
type unknownHub struct {
	mu  sync.Mutex
	ids map[uuid.UUID]bool
}

func (u *unknownHub) set(id uuid.UUID, unknown bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ids == nil {
		u.ids = map[uuid.UUID]bool{}
	}
	u.ids[id] = unknown
}

func (u *unknownHub) answer(t *testing.T) func(call) (int, any) {
	t.Helper()
	return func(c call) (int, any) {
		u.mu.Lock()
		defer u.mu.Unlock()
		res := job.ReconcileResponse{Compared: true, Unknown: []uuid.UUID{uuid.New()}} // and one that nobody asked about
		for _, id := range decode[job.ReconcileRequest](t, c.body).Snapshots {
			if u.ids[id] {
				res.Unknown = append(res.Unknown, id)
			}
		}
		return 200, res
	}
}

// clock is a time that tests move.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func TestOnlyWhatStaysUnknownIsRemoved(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	unknown, now := &unknownHub{}, &clock{}
	l.hub.answer("reconcile", unknown.answer(t))
	l.cfg.Now, l.cfg.ReconcileEvery, l.cfg.OrphanGrace = now.now, 10*time.Millisecond, time.Hour
	l.start()
	orphan, doubted, known := l.hub.addJob(job.Backup), l.hub.addJob(job.Backup), l.hub.addJob(job.Backup)
	l.hub.answer("complete", tookOver(t, orphan, doubted))
	unknown.set(orphan.SnapshotID, true)
	unknown.set(doubted.SnapshotID, true)
	for _, c := range []*job.Claim{orphan, doubted, known} {
		l.deliver(c)
	}
	l.waitCalls("complete", 3)
	rounds := func() { l.waitCalls("reconcile", len(l.hub.got("reconcile"))+2) }

	rounds()
	now.move(59 * time.Minute)
	rounds()
	unknown.set(doubted.SnapshotID, false) // its catalog was put right
	rounds()
	unknown.set(doubted.SnapshotID, true)
	if !l.exists(l.snapshotDir(orphan)) {
		t.Error("removed before its grace was over")
	}
	now.move(2 * time.Minute)
	testenv.Eventually(t, 2*time.Minute, func() bool { return !l.exists(l.snapshotDir(orphan)) }, "it stays although its grace is over")
	rounds()
	if !l.exists(l.snapshotDir(doubted)) {
		t.Error("removed although it was known in between")
	}
	if !l.exists(l.snapshotDir(known)) {
		t.Error("removed although the hub knows it")
	}
	l.stagingIsEmpty()
}

// tookOver answers the reports of these jobs as a hub does that went on with
// another attempt.
func tookOver(t *testing.T, claims ...*job.Claim) func(call) (int, any) {
	t.Helper()
	return func(c call) (int, any) {
		req := decode[job.CompleteRequest](t, c.body)
		for _, claim := range claims {
			if req.Snapshot != nil && req.Snapshot.ID == claim.SnapshotID {
				return problem(409, job.RefusedLeaseLost)
			}
		}
		return 0, nil
	}
}

// TestWhatTheCatalogForgotStays: a snapshot that the hub took, or knew once, is
// never removed for being unknown, whatever became of the catalog since. One that
// the catalog knows as deleted is.
func TestWhatTheCatalogForgotStays(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	unknown := &unknownHub{}
	l.hub.answer("reconcile", unknown.answer(t))
	l.cfg.ReconcileEvery, l.cfg.OrphanGrace = 10*time.Millisecond, time.Nanosecond
	l.start()
	taken, known, orphan := l.hub.addJob(job.Backup), l.hub.addJob(job.Backup), l.hub.addJob(job.Backup)
	l.hub.answer("complete", tookOver(t, known, orphan)) // and the catalog has the first of them, although its answer was lost
	unknown.set(taken.SnapshotID, true)
	unknown.set(orphan.SnapshotID, true)
	for _, c := range []*job.Claim{taken, known, orphan} {
		l.deliver(c)
	}
	l.waitCalls("complete", 3)
	rounds := func() { l.waitCalls("reconcile", len(l.hub.got("reconcile"))+3) }
	rounds()
	unknown.set(known.SnapshotID, true)
	testenv.Eventually(t, 2*time.Minute, func() bool { return !l.exists(l.snapshotDir(orphan)) }, "an orphan stays: this proves nothing")
	rounds()
	l.stop()
	if err := l.end(); err != nil {
		t.Fatal(err)
	}
	l.start()
	rounds()
	for name, c := range map[string]*job.Claim{"taken": taken, "known once": known} {
		if !l.exists(l.snapshotDir(c)) {
			t.Errorf("%s, and removed", name)
		}
	}
	last := l.hub.got("sweep")
	if report := decode[job.SweepReport](t, last[len(last)-1].body); report.Kept != 2 || report.Orphans != 2 || report.Removed != 1 {
		t.Errorf("told the hub: %+v", report)
	}
	l.hub.answer("reconcile", func(c call) (int, any) {
		return 200, job.ReconcileResponse{Unknown: []uuid.UUID{taken.SnapshotID, known.SnapshotID}, Deleted: []uuid.UUID{taken.SnapshotID}}
	})
	testenv.Eventually(t, 2*time.Minute, func() bool { return !l.exists(l.snapshotDir(taken)) }, "what was deleted stays")
	rounds()
	if !l.exists(l.snapshotDir(known)) {
		t.Error("removed beside what was deleted")
	}
}

// TestWhatWasThereBeforeStays: a new catalog that knows nothing is no reason to
// remove what may be all that is left of the old one.
func TestWhatWasThereBeforeStays(t *testing.T) {
	t.Parallel()
	t.Run("by this clock", func(t *testing.T) {
		t.Parallel()
		whatWasThereBeforeStays(t, newLab(t))
	})
	t.Run("by the hub's, this one being a year behind", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		late := &clock{ahead: -365 * 24 * time.Hour}
		l.cfg.Now = late.now
		l.hub.answer("register", func(c call) (int, any) {
			_, usual := l.hub.usual(c)
			res, _ := usual.(job.RegisterResponse)
			res.KnownSince = time.Now()
			return 200, res
		})
		whatWasThereBeforeStays(t, l)
	})
}

func whatWasThereBeforeStays(t *testing.T, l *lab) {
	t.Helper()
	l.cfg.ReconcileEvery, l.cfg.OrphanGrace = 10*time.Millisecond, time.Nanosecond
	old := l.hub.addJob(job.Backup)
	at := time.Now().Add(-48 * time.Hour).UnixMilli()
	for i := range 6 {
		old.SnapshotID[i] = byte(at >> (40 - 8*i))
	}
	unknown := &unknownHub{}
	unknown.set(old.SnapshotID, true)
	l.hub.answer("complete", tookOver(t, old))
	l.hub.answer("reconcile", unknown.answer(t))
	l.start()
	l.deliver(old)
	l.waitCalls("complete", 1)
	l.waitCalls("reconcile", len(l.hub.got("reconcile"))+5)
	if !l.exists(l.snapshotDir(old)) {
		t.Error("removed")
	}
}

func TestMissingSnapshotsAreSaid(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	gone := newID()
	l.hub.answer("reconcile", func(c call) (int, any) {
		if req := decode[job.ReconcileRequest](t, c.body); !req.Complete || req.StorageID == uuid.Nil {
			t.Errorf("request: %s", c.body)
		}
		return 200, job.ReconcileResponse{Missing: []uuid.UUID{gone}}
	})
	l.start()
	testenv.Eventually(t, 2*time.Minute, func() bool { return strings.Contains(l.log.String(), gone.String()) }, "not said")
}
