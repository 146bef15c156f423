package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/worker/hubclient"
)

// register begins a new incarnation, for as long as it takes to reach the hub,
// and returns how often to send heartbeats. What the hub refuses is final.
func (w *Worker) register(ctx context.Context) (time.Duration, error) {
	req, err := w.registration()
	if err != nil {
		return 0, err
	}
	pause := w.timing.retryMin
	for {
		res, err := w.tryRegister(ctx, req)
		if err == nil {
			return w.registered(res)
		}
		if !hubclient.Transient(err) {
			return 0, fmt.Errorf("register worker %q: %w", w.id, err)
		}
		w.log.Warn("the hub does not answer yet; the worker waits for it", "hub", w.cfg.HubURL, "again_in_ms", pause.Milliseconds(), "error", err)
		if !sleep(ctx, pause) {
			return 0, context.Cause(ctx)
		}
		pause = min(2*pause, w.timing.retryMax)
	}
}

func (w *Worker) registration() (job.RegisterRequest, error) {
	id, err := w.state.registration()
	if err != nil {
		return job.RegisterRequest{}, err
	}
	return job.RegisterRequest{
		WorkerID: w.id, Name: w.cfg.Name, Version: w.cfg.Version,
		Capabilities: job.Capabilities{
			SourceTypes: w.cfg.SourceTypes.Names(),
			JobTypes:    slices.Sorted(maps.Keys(w.kinds)),
			Storage:     []string{backendLocal},
		},
		AgeRecipient: w.recipient, StorageBasePath: w.cfg.StorageBase, StorageID: w.storage.id(),
		PublicURL: w.downloads.publicURL(), Slots: w.cfg.Concurrency, RegistrationID: id,
	}, nil
}

// tryRegister uses the worker's own token where it has one. Where that is
// nobody's any more, because the worker was removed or the catalog is a new
// one, the join token makes it a new worker. One that was superseded is told
// so and never gets here again.
func (w *Worker) tryRegister(ctx context.Context, req job.RegisterRequest) (job.RegisterResponse, error) {
	token, err := w.state.token()
	if err != nil {
		return job.RegisterResponse{}, err
	}
	if token.IsZero() {
		return w.join(ctx, req)
	}
	res, err := w.hub.Register(ctx, token, req)
	if hubclient.Unauthorized(err) && !hubclient.Superseded(err) && !w.cfg.JoinToken.IsZero() {
		w.log.Warn("the hub does not know this worker's token; joining as a new worker")
		return w.join(ctx, req)
	}
	if hubclient.Unauthorized(err) && !hubclient.Superseded(err) {
		err = fmt.Errorf("%w: this worker was removed there, or the hub has another catalog; set WORKER_JOIN_TOKEN to the hub's HUB_WORKER_JOIN_TOKEN to join", err)
	}
	return res, err
}

func (w *Worker) join(ctx context.Context, req job.RegisterRequest) (job.RegisterResponse, error) {
	if w.cfg.JoinToken.IsZero() {
		return job.RegisterResponse{}, errors.New("this worker is not registered yet: set WORKER_JOIN_TOKEN to the hub's HUB_WORKER_JOIN_TOKEN")
	}
	joined := w.cfg.Now()
	res, err := w.hub.Register(ctx, w.cfg.JoinToken, req)
	if err != nil {
		return res, err
	}
	return res, w.state.keepJoined(joined)
}

// registered keeps the token before it is used: a crash in between must not
// lock the worker out.
func (w *Worker) registered(res job.RegisterResponse) (time.Duration, error) {
	token := secret.New(res.Token)
	if token.IsZero() {
		return 0, errors.New("register: the hub gave no token")
	}
	// The hub's word counts more than this machine's clock.
	if !res.KnownSince.IsZero() {
		if err := w.state.keepJoined(res.KnownSince); err != nil {
			return 0, err
		}
	}
	if err := w.state.registered(token); err != nil {
		return 0, err
	}
	w.hub.SetToken(token)
	w.downloads.keys.Store(&res.TicketKeys)
	w.log.Info("registered", "incarnation", res.Incarnation, "hub", w.cfg.HubURL)
	beat := time.Duration(res.HeartbeatEveryMS) * time.Millisecond
	if beat <= 0 {
		beat = job.HeartbeatEvery
	}
	return min(max(beat, 100*time.Millisecond), job.OfflineAfter/3), nil
}
