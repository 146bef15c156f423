package catalog_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

func TestCompleteCommitsJobAndSnapshot(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.must(l.FinalizeJob(t.Context(), f))
	req := l.success(c, l.w1)
	req.Result = json.RawMessage(`{"note": "fine"}`)
	req.Progress = &job.Progress{Phase: "done", Files: 3, Bytes: 7, RateBPS: 2}
	for range 3 { // the answer may be lost on the way
		l.must(l.CompleteJob(t.Context(), f, req))
	}
	j := l.job(c.JobID)
	wantStatus(t, j, job.Completed)
	wantError(t, j, "")
	if j.SnapshotID == nil || *j.SnapshotID != c.SnapshotID || j.LeaseExpiresAt != nil || j.FinishedAt == nil || string(j.Result) != `{"note": "fine"}` {
		t.Errorf("job is %+v", j)
	}
	if j.Progress == nil || *j.Progress != *req.Progress {
		t.Errorf("the job's progress is %+v, not the last that was told", j.Progress)
	}
	s, err := l.tenant().Snapshot(t.Context(), c.SnapshotID)
	l.must(err)
	if s.JobID != c.JobID || s.SourceID != l.owner.source || s.Status != catalog.SnapshotCompleted || s.SizeBytes != 7 ||
		!s.StartedAt.Equal(c.StartedAt) || !s.FinishedAt.Equal(*j.FinishedAt) || s.EncryptionKeyID != l.owner.key ||
		s.EncryptionAlgorithm != "age-x25519" || *s.WorkerID != "w1" || *s.LocalPath != req.Snapshot.LocalPath || s.StorageID == nil {
		t.Errorf("snapshot is %+v", s)
	}

	for name, other := range map[string]job.CompleteRequest{
		"failed":        failed(c, job.ConnectFailed),
		"canceled":      {Status: job.Canceled},
		"no snapshot":   {Status: job.Completed},
		"other content": func() job.CompleteRequest { r := l.success(c, l.w1); r.Snapshot.ID = uuid.New(); return r }(),
	} {
		t.Run("then "+name, func(t *testing.T) {
			wantErr(t, l.CompleteJob(t.Context(), f, other), catalog.ErrFenced)
		})
	}
	_, err = l.RenewLease(t.Context(), f, job.Progress{})
	wantErr(t, err, catalog.ErrFenced)
	wantErr(t, l.ReleaseJob(t.Context(), f), catalog.ErrFenced)
	if n := l.count("SELECT count(*) FROM snapshots"); n != 1 {
		t.Errorf("%d snapshots", n)
	}
}

// TestReportsThatCannotBeTrue change nothing, and the attempt goes on.
func TestReportsThatCannotBeTrue(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	stranger := l.fleet.owner()
	c, f := l.running()
	probe, probeFence := l.running(ofKind(job.Probe))
	snapshot := func(change func(*job.SnapshotRecord)) job.CompleteRequest {
		r := l.success(c, l.w1)
		change(r.Snapshot)
		return r
	}
	path := l.success(c, l.w1).Snapshot.LocalPath
	tests := map[string]job.CompleteRequest{
		"no status":            {},
		"running":              {Status: job.Running},
		"no snapshot":          {Status: job.Completed},
		"nobody canceled":      {Status: job.Canceled},
		"completed with error": {Status: job.Completed, Error: &job.WireError{Code: job.Internal}, Snapshot: l.success(c, l.w1).Snapshot},
		"result is a list":     {Status: job.Failed, Result: json.RawMessage(`[1]`)},
		"result is not JSON":   {Status: job.Failed, Result: json.RawMessage(`{"a":`)},
		"result is huge":       {Status: job.Failed, Result: json.RawMessage(`{"a":"` + strings.Repeat("x", 64<<10) + `"}`)},
		"result holds NUL":     {Status: job.Failed, Result: json.RawMessage(`{"a":"\u0000"}`)},
		"another's id":         snapshot(func(s *job.SnapshotRecord) { s.ID = uuid.New() }),
		"no id":                snapshot(func(s *job.SnapshotRecord) { s.ID = uuid.Nil }),
		"partial":              snapshot(func(s *job.SnapshotRecord) { s.Status = "partial" }),
		"deleted":              snapshot(func(s *job.SnapshotRecord) { s.Status = "deleted" }),
		"negative size":        snapshot(func(s *job.SnapshotRecord) { s.SizeBytes = -1 }),
		"negative duration":    snapshot(func(s *job.SnapshotRecord) { s.DurationMS = -1 }),
		"upper-case hash":      snapshot(func(s *job.SnapshotRecord) { s.SHA256 = strings.ToUpper(s.SHA256) }),
		"short hash":           snapshot(func(s *job.SnapshotRecord) { s.SHA256 = "ab" }),
		"another tenant's key": snapshot(func(s *job.SnapshotRecord) { s.KeyID = stranger.key }),
		"unknown key":          snapshot(func(s *job.SnapshotRecord) { s.KeyID = uuid.New() }),
		"other recipient":      snapshot(func(s *job.SnapshotRecord) { s.Recipient = "age1y" }),
		"unknown storage":      snapshot(func(s *job.SnapshotRecord) { s.StorageBackend = "ftp" }),
		"outside the base":     snapshot(func(s *job.SnapshotRecord) { s.LocalPath = strings.Replace(path, "/srv/w1", "/srv/w2", 1) }),
		"way out of the base":  snapshot(func(s *job.SnapshotRecord) { s.LocalPath = "/srv/w1/../w1" + strings.TrimPrefix(path, "/srv/w1") }),
		"another source's path": snapshot(func(s *job.SnapshotRecord) {
			s.LocalPath = strings.Replace(path, l.owner.source.String(), stranger.source.String(), 1)
		}),
		"path with NUL":        snapshot(func(s *job.SnapshotRecord) { s.LocalPath += "\x00" }),
		"no path":              snapshot(func(s *job.SnapshotRecord) { s.LocalPath = "" }),
		"no manifest":          snapshot(func(s *job.SnapshotRecord) { s.Manifest = nil }),
		"manifest is a string": snapshot(func(s *job.SnapshotRecord) { s.Manifest = json.RawMessage(`"x"`) }),
		"manifest holds NUL":   snapshot(func(s *job.SnapshotRecord) { s.Manifest = json.RawMessage(`{"a":"\u0000"}`) }),
		"manifest is huge": snapshot(func(s *job.SnapshotRecord) {
			s.Manifest = json.RawMessage(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)
		}),
		"manifest's number is endless": snapshot(func(s *job.SnapshotRecord) { s.Manifest = json.RawMessage(`{"a":1e999999}`) }),
	}
	for name, req := range tests {
		t.Run(name, func(t *testing.T) {
			wantConflict(t, l.CompleteJob(t.Context(), f, req), "invalid_report")
		})
	}
	t.Run("a probe's snapshot", func(t *testing.T) {
		wantConflict(t, l.CompleteJob(t.Context(), probeFence, l.success(probe, l.w1)), "invalid_report")
	})
	if n := l.count("SELECT count(*) FROM snapshots"); n != 0 {
		t.Errorf("%d snapshots came of it", n)
	}
	wantStatus(t, l.job(c.JobID), job.Running)
	l.must(l.CompleteJob(t.Context(), f, l.success(c, l.w1)))
}

func TestStorageBaseWithATrailingSlash(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	for _, base := range []string{"/srv/w1/", "/"} {
		l.exec("UPDATE workers SET storage_base_path = $1 WHERE id = 'w1'", base)
		c, f := l.running()
		req := l.success(c, l.w1)
		req.Snapshot.LocalPath = catalog.SnapshotPath(base, l.owner.tenant, l.owner.source, c.SnapshotID)
		l.must(l.CompleteJob(t.Context(), f, req))
	}
	l.exec("UPDATE workers SET storage_base_path = '' WHERE id = 'w1'")
	c, f := l.running()
	req := l.success(c, l.w1)
	req.Snapshot.LocalPath = catalog.SnapshotPath("", l.owner.tenant, l.owner.source, c.SnapshotID)
	wantConflict(t, l.CompleteJob(t.Context(), f, req), "invalid_report")
}

func TestAPartialSnapshotBelongsToAFailedJob(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	req := l.success(c, l.w1)
	req.Status, req.Snapshot.Status = job.Failed, "partial"
	req.Error = &job.WireError{Code: job.StorageFailed, Message: "3 files"} // retried, were there no snapshot
	req.Result = json.RawMessage(`{"paths": ["a"]}`)
	for range 2 {
		l.must(l.CompleteJob(t.Context(), f, req))
	}
	j := l.job(c.JobID)
	wantStatus(t, j, job.Failed)
	wantError(t, j, job.StorageFailed)
	if j.SnapshotID == nil || *j.SnapshotID != c.SnapshotID || string(j.Result) != `{"paths": ["a"]}` {
		t.Errorf("job is %+v", j)
	}
	s, err := l.tenant().Snapshot(t.Context(), c.SnapshotID)
	l.must(err)
	if s.Status != catalog.SnapshotPartial {
		t.Errorf("snapshot is %s", s.Status)
	}
}

func TestTransientFailuresBackOff(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, f := l.running()
	l.exec("UPDATE jobs SET dispatch_seq = 1, dispatched_at = xvault_now(), max_attempts = 12 WHERE id = $1", c.JobID)
	for n := 1; n <= 11; n++ {
		for range 2 {
			l.must(l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)))
		}
		j := l.job(c.JobID)
		wantStatus(t, j, job.Queued)
		wantError(t, j, job.ConnectFailed)
		if j.Error.Message != "it broke" || j.WaitingReason != catalog.WaitingRetryBackoff || j.FinishedAt != nil || j.Progress != nil {
			t.Errorf("job is %+v", j)
		}
		least := min(720*time.Second, 10*time.Second<<(n-1))
		if wait := j.RunAfter.Sub(j.UpdatedAt); wait < least-time.Millisecond || wait > least+least/4+time.Millisecond || wait > 15*time.Minute {
			t.Errorf("after failure %d the job waits for %v, want %v and up to a quarter more", n, wait, least)
		}
		if l.count("SELECT count(*) FROM jobs WHERE id = $1 AND dispatched_at IS NULL", c.JobID) != 1 {
			t.Error("a job that is to be tried again is not to be dispatched again")
		}
		l.exec("UPDATE jobs SET run_after = xvault_now() WHERE id = $1", c.JobID)
		c = l.claim(l.w1, c.JobID)
		f = fence(c, l.w1)
		wantError(t, l.job(c.JobID), "")
	}
	for range 2 {
		l.must(l.CompleteJob(t.Context(), f, failed(c, job.ConnectFailed)))
	}
	j := l.job(c.JobID)
	wantStatus(t, j, job.Failed)
	wantError(t, j, job.ConnectFailed)
}

func TestWhichFailuresAreTriedAgain(t *testing.T) { //nolint:tparallel // the steps share one catalog
	t.Parallel()
	l := newLine(t)
	for _, tt := range []struct {
		code   job.Code
		stored job.Code
		status job.Status
		atOnce bool
	}{
		{job.ConnectFailed, job.ConnectFailed, job.Queued, false},
		{job.StorageFailed, job.StorageFailed, job.Queued, false},
		{job.Timeout, job.Timeout, job.Queued, false},
		{job.LeaseLost, job.LeaseLost, job.Queued, true},
		{job.AuthFailed, job.AuthFailed, job.Failed, false},
		{job.HostKeyChanged, job.HostKeyChanged, job.Failed, false},
		{job.Internal, job.Internal, job.Failed, false},
		{"made_up", job.Internal, job.Failed, false},
		{job.CodeCanceled, job.Internal, job.Failed, false},
		{"", job.Internal, job.Failed, false},
	} {
		t.Run(string(tt.code), func(t *testing.T) {
			c, f := l.running()
			l.must(l.CompleteJob(t.Context(), f, failed(c, tt.code)))
			j := l.job(c.JobID)
			wantStatus(t, j, tt.status)
			wantError(t, j, tt.stored)
			if tt.atOnce != !j.RunAfter.After(j.UpdatedAt) && tt.status == job.Queued {
				t.Errorf("due %v after its failure", j.RunAfter.Sub(j.UpdatedAt))
			}
		})
	}
	c, f := l.running()
	l.must(l.CompleteJob(t.Context(), f, job.CompleteRequest{Status: job.Failed}))
	wantError(t, l.job(c.JobID), job.Internal)
}

func TestAJobThatIsLostTooOftenFails(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	c, _ := l.running()
	for n := 1; n <= job.MaxAttempts; n++ {
		if n > 1 {
			l.claim(l.w1, c.JobID)
		}
		l.expire(c.JobID)
		_, err := l.ReapExpired(t.Context(), 10)
		l.must(err)
	}
	j := l.job(c.JobID)
	wantStatus(t, j, job.Failed)
	wantError(t, j, job.LeaseLost)
}

func TestMessagesAreBoundedAndClean(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	for _, message := range []string{strings.Repeat("é", 5000), strings.Repeat("x", 1<<20), "a\x00b\xffc", ""} {
		c, f := l.running()
		req := failed(c, job.AuthFailed)
		req.Error.Message = message
		l.must(l.CompleteJob(t.Context(), f, req))
		got := l.job(c.JobID).Error.Message
		if n := len([]rune(got)); n > 2000 || strings.Contains(got, "\x00") || message != "" && n == 0 {
			t.Errorf("message of %d runes came of one of %d bytes", n, len(message))
		}
	}
}
