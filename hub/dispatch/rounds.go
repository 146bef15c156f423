package dispatch

import (
	"context"
	"time"

	"github.com/google/uuid"

	"xvault/store/catalog"
)

const (
	// tenantWindow is how many waiting tenants one look at a queue takes in.
	tenantWindow = 256
	// maxWindows bounds the looks of one round; the next goes on from there.
	maxWindows = 64
	// settle is the pause between two rounds: under load it makes each take
	// several jobs, and a single job never waits for it.
	settle = 5 * time.Millisecond
)

// dispatchLoop runs a round at every signal and at every tick.
func (d *Dispatcher) dispatchLoop(ctx context.Context) {
	health := newHealth(d.cfg, "dispatch")
	tick := time.NewTicker(d.cfg.Tick)
	defer tick.Stop()
	for {
		err := bounded(ctx, d.round)
		if err != nil && ctx.Err() == nil {
			d.passOn(ctx)
		}
		if !sleep(ctx, max(settle, health.after(ctx, err))) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-d.cfg.DB.QueueChanged():
		case <-tick.C:
		}
	}
}

// passOn wakes the other hubs where this one cannot dispatch. They also look by
// themselves, so that nothing depends on it.
func (d *Dispatcher) passOn(ctx context.Context) {
	err := bounded(ctx, func(ctx context.Context) error { return d.cfg.DB.AnnounceQueue(ctx, d.self) })
	if err != nil {
		d.cfg.Log.Debug("cannot tell other hubs of waiting jobs", "error", err)
	}
}

// round fills every queue that has room. It does not touch the catalog unless
// Redis answers, so that an outage costs one ping a try.
func (d *Dispatcher) round(ctx context.Context) error {
	queues, err := d.cfg.DB.DispatchQueues(ctx)
	if err != nil || len(queues) == 0 {
		return err
	}
	if err := d.Ping(ctx); err != nil {
		return err
	}
	for _, queue := range queues {
		if err := d.fill(ctx, queue); err != nil {
			return err
		}
	}
	return nil
}

// fill hands out jobs of one queue until its room is used up or nothing is due,
// looking at its tenants a window at a time, in turn.
func (d *Dispatcher) fill(ctx context.Context, queue catalog.Queue) error {
	for range maxWindows {
		after := d.turns[queue.Name]
		tenants, err := d.cfg.DB.TenantsInTurn(ctx, queue.Name, after, tenantWindow)
		if err != nil {
			return err
		}
		deliveries, err := d.cfg.DB.Dispatch(ctx, queue, tenants)
		if err != nil {
			return err
		}
		if err := d.enqueue(ctx, queue.Name, deliveries); err != nil {
			return err
		}
		queue.Room -= len(deliveries)
		more := d.advance(queue.Name, tenants)
		if queue.Room <= 0 || !more && after == uuid.Nil && len(deliveries) == 0 {
			return nil
		}
	}
	return nil
}

// advance moves the queue's turn behind the tenants just seen. It reports
// whether there may be more of them behind.
func (d *Dispatcher) advance(queue string, seen []uuid.UUID) bool {
	if len(seen) < tenantWindow {
		delete(d.turns, queue)
		return false
	}
	d.turns[queue] = seen[len(seen)-1]
	return true
}
