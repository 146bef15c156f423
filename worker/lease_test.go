package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
	"xvault/worker/hubclient"
)

// attemptOn makes an attempt with a hub of its own, without a queue.
func attemptOn(t *testing.T, h *protocolHub) *attempt {
	t.Helper()
	client, err := hubclient.New(hubclient.Config{BaseURL: h.server.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	client.SetToken(secret.New("token-1"))
	tm := defaultTiming()
	tm.renewFirst, tm.renewEvery, tm.retryRenew = 5*time.Millisecond, 20*time.Millisecond, 5*time.Millisecond
	tm.retryMin, tm.retryMax, tm.fenceAfter = time.Millisecond, 5*time.Millisecond, 200*time.Millisecond
	now := time.Now
	return &attempt{
		claim: *h.addJob(job.Backup), hub: client, log: slog.New(slog.DiscardHandler), now: now, timing: tm,
		life: t.Context(), until: t.Context(), lostToken: func(error) {}, recorded: func(uuid.UUID) error { return nil },
	}
}

// TestActingOutsideFencesItselfOff: what acts on the world outside stops by
// itself when the hub is silent, also where a call hangs.
func TestActingOutsideFencesItselfOff(t *testing.T) {
	t.Parallel()
	for name, hangs := range map[string]bool{"refused": false, "hanging": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newProtocolHub(t)
			release := make(chan struct{})
			var once sync.Once
			free := func() { once.Do(func() { close(release) }) }
			defer free()
			h.answer("renew", func(call) (int, any) {
				if hangs {
					<-release
				}
				return problem(503, "unavailable")
			})
			a := attemptOn(t, h)
			a.actsOutside = true
			var took time.Duration
			var cause error
			a.run(func(ctx context.Context, a *attempt) outcome {
				<-ctx.Done()
				took, cause = a.now().Sub(a.began), context.Cause(ctx)
				free()
				return outcome{err: cause}
			})
			if !errors.Is(cause, errSilence) {
				t.Errorf("cause: %v", cause)
			}
			if took < a.timing.fenceAfter || took > 20*a.timing.fenceAfter {
				t.Errorf("fenced off after %v", took)
			}
			if names := h.names(); len(names) > 0 {
				t.Errorf("calls: %v", names)
			}
		})
	}
}

// A process that stood still must not act before anything told it that it is late:
// what keeps its lease may not have had its turn.
func TestNothingIsDoneOutsideByALateAttempt(t *testing.T) {
	t.Parallel()
	h, now := newProtocolHub(t), &clock{}
	h.answer("renew", func(call) (int, any) { return problem(503, "unavailable") })
	a := attemptOn(t, h)
	a.actsOutside, a.now, a.timing.fenceAfter = true, now.now, time.Hour
	a.run(func(ctx context.Context, a *attempt) outcome {
		if err := a.mayActOutside(ctx); err != nil {
			t.Errorf("at the beginning: %v", err)
		}
		now.move(2 * time.Hour)
		if err := a.mayActOutside(ctx); !errors.Is(err, errSilence) {
			t.Errorf("two hours later: %v", err)
		}
		return outcome{err: errSilence}
	})
	if names := h.names(); len(names) > 0 {
		t.Errorf("calls: %v", names)
	}
}

func TestARenewalPutsTheFenceOff(t *testing.T) {
	t.Parallel()
	h, now := newProtocolHub(t), &clock{}
	a := attemptOn(t, h)
	a.actsOutside, a.now, a.timing.fenceAfter = true, now.now, time.Hour
	a.run(func(ctx context.Context, _ *attempt) outcome {
		for range 5 {
			now.move(40 * time.Minute)
			seen := len(h.got("renew"))
			testenv.Eventually(t, 2*time.Minute, func() bool { return len(h.got("renew")) >= seen+3 || ctx.Err() != nil }, "renewals")
		}
		return outcome{err: context.Cause(ctx)}
	})
	done := h.got("complete")
	if len(done) != 1 || decode[job.CompleteRequest](t, done[0].body).Status != job.Completed {
		t.Errorf("completions: %v", done)
	}
}

// TestRenewalsBeginSoonAndSlowDown: people see progress early, hubs are not
// asked more than the protocol says.
func TestRenewalsBeginSoonAndSlowDown(t *testing.T) {
	t.Parallel()
	tm := defaultTiming()
	if tm.renewFirst > 2*time.Second || tm.renewEvery != job.RenewEvery || tm.fenceAfter != job.FenceAfter {
		t.Errorf("timing: %+v", tm)
	}
	if tm.fenceAfter+tm.retryRenew >= job.Lease {
		t.Error("a job may fence itself off after its lease")
	}
}

func TestTheRateIsSinceTheLastLook(t *testing.T) {
	t.Parallel()
	var p progress
	var files, bytes int64
	at := time.Unix(1_700_000_000, 0)
	p.enter(phaseConnecting)
	if got := p.look(at); got != (job.Progress{Phase: phaseConnecting}) {
		t.Errorf("before anything: %+v", got)
	}
	p.enter(phaseReading)
	p.counts(func() (int64, int64) { return files, bytes })
	files, bytes = 3, 4000
	if got := p.look(at.Add(2 * time.Second)); got.RateBPS != 2000 || got.Files != 3 || got.Bytes != 4000 {
		t.Errorf("first: %+v", got)
	}
	bytes = 5000
	if got := p.look(at.Add(4 * time.Second)); got.RateBPS != 500 {
		t.Errorf("second: %+v", got)
	}
	if got := p.look(at.Add(4*time.Second + time.Millisecond)); got.RateBPS != 500 {
		t.Errorf("at once again: %+v", got)
	}
}
