package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
)

// hooks are the commands that a source's owner has run around a backup. Whoever
// began the one before owes the one after, whatever happens in between: failures, a
// cancel, a worker that stops. Where the worker itself died, the next attempt pays
// that debt first. An attempt that may be someone else's runs nothing.
type hooks struct {
	connectors.Hooks
	a     *attempt
	run   func(ctx context.Context, command string) (string, error)
	owed  bool
	found []hookReport
}

// hookReport is what a job's result says of one command.
type hookReport struct {
	Hook   string `json:"hook"` // "before" or "after"
	TookMS int64  `json:"took_ms"`
	Output string `json:"output,omitempty"` // the end of it
	Error  string `json:"error,omitempty"`
	// Earlier: it was run for what an earlier attempt may have begun.
	Earlier bool `json:"for_earlier_attempt,omitempty"`
}

// hooksOf gives the hooks of the claimed job's source; nil where it has none.
func (w *Worker) hooksOf(a *attempt) (*hooks, error) {
	var config struct {
		Hooks *connectors.Hooks `json:"hooks"`
	}
	if a.claim.Source == nil {
		return nil, nil
	}
	if err := json.Unmarshal(a.claim.Source.Config, &config); err != nil {
		return nil, job.Errorf(job.ConfigInvalid, "the source's configuration is not valid: %w", err)
	}
	if config.Hooks == nil {
		return nil, nil
	}
	kind, env, err := w.reach(a)
	if err != nil {
		return nil, err
	}
	if kind.Run == nil {
		return nil, job.Errorf(job.ConfigInvalid, "This worker runs no hooks on sources of type %q; update it, or remove them from the source's configuration.", kind.Name)
	}
	return &hooks{
		Hooks: *config.Hooks, a: a,
		run: func(ctx context.Context, command string) (string, error) {
			return kind.Run(ctx, a.claim.Source.Config, env, command)
		},
	}, nil
}

// before runs the command before the backup, after what an earlier attempt may owe.
func (h *hooks) before(ctx context.Context) error {
	if h == nil {
		return nil
	}
	if h.a.claim.Attempt > 1 && h.After != "" {
		if err := h.a.mayActOutside(ctx); err != nil {
			return err
		}
		// It may have been paid, or have nothing to end: what fails here is told, and
		// where it stands in the way the one before finds that out.
		if err := h.command(ctx, "after", h.After); err != nil {
			h.a.log.Warn("the command after the backup, run for an earlier attempt, failed", "error", err)
		}
		for i := range h.found {
			h.found[i].Earlier = true
		}
	}
	h.owed = true
	if h.Before == "" {
		return nil
	}
	return h.command(ctx, "before", h.Before)
}

// after pays what is owed. The job's context may have ended; whether the attempt is
// still this worker's decides.
func (h *hooks) after(ctx context.Context) {
	if h == nil || !h.owed || h.After == "" {
		return
	}
	h.owed = false
	err := h.awaitWord(ctx)
	if err == nil {
		err = h.command(ctx, "after", h.After)
	}
	if err != nil {
		h.a.log.Error("the command after the backup failed; what it should have ended may go on", "error", err)
	}
}

// awaitWord waits while the hub is silent: what it says then decides whose the
// attempt is. Until then the backup goes on as well.
func (h *hooks) awaitWord(ctx context.Context) error {
	for {
		err := h.a.mayActOutside(ctx)
		if err == nil || !errors.Is(err, errSilence) {
			return err
		}
		if !sleep(h.a.life, wordEvery) {
			return context.Cause(h.a.life)
		}
	}
}

// command runs one command within its time. It ends early where the attempt is not
// this worker's any more; a cancel or a worker that stops ends only the one before.
func (h *hooks) command(of context.Context, name, command string) error {
	if err := h.a.mayActOutside(of); err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(h.a.life)
	defer stop(nil)
	defer context.AfterFunc(of, func() {
		if why := context.Cause(of); name == "before" || notOurs(why) != nil {
			stop(why)
		}
	})()
	ctx, cancel := context.WithTimeoutCause(ctx, h.Timeout(),
		job.Errorf(job.Timeout, "it was ended after %v", h.Timeout()))
	defer cancel()
	began := h.a.now()
	output, err := h.run(ctx, command)
	report := hookReport{Hook: name, TookMS: h.a.now().Sub(began).Milliseconds(), Output: output}
	if err != nil {
		err = hookError(name, err)
		report.Error, report.Output = err.Error(), "" // the error quotes it
	}
	h.found = append(h.found, report)
	h.a.log.Info("ran a hook", "hook", name, "took_ms", report.TookMS, "error", err)
	return err
}

// hookError says which command it was.
func hookError(name string, err error) error {
	e, ok := errors.AsType[*job.Error](err)
	if !ok {
		return err
	}
	return &job.Error{Code: e.Code, Err: err, Message: fmt.Sprintf("the command %s the backup: %s", name, e.Message)}
}

// report adds what the hooks did to a job's result.
func (h *hooks) report(result []byte) []byte {
	if h == nil || len(h.found) == 0 {
		return result
	}
	return withField(result, "hooks", h.found)
}

// wordEvery is how often a command that is due looks whether the hub has answered.
const wordEvery = time.Second
