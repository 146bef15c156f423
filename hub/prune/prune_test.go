package prune_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/hub/prune"
	"xvault/internal/job"
	"xvault/internal/testenv"
	"xvault/store/catalog"
)

// TestPreviewIsWhatTheCatalogDoes: random histories in a real catalog, previewed
// and then run, by two hubs at once.
func TestPreviewIsWhatTheCatalogDoes(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	for range 40 {
		s.exec("DELETE FROM snapshots")
		s.exec("DELETE FROM jobs")
		s.exec("DELETE FROM schedules")
		for range random.IntN(3) {
			policy := map[string]any{"keep_last": random.IntN(4), "keep_daily": random.IntN(4), "keep_weekly": random.IntN(3), "min_keep": random.IntN(4)}
			raw, err := json.Marshal(policy)
			s.must(err)
			s.schedule(string(raw), zones[random.IntN(len(zones))])
		}
		at := time.Now()
		for range random.IntN(20) {
			at = at.Add(-time.Duration(random.IntN(40)) * time.Hour)
			id := s.put(at, statuses[random.IntN(len(statuses))])
			switch random.IntN(8) {
			case 0:
				s.exec("UPDATE snapshots SET hold = true WHERE id = $1", id)
			case 1:
				s.exec("UPDATE snapshots SET missing_since = xvault_now() WHERE id = $1", id)
			case 2:
				s.exec(`INSERT INTO jobs (id, tenant_id, source_id, type, snapshot_id, target_worker_id) VALUES ($1, $2, $3, 'restore', $4, 'w1')`,
					catalog.NewID(), s.tenant, s.source, id)
			case 3:
				s.exec("UPDATE snapshots SET status = 'deleting', deleting_from = status, delete_cause = 'retention', delete_after = xvault_now() + interval '1 day' WHERE id = $1 AND status = 'completed' AND NOT hold", id)
			case 4:
				s.exec("UPDATE snapshots SET status = 'deleting', deleting_from = status, delete_cause = 'request', delete_after = xvault_now() + interval '1 day' WHERE id = $1", id)
			}
		}
		s.compare()
	}
}

// compare previews, runs twice at once, and holds the rows against the preview.
func (s *shelf) compare() {
	s.t.Helper()
	view, err := s.operator().RetentionView(s.t.Context(), s.source)
	s.must(err)
	rules, err := prune.Rules(view)
	s.must(err)
	preview := prune.Foresee(rules, view)
	before := s.statuses()
	want := maps.Clone(before)
	for _, p := range preview.Remove {
		want[p.Snapshot.ID] = "deleting"
	}
	for _, p := range preview.Keep {
		want[p.Snapshot.ID] = string(p.Snapshot.Status)
	}
	errs := make(chan error)
	for range 2 {
		go func() {
			_, err := s.pruner.Source(s.t.Context(), s.source)
			errs <- err
		}()
	}
	s.must(<-errs)
	s.must(<-errs)
	for id, status := range s.statuses() {
		if status != want[id] {
			s.t.Errorf("%s was %s and is %s, the preview said %s", id, before[id], status, want[id])
		}
	}
}

func (s *shelf) statuses() map[uuid.UUID]string {
	s.t.Helper()
	rows, err := s.raw.Query(s.t.Context(), "SELECT id, status FROM snapshots")
	s.must(err)
	defer rows.Close()
	found := map[uuid.UUID]string{}
	for rows.Next() {
		var id uuid.UUID
		var status string
		s.must(rows.Scan(&id, &status))
		found[id] = status
	}
	s.must(rows.Err())
	return found
}

// TestThirtyBadRuns (F13): thirty runs that failed, found nothing, left a partial
// snapshot or a suspiciously small one, with retention after each. What was good
// before is good and there.
func TestThirtyBadRuns(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.schedule(`{"keep_last":3}`, "UTC")
	seal := func(c catalog.Claimed, status string, files int) *job.SnapshotRecord {
		return &job.SnapshotRecord{
			ID: c.SnapshotID, Status: status, SizeBytes: int64(1000 * files), DurationMS: 3, SHA256: strings.Repeat("ab", 32),
			Manifest: json.RawMessage(fmt.Sprintf(`{"content":{"files":%d,"bytes":%d}}`, files, 1000*files)), KeyID: s.key, Recipient: "age1x",
			StorageBackend: "local_fs", LocalPath: catalog.SnapshotPath("/srv", s.tenant, s.source, c.SnapshotID),
		}
	}
	good := func(c catalog.Claimed) job.CompleteRequest {
		return job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed, Snapshot: seal(c, "completed", 100)}
	}
	bad := []func(c catalog.Claimed) job.CompleteRequest{
		func(c catalog.Claimed) job.CompleteRequest { // failed
			return job.CompleteRequest{Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: job.AuthFailed, Message: "no"}}
		},
		func(c catalog.Claimed) job.CompleteRequest { // found nothing
			return job.CompleteRequest{Attempt: c.Attempt, Status: job.Failed, Error: &job.WireError{Code: job.SourceEmpty, Message: "empty"}}
		},
		func(c catalog.Claimed) job.CompleteRequest { // stored nothing
			return job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed, Snapshot: seal(c, "completed", 0)}
		},
		func(c catalog.Claimed) job.CompleteRequest { // much too little
			return job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed, Snapshot: seal(c, "completed", 20)}
		},
		func(c catalog.Claimed) job.CompleteRequest { // not all
			return job.CompleteRequest{
				Attempt: c.Attempt, Status: job.Failed, Snapshot: seal(c, "partial", 90),
				Error: &job.WireError{Code: job.PermissionDenied, Message: "one file"},
			}
		},
	}
	var kept []uuid.UUID
	for range 5 {
		kept = append(kept, s.backUp(100, good))
	}
	run := func() {
		t.Helper()
		_, err := s.pruner.Source(t.Context(), s.source)
		s.must(err)
		s.moveClock(48 * time.Hour) // past every grace
		_, err = s.db.QueueDueDeletions(t.Context(), 100, nil)
		s.must(err)
		s.moveClock(0)
	}
	run()
	kept = kept[2:]
	for i := range 30 {
		s.backUp(0, bad[i%len(bad)])
		run()
		for _, id := range kept {
			if got := s.status(id); got != "completed" {
				t.Fatalf("after %d bad runs a good snapshot is %s", i+1, got)
			}
		}
	}
	if n := s.count("SELECT count(*) FROM snapshots WHERE status = 'suspicious'"); n != 12 {
		t.Errorf("%d suspicious ones, want 12, all kept", n)
	}
	if n := s.count("SELECT count(*) FROM snapshots WHERE status = 'partial'"); n != 6 {
		t.Errorf("%d partial ones, want 6: no good one followed them", n)
	}
	// One good one more: it pushes out one good one, and the partial ones.
	s.backUp(100, good)
	run()
	if got := s.status(kept[0]); got != "deleting" {
		t.Errorf("the oldest good one is %s", got)
	}
	for _, id := range kept[1:] {
		if got := s.status(id); got != "completed" {
			t.Errorf("a good one is %s", got)
		}
	}
}

// TestRetentionRunsByItself: after a backup, on the tick, and to the end.
func TestRetentionRunsByItself(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.schedule(`{"keep_last":2}`, "UTC")
	ids := make([]uuid.UUID, 4)
	for i := range ids {
		ids[i] = s.put(time.Now().Add(time.Duration(i-10)*time.Hour), catalog.SnapshotCompleted)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	for range 2 { // hubs
		go func() { ended <- s.pruner.Run(ctx) }()
	}
	t.Cleanup(func() {
		stop()
		s.must(<-ended)
		s.must(<-ended)
	})
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return s.status(ids[0]) == "deleting" && s.status(ids[1]) == "deleting"
	}, "retention does not run by itself")
	if n := s.count("SELECT count(*) FROM jobs WHERE type = 'delete_snapshot'"); n != 0 {
		t.Errorf("%d deletions before the grace is over", n)
	}
	s.moveClock(2 * grace)
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return s.count("SELECT count(*) FROM jobs WHERE type = 'delete_snapshot'") == 2
	}, "the deletions are not queued")
	for _, id := range ids[2:] {
		if got := s.status(id); got != "completed" {
			t.Errorf("one that stays is %s", got)
		}
	}
	// Nothing more, however long it runs.
	rounds := s.count("SELECT extract(epoch FROM retained_at)::bigint FROM sources")
	s.moveClock(2*grace + 25*time.Hour)
	testenv.Eventually(t, 2*time.Minute, func() bool {
		return s.count("SELECT extract(epoch FROM retained_at)::bigint FROM sources") > rounds
	}, "the source is not looked at once a day")
	if n := s.count("SELECT count(*) FROM jobs WHERE type = 'delete_snapshot'"); n != 2 {
		t.Errorf("%d deletions", n)
	}
	if n := s.count("SELECT count(*) FROM audit_events WHERE action = 'source.retention'"); n != 1 {
		t.Errorf("%d audit events, want one", n)
	}
}

// TestWhatIsNeededAgainIsTakenBack: a newer snapshot turns out corrupt, or the
// policy is made to keep more, while what was marked still waits.
func TestWhatIsNeededAgainIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(s *shelf, newest uuid.UUID){
		"corrupt": func(s *shelf, newest uuid.UUID) {
			s.exec("UPDATE snapshots SET status = 'corrupt', updated_at = xvault_now() WHERE id = $1", newest)
		},
		"missing": func(s *shelf, newest uuid.UUID) {
			s.exec("UPDATE snapshots SET missing_since = xvault_now(), updated_at = xvault_now() WHERE id = $1", newest)
		},
		"another policy": func(s *shelf, _ uuid.UUID) { s.exec(`UPDATE schedules SET retention_policy = '{"keep_last": 3}'`) },
		"no policy":      func(s *shelf, _ uuid.UUID) { s.exec(`UPDATE schedules SET retention_policy = '{}'`) },
		"no schedule":    func(s *shelf, _ uuid.UUID) { s.exec(`DELETE FROM schedules`) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShelf(t)
			s.schedule(`{"keep_last":2}`, "UTC")
			old := s.put(time.Now().Add(-3*time.Hour), catalog.SnapshotCompleted)
			s.put(time.Now().Add(-2*time.Hour), catalog.SnapshotCompleted)
			newest := s.put(time.Now().Add(-time.Hour), catalog.SnapshotCompleted)
			run := func() {
				_, err := s.pruner.Source(t.Context(), s.source)
				s.must(err)
			}
			run()
			if got := s.status(old); got != "deleting" {
				t.Fatalf("it is %s", got)
			}
			change(s, newest)
			due, err := s.db.SourcesToRetain(t.Context(), uuid.Nil, 10)
			s.must(err)
			if !slices.Contains(due, s.source) && (name == "corrupt" || name == "missing") {
				t.Error("nobody would look at the source again")
			}
			s.moveClock(2 * grace) // and only now somebody looks
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- s.pruner.Run(ctx) }()
			testenv.Eventually(t, 2*time.Minute, func() bool { return s.status(old) == "completed" }, "it is not taken back")
			stop()
			s.must(<-ended)
			if n := s.count("SELECT count(*) FROM jobs WHERE type = 'delete_snapshot'"); n != 0 {
				t.Errorf("%d deletions were queued", n)
			}
		})
	}
}

// TestBrokenPolicyRemovesNothing, not even what was marked while it was whole.
func TestBrokenPolicyRemovesNothing(t *testing.T) {
	t.Parallel()
	s := newShelf(t)
	s.schedule(`{"keep_last":1}`, "UTC")
	old := s.put(time.Now().Add(-3*time.Hour), catalog.SnapshotCompleted)
	older := s.put(time.Now().Add(-4*time.Hour), catalog.SnapshotCompleted)
	s.put(time.Now().Add(-2*time.Hour), catalog.SnapshotCompleted)
	_, err := s.pruner.Source(t.Context(), s.source)
	s.must(err)
	s.exec("UPDATE schedules SET timezone = 'Europe/Atlantis'")
	s.moveClock(2 * grace)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	s.must(s.pruner.Run(ctx))
	if n := s.count("SELECT count(*) FROM jobs WHERE type = 'delete_snapshot'"); n != 0 {
		t.Errorf("%d deletions", n)
	}
	if s.status(old) != "deleting" || s.status(older) != "deleting" {
		t.Error("they are not marked any more")
	}
}
