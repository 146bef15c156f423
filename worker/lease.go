package worker

import (
	"context"
	"time"

	"xvault/internal/job"
	"xvault/worker/hubclient"
)

// keepLease renews until done. The hub's silence does not end the job, for its
// work may still be good: a lease that ran out is renewed as long as nobody
// else got the job. Only what acts on the world outside stops itself.
func (a *attempt) keepLease(done <-chan struct{}) {
	heard := a.now() // of the last call that was answered, when it was sent
	pause := a.timing.renewFirst
	for a.wait(done, a.untilNext(pause, heard)) {
		if a.fencedOff(heard) {
			a.stop(errSilence)
			return
		}
		sent := a.now()
		res, err := a.renew(heard)
		switch {
		case err == nil:
			heard = sent
			a.heard.Store(int64(sent.Sub(a.began)))
			pause = min(2*pause, a.timing.renewEvery)
			if res.CancelRequested {
				a.stop(errCanceled)
			}
		case hubclient.LeaseLost(err):
			a.log.Warn("the lease is lost", "error", err)
			a.stop(errFenced)
			return
		case hubclient.Unauthorized(err):
			a.stop(errSuperseded)
			a.lostToken(err)
			return
		default:
			a.log.Warn("the lease was not renewed; the job goes on", "error", err)
			pause = min(pause, a.timing.retryRenew)
		}
	}
}

// renew makes one call. It must not outlast the moment of fencing off.
func (a *attempt) renew(heard time.Time) (job.RenewResponse, error) {
	ctx, cancel := context.WithTimeout(a.life, a.untilNext(a.timing.renewFor, heard))
	defer cancel()
	return a.hub.Renew(ctx, a.claim.JobID, job.RenewRequest{
		Attempt: a.claim.Attempt, Progress: a.progress.look(a.now()),
	})
}

// untilNext is how long to wait for the next renewal, or to the moment at which
// the job has to fence itself off.
func (a *attempt) untilNext(pause time.Duration, heard time.Time) time.Duration {
	if !a.actsOutside {
		return pause
	}
	return max(0, min(pause, a.timing.fenceAfter-a.now().Sub(heard)))
}

func (a *attempt) fencedOff(heard time.Time) bool {
	return a.actsOutside && a.now().Sub(heard) >= a.timing.fenceAfter
}

// wait reports false when the job is done or the process ends.
func (a *attempt) wait(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	case <-a.life.Done():
		return false
	}
}
