package worker

import (
	"context"
	"time"

	"xvault/internal/job"
	"xvault/worker/hubclient"
)

// How a worker shows itself in heartbeats.
const (
	showOnline   = "online"
	showDraining = "draining"
)

const (
	// beatAgain is how soon a heartbeat follows one that was not answered.
	beatAgain = time.Second
	// beatFor bounds one call. A worker that stops waits for it, so that its
	// last word is heard.
	beatFor = 5 * time.Second
)

// keepBeating says that the worker lives until its life ends, and opens and
// closes the intake by what it finds: jobs are taken while the storage is
// there, the hub answers and does not ask to drain, and the worker is not
// stopping. ctx ends when it is to stop.
func (w *Worker) keepBeating(ctx context.Context, in *intake, every time.Duration) {
	silent := false
	stopping := ctx.Done()
	for {
		state := w.storage.check(w.life)
		if state != job.StorageOK && ctx.Err() == nil {
			w.take(in, false) // before the hub is told
		}
		drain, err := w.beat(ctx, state)
		switch {
		case hubclient.Unauthorized(err):
			w.lostToken(err)
			return
		case w.life.Err() != nil:
			return
		case err != nil && !silent:
			w.log.Warn("the hub did not take a heartbeat; no job is taken until it does, running ones go on", "error", err)
		case err == nil && silent:
			w.log.Info("the hub answers again")
		}
		silent = err != nil
		if ctx.Err() == nil {
			w.take(in, err == nil && !drain && state == job.StorageOK)
		}
		pause := every
		if silent {
			pause = min(every, beatAgain)
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-stopping:
			stopping = nil // say at once that it drains, then go on as before
		case <-w.life.Done():
			timer.Stop()
			return
		}
		timer.Stop()
	}
}

func (w *Worker) beat(ctx context.Context, state string) (drain bool, err error) {
	status := showOnline
	if ctx.Err() != nil {
		status = showDraining
	}
	hb := job.Heartbeat{
		Status: status, Slots: w.cfg.Concurrency, SlotsBusy: w.lines[0].slots.busy(),
		StorageState: state, StorageID: w.storage.id(),
	}
	hb.DiskFreeBytes, hb.DiskTotalBytes = w.storage.usage()
	callCtx, cancel := context.WithTimeout(context.WithoutCancel(w.life), beatFor)
	defer cancel()
	res, err := w.hub.Heartbeat(callCtx, hb)
	if err != nil {
		return false, err
	}
	if err := w.state.alive(w.cfg.Now()); err != nil {
		w.log.Warn("the sign of life could not be written", "error", err)
	}
	if res.StorageForeign != w.foreign {
		w.foreign = res.StorageForeign
		w.log.Warn("whether the hub knows this storage has changed; no job is taken on one that it does not know: "+
			"this worker's snapshots are on another. Mount that one, or give this one a worker of its own", "foreign", w.foreign)
	}
	w.listings.ask(res.List)
	return res.Drain || res.StorageForeign, nil
}
