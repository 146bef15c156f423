package ftp

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"

	"xvault/connectors"
	"xvault/internal/failpoint"
	"xvault/internal/job"
)

// entryError is the failure of one entry, while others can be written.
type entryError struct{ why *job.Error }

func (e entryError) Error() string { return e.why.Error() }

func (e entryError) Unwrap() error { return e.why }

func refusef(code job.Code, format string, args ...any) error {
	return entryError{job.Errorf(code, format, args...)}
}

// onlyFatal passes over the failure of one entry.
func onlyFatal(err error) error {
	if _, ok := errors.AsType[entryError](err); ok {
		return nil
	}
	return err
}

// task does something beside what else is on its way, as soon as there is room.
func (t *target) task(path string, do func() error) error {
	if err := t.slots.Acquire(t.ctx, 1); err != nil {
		return t.going()
	}
	t.running.Go(func() {
		defer t.slots.Release(1)
		t.settle(path, do())
	})
	return nil
}

// with runs a step on a connection, and once more where one breaks. Everything that
// it changes may be done twice.
func (t *target) with(step func(*session) error) error {
	if t.lost.Load() {
		return t.going()
	}
	return t.pool.with(t.life, step)
}

// settle takes how a task ended into account.
func (t *target) settle(path string, err error) {
	if err == nil || t.ctx.Err() != nil {
		return // of what was given up nothing is told
	}
	one, ok := errors.AsType[entryError](err)
	if !ok {
		t.fail(err)
		return
	}
	var failed int64
	t.count(func(r *connectors.TargetReport) {
		r.Failed++
		failed = r.Failed
		if len(r.Problems) < connectors.MaxTargetProblems {
			r.Problems = append(r.Problems, connectors.TargetProblem{Path: path, Err: one.why})
		}
	})
	if failed == maxFailed {
		t.fail(job.Errorf(one.why.Code, "%d entries could not be written, and the rest was not tried; the last: %s", failed, one.why.Message))
	}
}

func (t *target) count(change func(*connectors.TargetReport)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.report)
}

// fail ends the restore; the first reason counts.
func (t *target) fail(err error) {
	t.mu.Lock()
	if t.failure == nil {
		t.failure = err
	}
	t.mu.Unlock()
	if code := job.CodeOf(err); code == job.ConnectFailed || code == job.Timeout {
		t.lost.Store(true)
	}
	t.stop(err)
}

// going is why nothing more is to be done, nil while there is.
func (t *target) going() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure != nil {
		return t.failure
	}
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	return nil
}

// allowed is asked before every step that changes something.
func (t *target) allowed() error {
	if err := t.going(); err != nil {
		return err
	}
	if err := t.mayTidy(); err != nil {
		t.fail(err)
		return err
	}
	return nil
}

// mayTidy is asked before what was begun is brought in order, which may be when
// the restore is over already.
func (t *target) mayTidy() error {
	if t.opts.Allowed == nil {
		return nil
	}
	return t.opts.Allowed()
}

// step is what every change begins with.
func (t *target) step(name string) error {
	if err := failpoint.Hit(name); err != nil {
		return err
	}
	return t.allowed()
}

func hashOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}
