package catalog_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"
	"pgregory.net/rapid"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// model is what a job should be, in a dozen lines: the catalog is held against
// it after every step.
type model struct {
	l           *line
	id          uuid.UUID
	claims      map[int]catalog.Claimed // by attempt
	status      job.Status
	attempt     int
	failures    int
	maxAttempts int
	cancel      bool
	expired     bool
	outcome     job.Status // of the last attempt; empty while it runs
}

func (m *model) live() bool { return m.status == job.Running || m.status == job.Finalizing }

func (m *model) end(outcome, status job.Status, failure bool) {
	m.outcome, m.status = outcome, status
	if failure {
		m.failures++
	}
	if m.cancel && status != job.Completed {
		m.status = job.Canceled
	}
}

// retried is where a failure that is worth another try leads.
func (m *model) retried() job.Status {
	if m.failures+1 < m.maxAttempts {
		return job.Queued
	}
	return job.Failed
}

// TestJobsFollowTheModel takes jobs through random calls, late and repeated
// ones among them.
func TestJobsFollowTheModel(t *testing.T) {
	t.Parallel()
	l := newLine(t)
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{l: l, id: l.post().ID, claims: map[int]catalog.Claimed{}, status: job.Queued, maxAttempts: 3}
		l.exec("UPDATE jobs SET max_attempts = 3 WHERE id = $1", m.id)
		rt.Repeat(map[string]func(*rapid.T){
			"":         m.check,
			"claim":    m.claim,
			"renew":    m.renew,
			"finalize": m.finalize,
			"complete": m.complete,
			"fail":     m.fail,
			"release":  m.release,
			"cancel":   m.askCancel,
			"acked":    m.ackCancel,
			"expire":   m.expire,
			"reap":     m.reap,
		})
	})
}

func (m *model) check(t *rapid.T) {
	j := m.l.job(m.id)
	if j.Status != m.status || j.Attempt != m.attempt || (j.LeaseExpiresAt != nil) != m.live() {
		t.Fatalf("job is %s, attempt %d, lease %v; want %s, attempt %d", j.Status, j.Attempt, j.LeaseExpiresAt, m.status, m.attempt)
	}
	if n := m.l.count("SELECT failures FROM jobs WHERE id = $1", m.id); n != m.failures {
		t.Fatalf("%d failures, want %d", n, m.failures)
	}
	want := 0
	if m.status == job.Completed {
		want = 1
	}
	if n := m.l.count("SELECT count(*) FROM snapshots WHERE job_id = $1", m.id); n != want {
		t.Fatalf("%d snapshots, want %d", n, want)
	}
}

// said draws an attempt, mostly the last one, and the words of its worker.
func (m *model) said(t *rapid.T) (catalog.Claimed, catalog.Fence, bool) {
	if len(m.claims) == 0 {
		t.Skip("nobody has claimed yet")
	}
	attempt := m.attempt
	if rapid.IntRange(0, 4).Draw(t, "late") == 0 {
		attempt = rapid.IntRange(1, m.attempt).Draw(t, "attempt")
	}
	c := m.claims[attempt]
	return c, fence(c, m.l.w1), attempt == m.attempt
}

func want(t *rapid.T, err error, ok bool) {
	if ok && err != nil {
		t.Fatalf("refused: %v", err)
	}
	if !ok && !errors.Is(err, catalog.ErrFenced) {
		t.Fatalf("error is %v, want it fenced", err)
	}
}

func (m *model) claim(t *rapid.T) {
	c, err := m.l.ClaimJob(m.l.t.Context(), m.l.w1, job.ClaimRequest{JobID: m.id, ClaimID: uuid.New()})
	switch {
	case m.status == job.Queued:
		if err != nil || c.Attempt != m.attempt+1 {
			t.Fatalf("claim gave attempt %d and %v", c.Attempt, err)
		}
		m.status, m.attempt, m.outcome, m.expired = job.Running, c.Attempt, "", false
		m.claims[c.Attempt] = c
	case m.status.Terminal() && !errors.Is(err, catalog.ErrGone), !m.status.Terminal() && !errors.Is(err, catalog.ErrNotClaimable):
		t.Fatalf("claim of a job that is %s gave %v", m.status, err)
	}
}

func (m *model) renew(t *rapid.T) {
	_, f, current := m.said(t)
	res, err := m.l.RenewLease(m.l.t.Context(), f, job.Progress{})
	want(t, err, current && m.live())
	if err == nil {
		m.expired = false
		if res.CancelRequested != m.cancel {
			t.Fatalf("renewal says cancel %v, want %v", res.CancelRequested, m.cancel)
		}
	}
}

func (m *model) finalize(t *rapid.T) {
	_, f, current := m.said(t)
	err := m.l.FinalizeJob(m.l.t.Context(), f)
	switch {
	case current && m.live() && m.cancel:
		want(t, err, false)
		m.end(job.Canceled, job.Canceled, false)
	case current && m.live():
		want(t, err, true)
		m.status, m.expired = job.Finalizing, false
	default:
		want(t, err, current && m.outcome == job.Completed)
	}
}

func (m *model) complete(t *rapid.T) {
	c, f, current := m.said(t)
	err := m.l.CompleteJob(m.l.t.Context(), f, m.l.success(c, m.l.w1))
	switch {
	case current && m.live() && m.cancel:
		want(t, err, false)
		m.end(job.Canceled, job.Canceled, true)
	case current && m.live():
		want(t, err, true)
		m.end(job.Completed, job.Completed, false)
	default:
		want(t, err, current && m.outcome == job.Completed)
	}
}

func (m *model) fail(t *rapid.T) {
	c, f, current := m.said(t)
	code := rapid.SampledFrom([]job.Code{job.LeaseLost, job.AuthFailed}).Draw(t, "code")
	err := m.l.CompleteJob(m.l.t.Context(), f, failed(c, code))
	if !current || !m.live() {
		want(t, err, current && m.outcome == job.Failed)
		return
	}
	want(t, err, true)
	if code.Retryable() {
		m.end(job.Failed, m.retried(), true)
	} else {
		m.end(job.Failed, job.Failed, true)
	}
}

func (m *model) release(t *rapid.T) {
	_, f, current := m.said(t)
	err := m.l.ReleaseJob(m.l.t.Context(), f)
	if !current || m.status != job.Running {
		want(t, err, current && m.outcome == outcomeReleased)
		return
	}
	want(t, err, true)
	m.end(outcomeReleased, job.Queued, false)
}

const outcomeReleased job.Status = "released"

func (m *model) askCancel(t *rapid.T) {
	_, err := m.l.tenant().CancelJob(m.l.t.Context(), m.id)
	ok := m.status == job.Queued || m.status == job.Running || m.status == job.Canceled
	if ok != (err == nil) {
		t.Fatalf("cancel of a job that is %s gave %v", m.status, err)
	}
	switch m.status {
	case job.Queued:
		m.cancel, m.status = true, job.Canceled
	case job.Running:
		m.cancel = true
	}
}

func (m *model) ackCancel(t *rapid.T) {
	_, f, current := m.said(t)
	err := m.l.CompleteJob(m.l.t.Context(), f, job.CompleteRequest{Status: job.Canceled})
	switch {
	case current && m.live() && m.cancel:
		want(t, err, true)
		m.end(job.Canceled, job.Canceled, true)
	case current && m.live():
		if _, ok := errors.AsType[*catalog.Conflict](err); !ok {
			t.Fatalf("a cancel that nobody asked for gave %v", err)
		}
	default:
		want(t, err, current && m.outcome == job.Canceled)
	}
}

func (m *model) expire(*rapid.T) {
	if m.live() {
		m.l.expire(m.id)
		m.expired = true
	}
}

func (m *model) reap(t *rapid.T) {
	ended, err := m.l.ReapExpired(m.l.t.Context(), 100)
	if err != nil {
		t.Fatal(err)
	}
	mine := 0
	for _, e := range ended {
		if e.JobID == m.id {
			mine++
		}
	}
	if (mine == 1) != (m.live() && m.expired) {
		t.Fatalf("reaped %d of a job that is %s, expired %v", mine, m.status, m.expired)
	}
	if mine == 1 {
		m.end("lost", m.retried(), true)
		m.expired = false
	}
}
