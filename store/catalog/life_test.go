package catalog_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// stored makes a good snapshot on w1's storage.
func (l *line) stored() uuid.UUID {
	l.t.Helper()
	return l.snapshotOf(l.owner, "w1", *l.worker("w1").StorageID)
}

func (l *line) snap(id uuid.UUID) catalog.Snapshot {
	l.t.Helper()
	s, err := l.operator().Snapshot(l.t.Context(), id)
	l.must(err)
	return s
}

func (l *line) wantSnapshot(id uuid.UUID, want catalog.SnapshotStatus) {
	l.t.Helper()
	if s := l.snap(id); s.Status != want {
		l.t.Errorf("snapshot is %s, want %s", s.Status, want)
	}
}

func (l *line) remove(id uuid.UUID, grace time.Duration) catalog.Job {
	l.t.Helper()
	j, err := l.tenant().RequestDeletion(l.t.Context(), id, grace)
	l.must(err)
	return j
}

// reads queues a job that reads a snapshot.
func (l *line) reads(id uuid.UUID, kind job.Kind) (catalog.Job, error) {
	return l.tenant().CreateJob(l.t.Context(), catalog.NewJob{
		SourceID: l.owner.source, Kind: kind, Priority: 5, TargetWorkerID: new("w1"), SnapshotID: &id,
	})
}

func (l *line) tryClaim(w catalog.WorkerRef, id uuid.UUID) error {
	_, err := l.ClaimJob(l.t.Context(), w, job.ClaimRequest{JobID: id, ClaimID: uuid.New()})
	return err
}

// mark has retention remove these.
func (l *line) mark(grace time.Duration, ids ...uuid.UUID) catalog.Retention {
	l.t.Helper()
	done, err := l.Retain(l.t.Context(), l.owner.source, grace, func(catalog.RetentionView) (catalog.RetentionPlan, error) {
		return catalog.RetentionPlan{Remove: ids}, nil
	})
	l.must(err)
	return done
}

func TestDeletionInTwoSteps(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	l.stored()
	j := l.remove(id, 24*time.Hour)
	s := l.snap(id)
	if s.Status != catalog.SnapshotDeleting || s.DeletingFrom == nil || *s.DeletingFrom != "completed" || s.DeleteAfter == nil {
		t.Fatalf("marked: %+v", s)
	}
	if j.Kind != job.DeleteSnapshot || j.TargetWorkerID == nil || *j.TargetWorkerID != "w1" || *j.SnapshotID != id || !j.RunAfter.Equal(*s.DeleteAfter) {
		t.Errorf("job: %+v", j)
	}
	if ahead := j.RunAfter.Sub(j.CreatedAt); ahead < 23*time.Hour || ahead > 25*time.Hour {
		t.Errorf("due %v after it was queued", ahead)
	}
	wantErr(t, l.tryClaim(l.w1, j.ID), catalog.ErrNotClaimable)
	if again := l.remove(id, 48*time.Hour); again.ID != j.ID || !again.RunAfter.Equal(j.RunAfter) {
		t.Errorf("asked again: %+v", again)
	}
	for _, kind := range []job.Kind{job.Restore, job.Verify} {
		_, err := l.reads(id, kind)
		wantConflict(t, err, "snapshot_deleting")
	}

	back, err := l.tenant().TakeBackSnapshot(t.Context(), id)
	l.must(err)
	if back.Status != catalog.SnapshotCompleted || back.DeletingFrom != nil || back.DeleteAfter != nil {
		t.Errorf("taken back: %+v", back)
	}
	wantStatus(t, l.job(j.ID), job.Canceled)
	_, err = l.tenant().TakeBackSnapshot(t.Context(), id)
	wantConflict(t, err, "snapshot_not_deleting")

	j = l.remove(id, 48*time.Hour)
	if sooner := l.remove(id, 0); sooner.ID != j.ID || sooner.RunAfter.After(time.Now().Add(time.Minute)) {
		t.Errorf("hastened: %+v", sooner)
	}
	c := l.claim(l.w1, j.ID)
	var payload job.DeletePayload
	l.must(json.Unmarshal(c.Payload, &payload))
	if c.SnapshotID != id || payload.StorageID != *l.worker("w1").StorageID {
		t.Errorf("claimed: %+v", c)
	}
	_, err = l.tenant().TakeBackSnapshot(t.Context(), id)
	wantConflict(t, err, "deletion_begun")
	_, err = l.tenant().PatchSnapshot(t.Context(), id, catalog.SnapshotPatch{Hold: new(true)})
	wantConflict(t, err, "deletion_begun")
	_, err = l.tenant().CancelJob(t.Context(), j.ID)
	wantConflict(t, err, "deletion_begun")
	l.must(l.FinalizeJob(t.Context(), fence(c, l.w1)))
	done := job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed, Result: json.RawMessage(`{"freed_bytes":7}`)}
	for range 2 { // the answer was lost, say
		l.must(l.CompleteJob(t.Context(), fence(c, l.w1), done))
	}
	if s := l.snap(id); s.Status != catalog.SnapshotDeleted || s.DeletedAt == nil || *s.DeletingFrom != "completed" {
		t.Errorf("deleted: %+v", s)
	}
	_, err = l.tenant().RequestDeletion(t.Context(), id, 0)
	wantConflict(t, err, "snapshot_deleted")
	_, err = l.tenant().TakeBackSnapshot(t.Context(), id)
	wantConflict(t, err, "snapshot_deleted")
	_, err = l.reads(id, job.Verify)
	wantConflict(t, err, "snapshot_deleted")
	for action, want := range map[string]int{"snapshot.delete": 4, "snapshot.undelete": 1, "snapshot.deleted": 1} {
		if n := l.count("SELECT count(*) FROM audit_events WHERE action = $1 AND object_id = $2 AND tenant_id = $3", action, id.String(), l.owner.tenant); n != want {
			t.Errorf("%d events %s, want %d", n, action, want)
		}
	}
}

// TestHoldsWin: also one that comes while the snapshot waits to be deleted.
func TestHoldsWin(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	hold := func(h bool) catalog.Snapshot {
		s, err := l.tenant().PatchSnapshot(t.Context(), id, catalog.SnapshotPatch{Hold: &h})
		l.must(err)
		return s
	}
	hold(true)
	_, err := l.tenant().RequestDeletion(t.Context(), id, 0)
	wantConflict(t, err, "snapshot_held")
	if done := l.mark(0, id); len(done.Removed) != 0 {
		t.Error("retention marked a held one")
	}
	hold(false)
	j := l.remove(id, 0)
	if s := hold(true); s.Status != catalog.SnapshotCompleted || !s.Hold {
		t.Errorf("held while deleting: %+v", s)
	}
	wantErr(t, l.tryClaim(l.w1, j.ID), catalog.ErrGone)
	// What should not be, and must not delete either.
	hold(false)
	j = l.remove(id, 0)
	l.exec("UPDATE snapshots SET hold = true WHERE id = $1", id)
	wantErr(t, l.tryClaim(l.w1, j.ID), catalog.ErrNotClaimable)
}

// TestCancelTakesBack: a deletion that is canceled leaves the snapshot as it was.
func TestCancelTakesBack(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	l.exec("UPDATE snapshots SET status = 'partial' WHERE id = $1", id)
	j := l.remove(id, time.Hour)
	canceled, err := l.tenant().CancelJob(t.Context(), j.ID)
	l.must(err)
	wantStatus(t, canceled, job.Canceled)
	l.wantSnapshot(id, catalog.SnapshotPartial)
	_, err = l.tenant().CancelJob(t.Context(), j.ID)
	l.must(err)
}

// TestNothingIsDeletedWhileItIsRead, and what reads begins nothing on what goes.
func TestNothingIsDeletedWhileItIsRead(t *testing.T) {
	t.Parallel()
	for _, kind := range []job.Kind{job.Restore, job.Verify} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			id := l.stored()
			reader, err := l.reads(id, kind)
			l.must(err)
			j := l.remove(id, 0)
			refused := func(when string) {
				t.Helper()
				l.exec("UPDATE jobs SET run_after = xvault_now() - interval '1 second', dispatched_at = xvault_now() WHERE id = $1", j.ID)
				if err := l.tryClaim(l.w1, j.ID); !errors.Is(err, catalog.ErrNotClaimable) {
					t.Errorf("%s: %v", when, err)
				}
				// Not handed out again at once.
				if n := l.count("SELECT count(*) FROM jobs WHERE id = $1 AND dispatched_at IS NULL AND run_after > xvault_now()", j.ID); n != 1 {
					t.Errorf("%s: not postponed", when)
				}
			}
			refused("while it is queued")
			c := l.claim(l.w1, reader.ID)
			refused("while it runs")
			l.must(l.CompleteJob(t.Context(), fence(c, l.w1), job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed}))
			l.exec("UPDATE jobs SET run_after = xvault_now() - interval '1 second' WHERE id = $1", j.ID)
			l.must(l.tryClaim(l.w1, j.ID))
		})
	}
}

// TestRetentionNeverTakesTheLastGoodOne, whatever became of the others since it
// marked this one. A person may.
func TestRetentionNeverTakesTheLastGoodOne(t *testing.T) {
	t.Parallel()
	for _, fate := range []string{"status = 'corrupt'", "status = 'deleted'", "missing_since = xvault_now()", "status = 'suspicious'"} {
		t.Run(fate, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			old, newer := l.stored(), l.stored()
			l.mark(0, old)
			if n, err := l.QueueDueDeletions(t.Context(), 10, nil); err != nil || n != 1 {
				t.Fatalf("queued %d, %v", n, err)
			}
			j := l.jobsOf(old)[0]
			l.exec("UPDATE snapshots SET "+fate+" WHERE id = $1", newer)
			wantErr(t, l.tryClaim(l.w1, j), catalog.ErrNotClaimable)
			l.remove(old, 0)
			l.exec("UPDATE jobs SET run_after = xvault_now() - interval '1 second' WHERE id = $1", j)
			l.must(l.tryClaim(l.w1, j))
		})
	}
}

// jobsOf lists the jobs that delete a snapshot.
func (l *line) jobsOf(id uuid.UUID) []uuid.UUID {
	l.t.Helper()
	rows, err := l.raw.Query(l.t.Context(), "SELECT id FROM jobs WHERE snapshot_id = $1 AND type = 'delete_snapshot' ORDER BY id", id)
	l.must(err)
	defer rows.Close()
	var ids []uuid.UUID
	for rows.Next() {
		var id uuid.UUID
		l.must(rows.Scan(&id))
		ids = append(ids, id)
	}
	l.must(rows.Err())
	return ids
}

func TestDueDeletions(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var ids []uuid.UUID
	for range 6 {
		ids = append(ids, l.stored())
	}
	queue := func(spared ...uuid.UUID) int {
		t.Helper()
		n, err := l.QueueDueDeletions(t.Context(), 100, spared)
		l.must(err)
		return n
	}
	l.mark(time.Hour, ids[:4]...)
	if n := queue(); n != 0 {
		t.Errorf("%d queued before their time", n)
	}
	l.moveClock(2 * time.Hour)
	if n := queue(l.owner.source); n != 0 {
		t.Errorf("%d queued of a source that was spared", n)
	}
	if due, err := l.SourcesWithDueDeletions(t.Context(), 10); err != nil || len(due) != 1 || due[0] != l.owner.source {
		t.Errorf("sources: %v, %v", due, err)
	}
	total := 0
	results := make(chan int)
	for range 4 { // hubs
		go func() {
			n, err := l.QueueDueDeletions(t.Context(), 100, nil)
			if err != nil {
				t.Error(err)
			}
			results <- n
		}()
	}
	for range 4 {
		total += <-results
	}
	if total != 4 || queue() != 0 {
		t.Errorf("%d queued in all, want 4", total)
	}
	// One that failed is tried again, later.
	l.exec(`UPDATE jobs SET status = 'failed', finished_at = xvault_now(), attempt = 1 WHERE snapshot_id = $1 AND type = 'delete_snapshot'`, ids[0])
	if n := queue(); n != 0 {
		t.Error("a failed one is queued again at once")
	}
	l.moveClock(4 * time.Hour)
	if n := queue(); n != 1 || len(l.jobsOf(ids[0])) != 2 {
		t.Errorf("%d queued again", n)
	}
	_, err := l.tenant().TakeBackSnapshot(t.Context(), ids[0])
	wantConflict(t, err, "deletion_begun")
}

// TestWorkerThatHasTheFiles: the one that made them, or who has its storage now.
func TestWorkerThatHasTheFiles(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	storage := *l.worker("w1").StorageID
	l.must(l.operator().RemoveWorker(t.Context(), "w1"))
	_, err := l.tenant().RequestDeletion(t.Context(), id, 0)
	wantConflict(t, err, "worker_removed")
	l.wantSnapshot(id, catalog.SnapshotCompleted)
	l.exec("UPDATE workers SET storage_id = $1 WHERE id = 'w2'", storage)
	if j := l.remove(id, 0); *j.TargetWorkerID != "w2" {
		t.Errorf("for %s", *j.TargetWorkerID)
	}
}

// TestRetainIsOneView: what a plan wants of snapshots that changed is not done.
func TestRetainIsOneView(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	ids := []uuid.UUID{l.stored(), l.stored(), l.stored(), l.stored()}
	foreign := l.snapshot("w1", *l.worker("w1").StorageID) // of another tenant
	l.exec("UPDATE snapshots SET status = 'suspicious' WHERE id = $1", ids[1])
	l.exec("UPDATE snapshots SET status = 'deleted' WHERE id = $1", ids[2])
	done := l.mark(time.Hour, ids[0], ids[1], ids[2], foreign)
	if len(done.Removed) != 1 || done.Removed[0] != ids[0] {
		t.Errorf("removed %v", done.Removed)
	}
	view, err := l.tenant().RetentionView(t.Context(), l.owner.source)
	l.must(err)
	if len(view.Snapshots) != 3 || !view.Snapshots[2].Marked || view.Snapshots[2].Status != catalog.SnapshotCompleted {
		t.Errorf("view: %+v", view.Snapshots)
	}
	done, err = l.Retain(t.Context(), l.owner.source, 0, func(catalog.RetentionView) (catalog.RetentionPlan, error) {
		return catalog.RetentionPlan{TakeBack: []uuid.UUID{ids[0]}}, nil
	})
	l.must(err)
	if len(done.TakenBack) != 1 {
		t.Errorf("taken back %v", done.TakenBack)
	}
	l.wantSnapshot(ids[0], catalog.SnapshotCompleted)
	broken := errors.New("no such zone")
	if _, err := l.Retain(t.Context(), l.owner.source, 0, func(catalog.RetentionView) (catalog.RetentionPlan, error) {
		return catalog.RetentionPlan{Remove: ids}, broken
	}); !errors.Is(err, broken) {
		t.Errorf("error: %v", err)
	}
	l.wantSnapshot(ids[0], catalog.SnapshotCompleted)
}

func TestSuspicion(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	backup := func(size, files, bytes int64) catalog.Snapshot {
		t.Helper()
		c, f := l.running()
		req := l.success(c, l.w1)
		req.Snapshot.SizeBytes = size
		req.Snapshot.Manifest = json.RawMessage(fmt.Sprintf(`{"content":{"files":%d,"bytes":%d}}`, files, bytes))
		req.Result = json.RawMessage(`{"vanished":9007199254740993}`)
		for range 2 {
			l.must(l.CompleteJob(t.Context(), f, req))
		}
		s := l.snap(c.SnapshotID)
		j := l.job(c.JobID)
		wantStatus(t, j, job.Completed)
		var result struct {
			Suspicion string
			Vanished  int64
		}
		l.must(json.Unmarshal(j.Result, &result))
		if result.Suspicion != s.Suspicion || result.Vanished != 9007199254740993 {
			t.Errorf("result %s, suspicion %q", j.Result, s.Suspicion)
		}
		return s
	}
	good := func(s catalog.Snapshot) {
		t.Helper()
		if s.Status != catalog.SnapshotCompleted {
			t.Fatalf("%s: %s", s.Status, s.Suspicion)
		}
	}
	suspicious := func(s catalog.Snapshot, why string) {
		t.Helper()
		if s.Status != catalog.SnapshotSuspicious || !strings.Contains(s.Suspicion, why) {
			t.Fatalf("%s: %q, want one that says %q", s.Status, s.Suspicion, why)
		}
	}
	good(backup(1000, 10, 10_000))
	good(backup(500, 5, 5000)) // just half
	good(backup(1000, 10, 10_000))
	suspicious(backup(1000, 4, 10_000), "holds 4 files")
	suspicious(backup(499, 10, 10_000), "bytes in the artifact")
	suspicious(backup(1000, 10, 4999), "bytes in files")
	suspicious(backup(1000, 0, 0), "no file")
	for range 30 { // however often
		suspicious(backup(10, 1, 10), "holds 1 files")
	}
	last := backup(10, 1, 10)
	accepted, err := l.tenant().AcceptSnapshot(t.Context(), last.ID)
	l.must(err)
	if accepted.Status != catalog.SnapshotCompleted || accepted.AcceptedAt == nil || accepted.Suspicion == "" {
		t.Errorf("accepted: %+v", accepted)
	}
	_, err = l.tenant().AcceptSnapshot(t.Context(), last.ID)
	wantConflict(t, err, "snapshot_not_suspicious")
	good(backup(9, 1, 9)) // that is how large it is now
	suspicious(backup(4, 1, 4), "bytes")
	if n := l.count("SELECT count(*) FROM audit_events WHERE action = 'snapshot.accept' AND object_id = $1", last.ID.String()); n != 1 {
		t.Errorf("%d events", n)
	}
	// What was good and was removed since still says how large is usual.
	grown := backup(9000, 100, 9000)
	good(grown)
	for range 7 {
		good(backup(9000, 100, 9000))
	}
	l.exec("UPDATE snapshots SET status = 'deleted', deleting_from = 'completed' WHERE size_bytes = 9000")
	suspicious(backup(9, 1, 9), "holds 1 files")
}

func TestSuspicionKnowsOneSource(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	other := l.owner
	other.source = catalog.NewID()
	l.exec("INSERT INTO sources (id, tenant_id, type, name, config) VALUES ($1, $2, 'sftp', 'another', '{}')", other.source, other.tenant)
	l.exec("UPDATE snapshots SET size_bytes = 1000000 WHERE id = $1", l.snapshotOf(other, "w1", *l.worker("w1").StorageID))
	c, f := l.running()
	l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
	l.wantSnapshot(c.SnapshotID, catalog.SnapshotCompleted)
}

// TestMissingIsNoted: on the right storage, of what was there when the worker
// began to look, and only until it is found again.
func TestMissingIsNoted(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	storage := *l.worker("w1").StorageID
	gone, there := l.stored(), l.stored()
	l.exec("UPDATE snapshots SET created_at = created_at - interval '1 hour'")
	young := l.stored()
	reconcile := func(listing time.Duration, storage uuid.UUID, ids ...uuid.UUID) {
		t.Helper()
		_, err := l.Reconcile(t.Context(), l.w1, job.ReconcileRequest{
			StorageID: storage, Snapshots: ids, Complete: true, ListingMS: listing.Milliseconds(),
		})
		l.must(err)
	}
	noted := func(want bool, ids ...uuid.UUID) {
		t.Helper()
		for _, id := range ids {
			if s := l.snap(id); (s.MissingSince != nil) != want || s.Status != catalog.SnapshotCompleted {
				t.Errorf("%s: missing since %v, status %s, want it missing: %v", id, s.MissingSince, s.Status, want)
			}
		}
	}
	reconcile(time.Minute, uuid.New()) // another disk
	noted(false, gone, there, young)
	reconcile(0, storage) // a worker that does not say since when it looks
	noted(false, gone, there, young)
	reconcile(time.Minute, storage, there)
	noted(true, gone)
	noted(false, there, young)
	view, err := l.tenant().RetentionView(t.Context(), l.owner.source)
	l.must(err)
	for _, s := range view.Snapshots {
		if s.Missing != (s.ID == gone) {
			t.Errorf("retention sees %+v", s)
		}
	}
	reconcile(time.Minute, storage, there, gone, young)
	noted(false, gone, there, young)
}

func TestSweepIsKept(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.must(l.KeepSweep(t.Context(), l.w1, job.SweepReport{Snapshots: 9, Orphans: 2, OrphanBytes: 77, Missing: 1, Removed: 4, RemovedBytes: -1}))
	if n := l.count(`SELECT count(*) FROM workers WHERE id = 'w1' AND swept_at IS NOT NULL AND sweep_orphan_bytes = 77 AND sweep_removed_bytes = 0`); n != 1 {
		t.Error("not kept")
	}
	wantErr(t, l.KeepSweep(t.Context(), catalog.WorkerRef{ID: "w1", Incarnation: l.w1.Incarnation + 1}, job.SweepReport{}), catalog.ErrSuperseded)
}
