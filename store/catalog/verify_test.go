package catalog_test

import (
	"encoding/json"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// verifying queues a verification and has w1 claim it.
func (l *line) verifying(id uuid.UUID, kind job.VerifyKind) (catalog.Claimed, catalog.Fence) {
	l.t.Helper()
	j, err := l.tenant().CreateVerify(l.t.Context(), id, kind)
	l.must(err)
	c := l.claim(l.w1, j.ID)
	return c, fence(c, l.w1)
}

func passed(c catalog.Claimed) job.CompleteRequest {
	return job.CompleteRequest{Attempt: c.Attempt, Status: job.Completed, Result: json.RawMessage(`{"kind":"x","ok":false,"files":3,"bytes":5,"size_bytes":7,"duration_ms":9}`)}
}

func damaged(c catalog.Claimed) job.CompleteRequest {
	r := failed(c, job.ArtifactCorrupt)
	r.Result = json.RawMessage(`{"ok":true,"size_bytes":7}`)
	return r
}

func (l *line) verdict(id uuid.UUID) (catalog.Snapshot, job.VerifyResult) {
	l.t.Helper()
	s := l.snap(id)
	var v job.VerifyResult
	if s.VerifyResult != nil {
		l.must(json.Unmarshal(s.VerifyResult, &v))
	}
	return s, v
}

func (l *line) backups() int {
	l.t.Helper()
	return l.count("SELECT count(*) FROM jobs WHERE source_id = $1 AND type = 'backup' AND status IN ('queued', 'running')", l.owner.source)
}

func TestVerifyPasses(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	l.exec("UPDATE snapshots SET missing_since = xvault_now() WHERE id = $1", id)
	c, f := l.verifying(id, job.VerifyQuick)
	if c.Snapshot == nil || c.Snapshot.SHA256 == "" || len(c.Snapshot.Manifest) == 0 {
		t.Errorf("claimed: %+v", c.Snapshot)
	}
	if p, err := job.DecodeVerify(c.Payload); err != nil || p.Kind != job.VerifyQuick || p.StorageID != *l.worker("w1").StorageID {
		t.Errorf("payload: %+v, %v", p, err)
	}
	for range 2 { // the answer was lost, say
		l.must(l.CompleteJob(t.Context(), f, passed(c)))
	}
	s, v := l.verdict(id)
	if s.Status != catalog.SnapshotCompleted || s.VerifiedAt == nil || s.FullyVerifiedAt != nil || s.MissingSince != nil ||
		v != (job.VerifyResult{Kind: job.VerifyQuick, OK: true, Files: 3, Bytes: 5, SizeBytes: 7, DurationMS: 9, JobID: c.JobID}) {
		t.Errorf("snapshot: %+v, %+v", s, v)
	}
	j := l.job(c.JobID)
	wantStatus(t, j, job.Completed)
	wantError(t, j, "")
	wantErr(t, l.CompleteJob(t.Context(), f, damaged(c)), catalog.ErrFenced)
	c, f = l.verifying(id, job.VerifyFull)
	l.must(l.CompleteJob(t.Context(), f, passed(c)))
	if s, v := l.verdict(id); s.FullyVerifiedAt == nil || v.Kind != job.VerifyFull {
		t.Errorf("full: %+v, %+v", s, v)
	}
	if n := l.backups(); n != 0 {
		t.Errorf("%d backups", n)
	}
}

// TestVerifyFails: the snapshot is corrupt, once, a backup is queued, once, and a
// hold stays. Only a full one that passes makes it what it was.
func TestVerifyFails(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id, other := l.stored(), l.stored()
	l.exec("UPDATE snapshots SET hold = true, status = 'suspicious', updated_at = updated_at - interval '1 hour' WHERE id = $1", id)
	before := l.snap(id).UpdatedAt
	fails := func(id uuid.UUID) {
		t.Helper()
		c, f := l.verifying(id, job.VerifyQuick)
		for range 2 {
			l.must(l.CompleteJob(t.Context(), f, damaged(c)))
		}
		j := l.job(c.JobID)
		wantStatus(t, j, job.Failed)
		wantError(t, j, job.ArtifactCorrupt)
	}
	fails(id)
	s, v := l.verdict(id)
	if s.Status != catalog.SnapshotCorrupt || !s.Hold || s.VerifiedAt == nil || !s.UpdatedAt.After(before) ||
		v.OK || v.Code != job.ArtifactCorrupt || v.Problem != "it broke" || v.SizeBytes != 7 {
		t.Errorf("snapshot: %+v, %+v", s, v)
	}
	if n := l.backups(); n != 1 {
		t.Fatalf("%d backups", n)
	}
	fails(id)
	fails(other)
	if n := l.backups(); n != 1 {
		t.Errorf("%d backups after another one", n)
	}
	if n := l.count("SELECT count(*) FROM audit_events WHERE action = 'snapshot.corrupt' AND object_id = $1 AND actor_type = 'worker' AND detail ? 'backup_job_id'", id.String()); n != 1 {
		t.Errorf("%d events", n)
	}
	for kind, want := range map[job.VerifyKind]catalog.SnapshotStatus{job.VerifyQuick: catalog.SnapshotCorrupt} {
		c, f := l.verifying(id, kind)
		l.must(l.CompleteJob(t.Context(), f, passed(c)))
		l.wantSnapshot(id, want)
	}
	c, f := l.verifying(id, job.VerifyFull)
	l.must(l.CompleteJob(t.Context(), f, passed(c)))
	l.wantSnapshot(id, catalog.SnapshotSuspicious)
	l.exec("UPDATE jobs SET status = 'canceled', finished_at = xvault_now() WHERE type = 'backup' AND status = 'queued'")
	l.exec("UPDATE sources SET status = 'disabled' WHERE id = $1", l.owner.source)
	fails(id)
	l.wantSnapshot(id, catalog.SnapshotCorrupt)
	if n := l.backups(); n != 0 {
		t.Errorf("%d backups of a disabled source", n)
	}
}

// TestDamageIsBelievedOnTheRightStorageOnly, and failures that prove nothing
// change nothing.
func TestDamageIsBelievedOnTheRightStorageOnly(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, sql string
		code      job.Code
	}{
		{"storage missing", "UPDATE workers SET storage_state = 'missing'", job.ArtifactMissing},
		{"storage foreign", "UPDATE workers SET storage_state = 'foreign'", job.ArtifactCorrupt},
		{"another storage", "UPDATE workers SET storage_id = gen_random_uuid()", job.ArtifactMissing},
		{"unreadable", "SELECT 1", job.StorageFailed},
		{"lost", "SELECT 1", job.Timeout},
		{"broken code", "SELECT 1", job.Internal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t)
			id := l.stored()
			c, f := l.verifying(id, job.VerifyFull)
			l.exec(tt.sql)
			l.must(l.CompleteJob(t.Context(), f, failed(c, tt.code)))
			if s := l.snap(id); s.Status != catalog.SnapshotCompleted || s.VerifiedAt != nil || s.VerifyResult != nil {
				t.Errorf("snapshot: %+v", s)
			}
			want := job.Queued
			if tt.code == job.Internal {
				want = job.Failed
			}
			wantStatus(t, l.job(c.JobID), want)
			if n := l.backups(); n != 0 {
				t.Errorf("%d backups", n)
			}
		})
	}
}

// TestDamageOfWhatIsDeleted is noted for the case that it is taken back; a cancel
// does not hide what was proved.
func TestDamageOfWhatIsDeleted(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	c, f := l.verifying(id, job.VerifyQuick)
	l.remove(id, time.Hour)
	_, err := l.tenant().CancelJob(t.Context(), c.JobID)
	l.must(err)
	l.must(l.CompleteJob(t.Context(), f, damaged(c)))
	wantStatus(t, l.job(c.JobID), job.Canceled)
	if s := l.snap(id); s.Status != catalog.SnapshotDeleting || *s.DeletingFrom != "corrupt" {
		t.Errorf("deleting: %+v", s)
	}
	if n := l.backups(); n != 0 {
		t.Errorf("%d backups for what was to go", n)
	}
	_, err = l.tenant().TakeBackSnapshot(t.Context(), id)
	l.must(err)
	l.wantSnapshot(id, catalog.SnapshotCorrupt)
	c, f = l.verifying(id, job.VerifyFull)
	l.must(l.CompleteJob(t.Context(), f, passed(c)))
	l.wantSnapshot(id, catalog.SnapshotCompleted)
}

// TestManyDamagedAtOnce have their source backed up once, however their
// completions race.
func TestManyDamagedAtOnce(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var all []func() error
	for range 8 {
		c, f := l.verifying(l.stored(), job.VerifyQuick)
		all = append(all, func() error { return l.CompleteJob(t.Context(), f, damaged(c)) },
			func() error { return l.CompleteJob(t.Context(), f, damaged(c)) })
	}
	var wg sync.WaitGroup
	for _, complete := range all {
		wg.Go(func() {
			if err := complete(); err != nil && !errors.Is(err, catalog.ErrFenced) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := l.count("SELECT count(*) FROM snapshots WHERE status = 'corrupt'"); n != 8 {
		t.Errorf("%d corrupt", n)
	}
	if n := l.backups(); n != 1 {
		t.Errorf("%d backups", n)
	}
}

func TestCreateVerifyRefuses(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	id := l.stored()
	stranger := l.Tenant(l.fleet.owner().tenant, catalog.Actor{Type: catalog.ActorAPIKey, ID: "k"})
	_, err := stranger.CreateVerify(t.Context(), id, job.VerifyQuick)
	wantErr(t, err, catalog.ErrNotFound)
	create := func() (catalog.Job, error) { return l.tenant().CreateVerify(t.Context(), id, job.VerifyQuick) }
	// Whoever has the storage now is asked.
	l.exec("UPDATE workers SET storage_id = (SELECT storage_id FROM workers WHERE id = 'w1') WHERE id = 'w2'")
	l.exec("DELETE FROM workers WHERE id = 'w1'")
	j, err := create()
	l.must(err)
	if j.TargetWorkerID == nil || *j.TargetWorkerID != "w2" {
		t.Errorf("for %v", j.TargetWorkerID)
	}
	l.remove(id, time.Hour)
	_, err = create()
	wantConflict(t, err, "snapshot_deleting")
	l.exec("UPDATE snapshots SET status = 'deleted' WHERE id = $1", id)
	_, err = create()
	wantConflict(t, err, "snapshot_deleted")
	l.exec("UPDATE snapshots SET status = 'completed' WHERE id = $1", id)
	l.exec("DELETE FROM workers")
	_, err = create()
	wantConflict(t, err, "worker_removed")
}

// TestVerificationsLeaveRoom: one is handed to a worker at once, and however many
// wait, what stands behind them goes first.
func TestVerificationsLeaveRoom(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	var ids []uuid.UUID
	for range 12 {
		id := l.stored()
		ids = append(ids, id)
		_, err := l.tenant().CreateVerify(t.Context(), id, job.VerifyFull)
		l.must(err)
	}
	dispatch := func() (verifies, others int) {
		t.Helper()
		taken, err := l.Dispatch(t.Context(), catalog.Queue{Name: job.WorkerQueue("w1"), Room: 4}, []uuid.UUID{l.owner.tenant})
		l.must(err)
		for _, h := range taken {
			if l.job(h.JobID).Kind == job.Verify {
				verifies++
			} else {
				others++
			}
		}
		return verifies, others
	}
	if v, _ := dispatch(); v != 1 {
		t.Errorf("%d verifications at once", v)
	}
	_, err := l.reads(ids[0], job.Restore)
	l.must(err)
	l.exec("UPDATE jobs SET priority = 0 WHERE type = 'restore'") // behind all of them
	if v, o := dispatch(); v != 0 || o != 1 {
		t.Errorf("then %d verifications and %d others", v, o)
	}
}
