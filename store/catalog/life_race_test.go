package catalog_test

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// TestOneOfTwoDecidesOverASnapshot has two calls race for one snapshot, many
// times: it ends up as one of them said, and the other one was told.
func TestOneOfTwoDecidesOverASnapshot(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	type contest struct{ id, deletion uuid.UUID }
	hold := func(x contest) error {
		_, err := l.tenant().PatchSnapshot(t.Context(), x.id, catalog.SnapshotPatch{Hold: new(true)})
		return err
	}
	remove := func(x contest) error {
		_, err := l.tenant().RequestDeletion(t.Context(), x.id, 0)
		return err
	}
	retention := func(x contest) error {
		done, err := l.Retain(t.Context(), l.owner.source, time.Hour, func(catalog.RetentionView) (catalog.RetentionPlan, error) {
			return catalog.RetentionPlan{Remove: []uuid.UUID{x.id}}, nil
		})
		if err == nil && len(done.Removed) == 0 {
			return errNothing
		}
		return err
	}
	takeBack := func(x contest) error {
		_, err := l.tenant().TakeBackSnapshot(t.Context(), x.id)
		return err
	}
	claim := func(x contest) error { return l.tryClaim(l.w1, x.deletion) }
	restore := func(x contest) error {
		_, err := l.reads(x.id, job.Restore)
		return err
	}
	reading := func(x contest) bool {
		return l.count("SELECT count(*) FROM jobs WHERE snapshot_id = $1 AND type = 'restore'", x.id) > 0
	}
	tests := map[string]struct {
		deleting bool
		a, b     func(contest) error
		ok       func(x contest, s catalog.Snapshot, a, b bool) bool
	}{
		"hold and retention": {false, hold, retention, func(_ contest, s catalog.Snapshot, a, _ bool) bool {
			// Whoever comes first: a hold that comes after takes it back.
			return a && s.Hold && s.Status == catalog.SnapshotCompleted
		}},
		"hold and remove": {false, hold, remove, func(_ contest, s catalog.Snapshot, a, _ bool) bool {
			return a && s.Hold && s.Status == catalog.SnapshotCompleted
		}},
		"take back and claim": {true, takeBack, claim, func(_ contest, s catalog.Snapshot, a, b bool) bool {
			return a != b && (s.Status == catalog.SnapshotCompleted) == a
		}},
		"hold and claim": {true, hold, claim, func(_ contest, s catalog.Snapshot, a, b bool) bool {
			return a != b && (s.Status == catalog.SnapshotCompleted && s.Hold) == a
		}},
		"restore and remove": {false, restore, remove, func(x contest, s catalog.Snapshot, a, b bool) bool {
			return b && s.Status == catalog.SnapshotDeleting && a == reading(x)
		}},
		"remove and remove": {false, remove, remove, func(x contest, s catalog.Snapshot, a, b bool) bool {
			return a && b && s.Status == catalog.SnapshotDeleting && len(l.jobsOf(x.id)) == 1
		}},
		"take back and take back": {true, takeBack, takeBack, func(_ contest, s catalog.Snapshot, a, b bool) bool {
			return a != b && s.Status == catalog.SnapshotCompleted
		}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			wins := [2]int{}
			for range 25 {
				x := contest{id: l.stored()}
				if tt.deleting {
					x.deletion = l.remove(x.id, 0).ID
				}
				var errA, errB error
				var both sync.WaitGroup
				both.Go(func() { errA = tt.a(x) })
				both.Go(func() { errB = tt.b(x) })
				both.Wait()
				if s := l.snap(x.id); !tt.ok(x, s, errA == nil, errB == nil) {
					t.Fatalf("%s, held: %v, while one was told %v and the other %v", s.Status, s.Hold, errA, errB)
				}
				if errA == nil {
					wins[0]++
				}
				if errB == nil {
					wins[1]++
				}
				// Whatever was begun, nothing reads what a worker deletes.
				if n := l.count(`SELECT count(*) FROM jobs d JOIN jobs r ON r.snapshot_id = d.snapshot_id AND r.type = 'restore' AND r.status = 'queued'
					WHERE d.snapshot_id = $1 AND d.type = 'delete_snapshot' AND d.status = 'running'`, x.id); n != 0 {
					t.Fatal("a snapshot that is to be restored is being deleted")
				}
			}
			t.Logf("the first succeeded %d times, the second %d", wins[0], wins[1])
		})
	}
}
