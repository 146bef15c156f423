package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

func TestRenew(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.expire(c.JobID)
	res, err := l.RenewLease(t.Context(), f, job.Progress{
		Phase: strings.Repeat("é", 100) + "\x00", Files: 3, Bytes: -1, RateBPS: 5, BytesTotal: 9,
	})
	l.must(err)
	if res.LeaseMS != 60_000 || res.CancelRequested {
		t.Errorf("renewal says %+v", res)
	}
	j := l.job(c.JobID)
	if left := time.Until(*j.LeaseExpiresAt); left < 50*time.Second {
		t.Errorf("a renewed lease holds for %v", left)
	}
	if j.Progress == nil || len([]rune(j.Progress.Phase)) != 64 || j.Progress.Files != 3 || j.Progress.Bytes != 0 || j.Progress.BytesTotal != 9 {
		t.Errorf("progress is %+v", j.Progress)
	}
	_, err = l.tenant().CancelJob(t.Context(), c.JobID)
	l.must(err)
	res, err = l.RenewLease(t.Context(), f, job.Progress{})
	l.must(err)
	if !res.CancelRequested {
		t.Error("the renewal does not tell of the cancel")
	}
}

// TestFence has every call made by an attempt that is not the current one.
func TestFence(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	other := catalog.HashToken(secret.New("of another worker"))
	stale := map[string]catalog.Fence{
		"later attempt":     {f.JobID, f.WorkerID, f.Incarnation, f.Attempt + 1, nil},
		"earlier attempt":   {f.JobID, f.WorkerID, f.Incarnation, 0, nil},
		"huge attempt":      {f.JobID, f.WorkerID, f.Incarnation, 1<<32 + f.Attempt, nil},
		"other worker":      {f.JobID, "w2", f.Incarnation, f.Attempt, nil},
		"other incarnation": {f.JobID, f.WorkerID, f.Incarnation + 1, f.Attempt, nil},
		"other job":         {l.post().ID, f.WorkerID, f.Incarnation, f.Attempt, nil},
		"other token":       {f.JobID, f.WorkerID, f.Incarnation, f.Attempt, &other},
		"no job":            {catalog.NewID(), f.WorkerID, f.Incarnation, f.Attempt, nil},
	}
	for name, f := range stale {
		t.Run(name, func(t *testing.T) {
			_, err := l.RenewLease(t.Context(), f, job.Progress{})
			wantErr(t, err, catalog.ErrFenced)
			wantErr(t, l.FinalizeJob(t.Context(), f), catalog.ErrFenced)
			wantErr(t, l.ReleaseJob(t.Context(), f), catalog.ErrFenced)
			wantErr(t, l.CompleteJob(t.Context(), f, l.success(c, l.w1)), catalog.ErrFenced)
			wantErr(t, l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)), catalog.ErrFenced)
			wantErr(t, l.CompleteJob(t.Context(), f, job.CompleteRequest{Status: job.Canceled}), catalog.ErrFenced)
		})
	}
	wantStatus(t, l.job(c.JobID), job.Running)
	l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
}

func TestFinalizeAndCancelExcludeEachOther(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.must(l.FinalizeJob(t.Context(), f))
	l.must(l.FinalizeJob(t.Context(), f))
	wantStatus(t, l.job(c.JobID), job.Finalizing)
	_, err := l.tenant().CancelJob(t.Context(), c.JobID)
	wantConflict(t, err, "job_finalizing")
	wantErr(t, l.ReleaseJob(t.Context(), f), catalog.ErrFenced)
	_, err = l.RenewLease(t.Context(), f, job.Progress{})
	l.must(err)
	l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
	l.must(l.FinalizeJob(t.Context(), f)) // its first answer was lost
	wantStatus(t, l.job(c.JobID), job.Completed)

	c, f = l.running()
	_, err = l.tenant().CancelJob(t.Context(), c.JobID)
	l.must(err)
	wantErr(t, l.FinalizeJob(t.Context(), f), catalog.ErrFenced)
	wantErr(t, l.FinalizeJob(t.Context(), f), catalog.ErrFenced)
	wantStatus(t, l.job(c.JobID), job.Canceled)
	wantErr(t, l.CompleteJob(t.Context(), f, l.success(c, l.w1)), catalog.ErrFenced)
}

func TestRelease(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.exec("UPDATE jobs SET dispatch_seq = 1, dispatched_at = xvault_now() WHERE id = $1", c.JobID)
	for range 7 { // more than there are tries: handing back is no failure
		l.must(l.ReleaseJob(t.Context(), f))
		l.must(l.ReleaseJob(t.Context(), f))
		j := l.job(c.JobID)
		wantStatus(t, j, job.Queued)
		wantError(t, j, "")
		if n := l.count("SELECT count(*) FROM jobs WHERE id = $1 AND dispatched_at IS NULL AND run_after <= xvault_now() AND failures = 0", c.JobID); n != 1 {
			t.Fatal("a job that was handed back is not due at once")
		}
		wantErr(t, l.CompleteJob(t.Context(), f, l.success(c, l.w1)), catalog.ErrFenced)
		next := l.claim(l.w1, c.JobID)
		wantErr(t, l.ReleaseJob(t.Context(), f), catalog.ErrFenced)
		c, f = next, fence(next, l.w1)
	}
	_, err := l.tenant().CancelJob(t.Context(), c.JobID)
	l.must(err)
	l.must(l.ReleaseJob(t.Context(), f))
	wantStatus(t, l.job(c.JobID), job.Canceled)
}

func TestCancel(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	queued := l.post()
	j, err := l.tenant().CancelJob(t.Context(), queued.ID)
	l.must(err)
	wantStatus(t, j, job.Canceled)
	wantError(t, j, job.CodeCanceled)
	if j.FinishedAt == nil || j.Attempt != 0 {
		t.Errorf("canceled job is %+v", j)
	}
	_, err = l.tenant().CancelJob(t.Context(), queued.ID) // again
	l.must(err)

	c, f := l.running()
	for range 2 {
		j, err = l.tenant().CancelJob(t.Context(), c.JobID)
		l.must(err)
		wantStatus(t, j, job.Running)
	}
	if n := l.count("SELECT count(*) FROM audit_events WHERE action = 'job.cancel' AND actor_id = 'key' AND tenant_id = $1", l.owner.tenant); n != 2 {
		t.Errorf("%d audit events tell of two cancels", n)
	}
	l.must(l.CompleteJob(t.Context(), f, job.CompleteRequest{Status: job.Canceled}))
	l.must(l.CompleteJob(t.Context(), f, job.CompleteRequest{Status: job.Canceled}))
	j = l.job(c.JobID)
	wantStatus(t, j, job.Canceled)
	wantError(t, j, job.CodeCanceled)

	c, f = l.running()
	l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
	_, err = l.tenant().CancelJob(t.Context(), c.JobID)
	wantConflict(t, err, "job_ended")
	_, err = l.tenant().CancelJob(t.Context(), catalog.NewID())
	wantErr(t, err, catalog.ErrNotFound)
	stranger := l.Tenant(l.fleet.owner().tenant, catalog.Actor{Type: catalog.ActorAPIKey})
	foreign := l.post()
	_, err = stranger.CancelJob(t.Context(), foreign.ID)
	wantErr(t, err, catalog.ErrNotFound)
	wantStatus(t, l.job(foreign.ID), job.Queued)
}

// TestACancelThatCameTooLate: what happened in the world stands, but a backup
// whose cancel came first leaves no snapshot.
func TestACancelThatCameTooLate(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running(ofKind(job.Probe))
	_, err := l.tenant().CancelJob(t.Context(), c.JobID)
	l.must(err)
	l.must(l.CompleteJob(t.Context(), f, job.CompleteRequest{Status: job.Completed, Result: json.RawMessage(`{"ok": true}`)}))
	wantStatus(t, l.job(c.JobID), job.Completed)

	for _, end := range []job.Status{job.Completed, job.Failed} {
		c, f = l.running()
		_, err = l.tenant().CancelJob(t.Context(), c.JobID)
		l.must(err)
		req := l.success(c, l.w1)
		if end == job.Failed {
			req.Status, req.Snapshot.Status, req.Error = job.Failed, "partial", &job.WireError{Code: job.PermissionDenied}
		}
		wantErr(t, l.CompleteJob(t.Context(), f, req), catalog.ErrFenced)
		wantErr(t, l.CompleteJob(t.Context(), f, req), catalog.ErrFenced)
		wantStatus(t, l.job(c.JobID), job.Canceled)
	}
	c, f = l.running()
	_, err = l.tenant().CancelJob(t.Context(), c.JobID)
	l.must(err)
	l.must(l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)))
	l.must(l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)))
	wantStatus(t, l.job(c.JobID), job.Canceled)
	if n := l.count("SELECT count(*) FROM snapshots"); n != 0 {
		t.Errorf("%d snapshots of canceled backups", n)
	}
}

func TestReap(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	reap := func() []catalog.Ended {
		t.Helper()
		ended, err := l.ReapExpired(t.Context(), 100)
		l.must(err)
		return ended
	}
	live, _ := l.running()
	lost, f := l.running()
	l.expire(lost.JobID)
	if ended := reap(); len(ended) != 1 || ended[0] != (catalog.Ended{JobID: lost.JobID, TenantID: l.owner.tenant, Attempt: 1, Status: job.Queued}) {
		t.Fatalf("reaped %+v", ended)
	}
	wantStatus(t, l.job(live.JobID), job.Running)
	j := l.job(lost.JobID)
	wantError(t, j, job.LeaseLost)
	if j.RunAfter.After(time.Now()) || j.WaitingReason != "" {
		t.Errorf("a job whose lease was lost is due at %v, waiting for %q", j.RunAfter, j.WaitingReason)
	}
	_, err := l.RenewLease(t.Context(), f, job.Progress{})
	wantErr(t, err, catalog.ErrFenced)
	wantErr(t, l.FinalizeJob(t.Context(), f), catalog.ErrFenced)
	wantErr(t, l.CompleteJob(t.Context(), f, l.success(lost, l.w1)), catalog.ErrFenced)
	wantErr(t, l.CompleteJob(t.Context(), f, failed(lost, job.ConnectFailed)), catalog.ErrFenced)

	// Renewed in time, by the clock of the catalog.
	_, f = l.claim(l.w2, lost.JobID), catalog.Fence{JobID: lost.JobID, WorkerID: "w2", Incarnation: 1, Attempt: 2}
	l.expire(lost.JobID)
	_, err = l.RenewLease(t.Context(), f, job.Progress{})
	l.must(err)
	if ended := reap(); len(ended) != 0 {
		t.Fatalf("reaped %+v, which was renewed", ended)
	}

	// Finalizing, and lost: another attempt makes its own bytes.
	l.must(l.FinalizeJob(t.Context(), f))
	l.expire(lost.JobID)
	if ended := reap(); len(ended) != 1 || ended[0].Status != job.Queued {
		t.Fatalf("reaped %+v", ended)
	}
	wantErr(t, l.FinalizeJob(t.Context(), f), catalog.ErrFenced)

	canceled, _ := l.running()
	_, err = l.tenant().CancelJob(t.Context(), canceled.JobID)
	l.must(err)
	l.expire(canceled.JobID)
	if ended := reap(); len(ended) != 1 || ended[0].Status != job.Canceled {
		t.Fatalf("reaped %+v", ended)
	}
}

func TestLeasesRunOutByTheCatalogsClock(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, _ := l.running()
	l.moveClock(59 * time.Second)
	ended, err := l.ReapExpired(t.Context(), 1)
	l.must(err)
	if len(ended) != 0 {
		t.Fatalf("reaped %+v before its time", ended)
	}
	l.moveClock(365 * 24 * time.Hour)
	ended, err = l.ReapExpired(t.Context(), 1)
	l.must(err)
	if len(ended) != 1 || ended[0].JobID != c.JobID {
		t.Fatalf("reaped %+v", ended)
	}
	l.moveClock(0)
	if j := l.job(c.JobID); j.WaitingReason != catalog.WaitingRetryBackoff {
		t.Errorf("with the clock set back the job waits for %q", j.WaitingReason)
	}
	if n, err := l.PullBack(t.Context()); err != nil || n == 0 {
		t.Errorf("pulled back: %d, %v", n, err)
	}
	if j := l.job(c.JobID); j.WaitingReason == catalog.WaitingRetryBackoff || j.RunAfter.After(time.Now()) {
		t.Errorf("afterwards it waits for %q until %s", j.WaitingReason, j.RunAfter)
	}
}

// A clock that was ahead for a while leaves nothing behind that lasts until its
// time comes: no lease, no sign of life, no delivery.
func TestWhatAClockAheadLeaves(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	l.moveClock(365 * 24 * time.Hour)
	c, _ := l.running()
	queued := l.post().ID
	l.exec("UPDATE jobs SET dispatched_at = xvault_now(), dispatch_seq = 1 WHERE id = $1", queued)
	waiting := l.post().ID
	l.exec("UPDATE workers SET last_seen_at = xvault_now()")
	l.exec("UPDATE sources SET retained_at = xvault_now()")
	l.moveClock(0)
	n, err := l.PullBack(t.Context())
	l.must(err)
	if n < 4 {
		t.Errorf("%d rows", n)
	}
	for _, ahead := range []string{
		"SELECT count(*) FROM jobs WHERE lease_expires_at > xvault_now() + interval '61 s'",
		"SELECT count(*) FROM jobs WHERE status = 'queued' AND greatest(dispatched_at, run_after) > xvault_now()",
		"SELECT count(*) FROM workers WHERE last_seen_at > xvault_now()",
		"SELECT count(*) FROM sources WHERE retained_at > xvault_now()",
	} {
		if left := l.count(ahead); left != 0 {
			t.Errorf("%d: %s", left, ahead)
		}
	}
	if left := l.count("SELECT count(*) FROM jobs WHERE id = $1 AND dispatched_at IS NULL", waiting); left != 1 {
		t.Error("a job that was not handed out counts as if it were")
	}
	if n, err := l.PullBack(t.Context()); err != nil || n != 0 {
		t.Errorf("a second time: %d, %v", n, err)
	}
	if left := l.count("SELECT count(*) FROM jobs WHERE id = $1 AND status = 'running'", c.JobID); left != 1 {
		t.Error("the job that runs does not any more")
	}
}

func TestANewStartEndsTheEarlierOnesLeases(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	reg, _ := l.join("w3")
	w3 := ref("w3", 1)
	c := l.claim(w3, l.post().ID)
	finalizing := l.claim(w3, l.post().ID)
	l.must(l.FinalizeJob(t.Context(), fence(finalizing, w3)))
	other, _ := l.running()
	done, err := l.RegisterWorker(t.Context(), reg)
	l.must(err)
	for _, id := range []catalog.Claimed{c, finalizing} {
		j := l.job(id.JobID)
		wantStatus(t, j, job.Queued)
		wantError(t, j, job.LeaseLost)
		again := l.claim(ref("w3", done.Incarnation), id.JobID) // due at once
		if again.Attempt != 2 {
			t.Errorf("attempt is %d", again.Attempt)
		}
	}
	wantErr(t, l.CompleteJob(t.Context(), fence(c, w3), l.success(c, w3)), catalog.ErrFenced)
	wantStatus(t, l.job(other.JobID), job.Running)
}

func TestRemovingAWorkerFailsWhatOnlyItCouldDo(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	anyones, _ := l.running()
	running, _ := l.running(only("w1"))
	queued, others := l.post(only("w1")), l.post(only("w2"))
	l.must(l.operator().RemoveWorker(t.Context(), "w1"))
	for _, id := range []catalog.Job{l.job(running.JobID), l.job(queued.ID)} {
		wantStatus(t, id, job.Failed)
		wantError(t, id, job.WorkerRemoved)
	}
	j := l.job(anyones.JobID)
	wantStatus(t, j, job.Queued)
	wantError(t, j, job.LeaseLost)
	wantStatus(t, l.job(others.ID), job.Queued)
}

// TestOrphanedAttemptsEnd: what was claimed, or posted, in the very moment in
// which its worker started anew or was removed.
func TestOrphanedAttemptsEnd(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	live, _ := l.running()
	superseded, _ := l.running()
	l.exec("UPDATE jobs SET worker_incarnation = 0 WHERE id = $1", superseded.JobID)
	removed, _ := l.running()
	l.exec("UPDATE jobs SET worker_id = 'w9' WHERE id = $1", removed.JobID)
	onlyThere, _ := l.running()
	l.exec("UPDATE jobs SET worker_id = 'w9', target_worker_id = 'w9' WHERE id = $1", onlyThere.JobID)
	waiting, patient := l.post(only("w9")), l.post(only("w2"))
	l.exec("UPDATE workers SET status = 'offline' WHERE id = 'w2'")

	ended, err := l.ReapOrphaned(t.Context(), 10)
	l.must(err)
	if len(ended) != 4 {
		t.Errorf("ended %+v", ended)
	}
	for name, want := range map[string]struct {
		id     catalog.Job
		status job.Status
		code   job.Code
	}{
		"live":       {l.job(live.JobID), job.Running, ""},
		"superseded": {l.job(superseded.JobID), job.Queued, job.LeaseLost},
		"removed":    {l.job(removed.JobID), job.Queued, job.LeaseLost},
		"only there": {l.job(onlyThere.JobID), job.Failed, job.WorkerRemoved},
		"waiting":    {l.job(waiting.ID), job.Failed, job.WorkerRemoved},
		"patient":    {l.job(patient.ID), job.Queued, ""},
	} {
		t.Run(name, func(t *testing.T) {
			wantStatus(t, want.id, want.status)
			wantError(t, want.id, want.code)
		})
	}
	if ended, err = l.ReapOrphaned(t.Context(), 10); err != nil || len(ended) != 0 {
		t.Errorf("the second time: %+v, %v", ended, err)
	}
}
