package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"xvault/connectors"
	"xvault/internal/failpoint"
	"xvault/internal/job"
	"xvault/worker/hubclient"
)

// Why an attempt's context ends. Each says what is told to the hub afterwards:
// a canceled job is reported, a drained one handed back, and of the others the
// hub does not want to hear.
var (
	errCanceled   = errors.New("the hub asked to cancel the job")
	errFenced     = errors.New("the attempt is no longer this worker's")
	errSuperseded = errors.New("this process is no longer the worker")
	errDrained    = errors.New("the worker is stopping")
	errSilence    = errors.New("the hub was silent for so long that someone else may have the job")
)

// timing are the intervals of the lease protocol; tests shorten them.
type timing struct {
	renewEvery time.Duration // at most; the first ones come sooner
	renewFirst time.Duration
	renewFor   time.Duration // how long one call may take
	retryRenew time.Duration // after one that failed
	fenceAfter time.Duration
	retryMin   time.Duration // between tries of other calls
	retryMax   time.Duration
	releaseFor time.Duration // how long handing back is tried
}

func defaultTiming() timing {
	return timing{
		renewEvery: job.RenewEvery, renewFirst: time.Second, renewFor: job.RenewEvery, retryRenew: 5 * time.Second, fenceAfter: job.FenceAfter,
		retryMin: 200 * time.Millisecond, retryMax: 10 * time.Second, releaseFor: 10 * time.Second,
	}
}

// outcome is what a job's own code says of it. A partial backup has both a
// snapshot and an error.
type outcome struct {
	snapshot *job.SnapshotRecord
	result   []byte // a JSON object
	err      error
}

// attempt is one try at one job: a context of its own, a lease that is kept,
// and a report at the end.
type attempt struct {
	claim    job.Claim
	hub      *hubclient.Client
	log      *slog.Logger
	now      func() time.Time
	timing   timing
	progress progress
	// actsOutside: the job changes something other than this worker's own
	// storage, so it stops itself where the lease may be someone else's.
	actsOutside bool
	// lostToken is told when the hub no longer takes this worker's token.
	lostToken func(error)
	// heard is when the last call that was answered was sent, in nanoseconds since
	// began. It is kept for jobs that act outside.
	heard atomic.Int64
	// recorded is told of a snapshot that the catalog has.
	recorded func(uuid.UUID) error
	after    func() // called when all is over; may be nil
	folder   *jobFolder
	warnings connectors.Warnings // that the source's connector has

	life  context.Context         // of the process: calls outlast the job's own context
	until context.Context         // ends when the worker stops waiting for its jobs
	stop  context.CancelCauseFunc // ends the job
	began time.Time
}

// run does the job with do, and tells the hub how it ended. The job's own
// context ends with life and until, and earlier where the hub says so.
func (a *attempt) run(do func(context.Context, *attempt) outcome) {
	a.began = a.now()
	jobCtx, stop := context.WithCancelCause(a.life)
	defer stop(nil)
	a.stop = stop
	defer context.AfterFunc(a.until, func() { stop(errDrained) })()

	done := make(chan struct{})
	var renewing sync.WaitGroup
	renewing.Go(func() { a.keepLease(done) })
	a.log.Info("job started", "kind", a.claim.Kind)
	out := a.guarded(jobCtx, do)
	if a.until.Err() != nil {
		stop(errDrained) // the goroutine that does so may not have had its turn yet
	}
	a.report(context.Cause(jobCtx), out)
	if a.after != nil {
		a.after()
	}
	close(done)
	renewing.Wait()
}

// guarded turns a panic into a failure: one job must not take down the others.
func (a *attempt) guarded(ctx context.Context, do func(context.Context, *attempt) outcome) (out outcome) {
	defer func() {
		if p := recover(); p != nil {
			a.log.Error("a job's code broke", "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			out = outcome{err: fmt.Errorf("panic: %v", p)}
		}
	}()
	return do(ctx, a)
}

// notOurs is why an attempt may be someone else's, nil where it is still this
// worker's.
func notOurs(cause error) error {
	for _, why := range []error{errFenced, errSuperseded, errSilence} {
		if errors.Is(cause, why) {
			return cause
		}
	}
	return nil
}

// mayActOutside is asked right before something outside is changed. It does not
// rely on the goroutine that keeps the lease: after a process stood still, that one
// may not have had its turn yet.
func (a *attempt) mayActOutside(ctx context.Context) error {
	if err := notOurs(context.Cause(ctx)); err != nil {
		return err
	}
	if a.now().Sub(a.began)-time.Duration(a.heard.Load()) >= a.timing.fenceAfter {
		return errSilence
	}
	return nil
}

// report tells the hub how the attempt ended. cause is why its context ended,
// nil where it did not.
func (a *attempt) report(cause error, out outcome) {
	switch {
	case out.err == nil, out.snapshot != nil:
		// It is done; whatever came in between came too late.
	case notOurs(cause) != nil, errors.Is(out.err, errFenced), errors.Is(out.err, errSilence):
		a.log.Warn("job stopped; the hub goes on without this attempt", "reason", stopReason(cause, out.err))
		return
	case errors.Is(cause, errDrained):
		a.release()
		return
	case errors.Is(cause, errCanceled):
		a.log.Info("job canceled")
		a.complete(job.CompleteRequest{Attempt: a.claim.Attempt, Status: job.Canceled})
		return
	}
	a.complete(a.completion(out))
}

func stopReason(cause, err error) error {
	if cause != nil {
		return cause
	}
	return err
}

func (a *attempt) completion(out outcome) job.CompleteRequest {
	req := job.CompleteRequest{Attempt: a.claim.Attempt, Status: job.Completed, Snapshot: out.snapshot, Result: out.result}
	if out.snapshot != nil {
		req.Progress = a.progress.sum(a.now().Sub(a.began))
	}
	if out.err == nil {
		a.log.Info("job done", "took_ms", a.now().Sub(a.began).Milliseconds())
		return req
	}
	req.Status = job.Failed
	req.Error = wireError(out.err)
	a.log.Warn("job failed", "code", req.Error.Code, "message", req.Error.Message, "error", out.err, "took_ms", a.now().Sub(a.began).Milliseconds())
	return req
}

// wireError keeps from people what was not written for them.
func wireError(err error) *job.WireError {
	if e, ok := errors.AsType[*job.Error](err); ok {
		return &job.WireError{Code: e.Code, Message: e.Message}
	}
	return &job.WireError{Code: job.Internal, Message: "Something went wrong in the worker; its log tells more under this job's id."}
}

// complete tells until the hub answers: after hours of work a hub that is away
// is worth waiting for. A worker that stops gives up; the lease does the rest.
func (a *attempt) complete(req job.CompleteRequest) {
	a.progress.enter(phaseRecording)
	step := string(a.claim.Kind) + ".complete"
	err := failpoint.Hit(step)
	if err == nil {
		err = a.tell(req)
	}
	if err == nil && req.Snapshot != nil {
		a.noteRecorded(req.Snapshot.ID)
	}
	if hubclient.ReportRefused(err) {
		a.log.Error("the hub does not take this report; the job fails", "error", err)
		err = a.tell(job.CompleteRequest{Attempt: req.Attempt, Status: job.Failed, Error: &job.WireError{
			Code: job.Internal, Message: "The hub did not take the worker's report on this job, and nothing of it was kept; " +
				"both logs tell more under this job's id. If hub and worker are of different versions, update the older one.",
		}})
	}
	if err == nil {
		err = failpoint.Hit(step + ".after")
	}
	switch {
	case err == nil:
	case hubclient.LeaseLost(err):
		a.log.Warn("the hub took another attempt's word for this job", "error", err)
	default:
		a.log.Error("the hub does not know how this job ended; it will try it again", "error", err)
	}
}

func (a *attempt) noteRecorded(id uuid.UUID) {
	if err := a.recorded(id); err != nil {
		a.log.Warn("that the catalog has the snapshot could not be noted; the next comparison does", "error", err)
	}
}

func (a *attempt) tell(req job.CompleteRequest) error {
	return a.insist(a.until, func(ctx context.Context) error { return a.hub.Complete(ctx, a.claim.JobID, req) })
}

// release hands the job back, for a moment at most: the lease ends anyway.
func (a *attempt) release() {
	a.log.Info("job handed back: the worker is stopping")
	ctx, cancel := context.WithTimeout(a.life, a.timing.releaseFor)
	defer cancel()
	err := a.insist(ctx, func(ctx context.Context) error { return a.hub.Release(ctx, a.claim.JobID, a.claim.Attempt) })
	if err != nil {
		a.log.Warn("handing back was not heard; the lease will run out", "error", err)
	}
}

// insist repeats a call until the hub answers it, or until ends.
func (a *attempt) insist(until context.Context, call func(context.Context) error) error {
	pause := a.timing.retryMin
	for {
		err := call(a.life)
		if hubclient.Unauthorized(err) {
			a.lostToken(err)
			return err
		}
		if !hubclient.Transient(err) {
			return err
		}
		a.log.Warn("the hub did not take a call; it is tried again", "error", err)
		jitter := rand.N(pause/2 + 1)
		if !sleep(until, pause+jitter) || a.life.Err() != nil {
			return err
		}
		pause = min(2*pause, a.timing.retryMax)
	}
}

// sleep reports whether it slept to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
