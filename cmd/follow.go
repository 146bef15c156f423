package cmd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"xvault/internal/apiclient"
	"xvault/internal/job"
)

const (
	pollFast = 200 * time.Millisecond // in the first seconds
	pollSlow = time.Second
	// lostPatience bounds how long a hub that went away is waited for.
	lostPatience = 5 * time.Minute
)

// jobFailedError says that the job that was waited for did not complete.
type jobFailedError struct{ job apiclient.Job }

func (e *jobFailedError) Error() string {
	j := e.job
	if j.Status == job.Canceled {
		return fmt.Sprintf("job %s was canceled", j.ID)
	}
	if j.Error == nil {
		return fmt.Sprintf("job %s failed", j.ID)
	}
	text := fmt.Sprintf("job %s failed: %s: %s", j.ID, j.Error.Code, printable(j.Error.Message))
	if hint := jobHint(j.Type, j.Error.Code); hint != "" {
		text += "\n  " + hint
	}
	return text
}

// follow prints a job that was just made, or waits for its end. What the job
// made is shown whether it completed or not: a partial snapshot is worth
// knowing of.
func (s *session) follow(ctx context.Context, item apiclient.Item[apiclient.Job], wait bool, show func(context.Context, *session, apiclient.Job) error) error {
	if !wait {
		return printItem(s.out, jobView, item)
	}
	ended, err := s.wait(ctx, item)
	if err != nil {
		return err
	}
	j := ended.Value
	if s.out.json {
		err = s.out.object(ended)
	} else {
		err = show(ctx, s, j)
	}
	if j.Status != job.Completed {
		return errors.Join(&jobFailedError{j}, err)
	}
	return err
}

// wait polls until the job has ended, showing how it goes.
func (s *session) wait(ctx context.Context, item apiclient.Item[apiclient.Job]) (apiclient.Item[apiclient.Job], error) {
	show := newProgress(s.err.w)
	defer show.done()
	begin, lastSeen := time.Now(), time.Now()
	for {
		show.update(item.Value)
		if item.Value.Status.Terminal() {
			return item, nil
		}
		pause := pollSlow
		if time.Since(begin) < 5*time.Second {
			pause = pollFast
		}
		select {
		case <-ctx.Done():
			show.done()
			s.err.printf("Stopped waiting; the job goes on. To stop it: xvault job cancel %s\n", item.Value.ID)
			return item, errInterrupted
		case <-time.After(pause):
		}
		next, err := s.Jobs().Get(ctx, item.Value.ID)
		switch {
		case err == nil:
			item, lastSeen = next, time.Now()
		case ctx.Err() != nil: // the next round says so
		case !passing(err) || time.Since(lastSeen) > lostPatience:
			return item, fmt.Errorf("wait for job %s: %w", item.Value.ID, err)
		default:
			show.note("the hub does not answer; trying again")
		}
	}
}

// passing tells errors that may go away by themselves: the hub restarts.
func passing(err error) bool {
	if _, ok := errors.AsType[*apiclient.UnreachableError](err); ok {
		return true
	}
	p, ok := errors.AsType[*apiclient.Problem](err)
	return ok && (p.Status >= 500 || p.Status == 429)
}
