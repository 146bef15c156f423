package dispatch

import (
	"bytes"
	"context"
	"time"

	"github.com/google/uuid"

	"xvault/store/catalog"
)

const (
	// tenantWindow is how many waiting tenants one look at a queue takes in.
	tenantWindow = 256
	// maxLooks bounds one round; the next goes on from there.
	maxLooks = 64
	// settle is the least pause between two rounds: under load it makes each take
	// several jobs, and a single job never waits for it.
	settle = 5 * time.Millisecond
	// maxSettle bounds the pause behind a round that took long: twice as long,
	// so that dispatching never is most of what the catalog does. There stand as
	// many deliveries in Redis as are at work, so that no slot idles meanwhile.
	maxSettle = 50 * time.Millisecond
)

// pause is how long to rest after a round.
func pause(round time.Duration) time.Duration { return min(max(settle, 2*round), maxSettle) }

// dispatchLoop runs a round at every signal and at every tick.
func (d *Dispatcher) dispatchLoop(ctx context.Context) {
	health := newHealth(d.cfg, "dispatch")
	tick := time.NewTicker(d.cfg.Tick)
	defer tick.Stop()
	for {
		began := time.Now() //nolint:forbidigo // measures how long a round takes, which a set clock would not
		err := bounded(ctx, d.round)
		if err != nil && ctx.Err() == nil {
			d.passOn(ctx)
		}
		if !sleep(ctx, max(pause(time.Since(began)), health.after(ctx, err))) {
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

// fill hands out jobs of one queue until its room is used up or nothing is due.
// It goes round the tenants that wait: each look begins behind the tenant that
// was served last.
func (d *Dispatcher) fill(ctx context.Context, queue catalog.Queue) error {
	for range maxLooks {
		tenants, all, err := d.look(ctx, queue.Name)
		if err != nil || len(tenants) == 0 {
			return err
		}
		part := queue
		if !all { // leave room to those that were not looked at
			part.Room = min(part.Room, len(tenants))
		}
		taken, err := d.handOut(ctx, part, tenants)
		if err != nil {
			return err
		}
		queue.Room -= len(taken)
		if queue.Room <= 0 || all && len(taken) == 0 {
			return nil
		}
	}
	return nil
}

// look lists waiting tenants from behind the one served last, round to it again,
// and whether these are all that wait.
func (d *Dispatcher) look(ctx context.Context, queue string) (tenants []uuid.UUID, all bool, err error) {
	after := d.turns[queue]
	tenants, err = d.cfg.DB.TenantsInTurn(ctx, queue, after, tenantWindow)
	if err != nil || len(tenants) == tenantWindow || after == uuid.Nil {
		return tenants, len(tenants) < tenantWindow, err
	}
	// The start again; behind after it would repeat what is there already.
	first, err := d.cfg.DB.TenantsInTurn(ctx, queue, uuid.Nil, tenantWindow-len(tenants))
	if err != nil {
		return nil, false, err
	}
	all = len(first) < tenantWindow-len(tenants)
	for _, tenant := range first {
		if bytes.Compare(tenant[:], after[:]) > 0 {
			return tenants, true, nil
		}
		tenants = append(tenants, tenant)
	}
	return tenants, all, nil
}

// handOut moves jobs of these tenants from the catalog into Redis, and the
// queue's turn along.
func (d *Dispatcher) handOut(ctx context.Context, queue catalog.Queue, tenants []uuid.UUID) ([]catalog.Handout, error) {
	d.handing.Lock()
	defer d.handing.Unlock()
	taken, err := d.cfg.DB.Dispatch(ctx, queue, tenants)
	if err != nil {
		return nil, err
	}
	last := tenants[len(tenants)-1]
	if len(taken) > 0 {
		last = taken[len(taken)-1].TenantID
	}
	d.turns[queue.Name] = last
	return taken, d.enqueue(ctx, queue.Name, taken)
}
