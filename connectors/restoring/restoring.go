// Package restoring keeps what is on its way while files are restored to a server:
// tasks beside each other, as many as are allowed at once; what became of them; and the
// first reason for which all of it ends. Every connectors.Target that writes files has a
// Run.
package restoring

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/internal/failpoint"
	"xvault/internal/job"
)

// maxFailed is how many entries may fail before the rest is not tried any more.
const maxFailed = 10_000

// Run is one restore. Begin and those who begin tasks are one goroutine; everything
// else may be called by many.
type Run struct {
	opts   connectors.TargetOptions
	slots  *semaphore.Weighted // tasks
	onFail func(error)
	tasks  sync.WaitGroup

	mu      sync.Mutex      // also of ctx and stop until a task begins
	ctx     context.Context //nolint:containedctx // of the one restore that it lives for
	stop    context.CancelCauseFunc
	report  connectors.TargetReport
	failure error // the first that ends the restore
}

// New makes a run of at most so many tasks at once. onFail, where it is not nil, is told
// of what ends it, before everything is given up.
func New(opts connectors.TargetOptions, tasks int64, onFail func(error)) *Run {
	return &Run{opts: opts, slots: semaphore.NewWeighted(tasks), onFail: onFail}
}

// Begin is called before everything else but Report, Stop and Begun.
func (r *Run) Begin(ctx context.Context) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ctx, r.stop = context.WithCancelCause(ctx)
}

// Begun reports whether it was.
func (r *Run) Begun() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ctx != nil
}

// Context ends with the run.
func (r *Run) Context() context.Context { return r.ctx }

// Stop ends the run, for no reason that anybody is told.
func (r *Run) Stop() {
	r.mu.Lock()
	stop := r.stop
	r.mu.Unlock()
	if stop != nil {
		stop(nil)
	}
}

// Task does something beside what else is on its way, as soon as there is room.
func (r *Run) Task(path string, do func() error) error {
	free, err := r.Hold()
	if err != nil {
		return err
	}
	r.Go(path, func() error {
		defer free()
		return do()
	})
	return nil
}

// Hold takes the room of a task, which free gives back.
func (r *Run) Hold() (free func(), err error) {
	if r.slots.Acquire(r.ctx, 1) != nil {
		return nil, r.Going()
	}
	return func() { r.slots.Release(1) }, nil
}

// Go does something that has its room already.
func (r *Run) Go(path string, do func() error) {
	r.tasks.Go(func() { r.Settle(path, do()) })
}

// Last brings in order what was made, also when the run is over: then without waiting
// for room.
func (r *Run) Last(path string, do func() error) {
	if !r.slots.TryAcquire(1) && r.slots.Acquire(r.ctx, 1) != nil {
		r.Go(path, do)
		return
	}
	r.Go(path, func() error {
		defer r.slots.Release(1)
		return do()
	})
}

// Wait waits for all tasks, ends the run, and tells why it ended before: for the cause
// of the context, or for that of the first failure.
func (r *Run) Wait(ctx context.Context) error {
	r.tasks.Wait()
	defer r.stop(nil)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return r.Going()
}

// Settle takes how a task ended into account.
func (r *Run) Settle(path string, err error) {
	if err == nil || r.ctx.Err() != nil {
		return // of what was given up nothing is told
	}
	one, ok := errors.AsType[EntryError](err)
	if !ok {
		r.Fail(err)
		return
	}
	problem := connectors.TargetProblem{Path: path, Err: one.Why}
	if one.Link { // as many as there are: that says nothing about the rest
		r.Count(func(report *connectors.TargetReport) {
			report.Failed++
			if report.LinksLost++; len(report.Problems) < connectors.MaxTargetProblems {
				report.Problems = append(report.Problems, problem)
			}
		})
		return
	}
	var failed int64
	r.Count(func(report *connectors.TargetReport) {
		report.Failed++
		failed = report.Failed - report.LinksLost
		if failed <= connectors.MaxTargetProblems { // before the links
			report.Problems = slices.Insert(report.Problems, int(failed-1), problem)
			report.Problems = report.Problems[:min(len(report.Problems), connectors.MaxTargetProblems)]
		}
	})
	if failed == maxFailed {
		r.Fail(job.Errorf(one.Why.Code, "%d entries could not be written, and the rest was not tried; the last: %s", failed, one.Why.Message))
	}
}

// Count changes the report.
func (r *Run) Count(change func(*connectors.TargetReport)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change(&r.report)
}

// Report is what came of it so far.
func (r *Run) Report() connectors.TargetReport {
	r.mu.Lock()
	defer r.mu.Unlock()
	report := r.report
	report.Problems = append([]connectors.TargetProblem{}, report.Problems...)
	return report
}

// Fail ends the run; the first reason counts.
func (r *Run) Fail(err error) {
	r.mu.Lock()
	if r.failure == nil {
		r.failure = err
	}
	r.mu.Unlock()
	if r.onFail != nil {
		r.onFail(err)
	}
	r.stop(err)
}

// Going is why nothing more is to be done, nil while there is.
func (r *Run) Going() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure != nil {
		return r.failure
	}
	if r.ctx.Err() != nil {
		return context.Cause(r.ctx)
	}
	return nil
}

// Allowed is asked before every step that changes something.
func (r *Run) Allowed() error {
	if err := r.Going(); err != nil {
		return err
	}
	if err := r.MayTidy(); err != nil {
		r.Fail(err)
		return err
	}
	return nil
}

// MayTidy is asked before what was begun is brought in order, which may be when the run
// is over already.
func (r *Run) MayTidy() error {
	if r.opts.Allowed == nil {
		return nil
	}
	return r.opts.Allowed()
}

// Step is what every change begins with.
func (r *Run) Step(name string) error {
	if err := failpoint.Hit(name); err != nil {
		return err
	}
	return r.Allowed()
}
