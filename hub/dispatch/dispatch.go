// Package dispatch is the hub's half of the queue protocol: it hands queued
// jobs to Redis, finds those that Redis forgot, and ends the attempts of
// workers that fell silent. Every hub runs one Dispatcher; any number may run
// at once, and none leads.
//
// The catalog alone knows what a job is. Redis holds deliveries, each the id of
// a job and a sequence number, and may be emptied at any moment:
//
//	                 Dispatch: seq+1 committed, then enqueued
//	queued, undispatched ─────────────────────────────▶ queued, dispatched
//	   ▲   ▲                                                 │        │
//	   │   └── Undispatch: not in Redis (any more) ──────────┘        │ claim
//	   │                                                              ▼
//	   └───── released, failed for now, lease lost ─────── running, finalizing
//	          (due at run_after)                                      │
//	                                                                  ▼
//	                                                 completed, failed, canceled
//
// A delivery is used up by the claim that it leads to. An attempt that ends
// without ending its job leaves the row undispatched, and the dispatcher hands
// it out anew, with the next sequence, when it is due: asynq's own retry is
// needed only where a worker could not reach the hub to claim. A delivery that
// comes late, twice or after the job ended is refused by the claim and dropped,
// so that a duplicate costs one request and nothing else.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/store/catalog"
)

// Config is what a Dispatcher needs. DB, RedisURL and Log are required; zero
// durations take their defaults.
type Config struct {
	DB *catalog.DB
	// RedisURL is a redis://, rediss://, unix:// or redis-sentinel:// address;
	// it may hold a password and is never logged.
	RedisURL secret.Text
	Log      *slog.Logger
	// Tick backs up the signals that wake the dispatcher, and is when jobs come
	// back whose retry falls due. Default 1 s.
	Tick time.Duration
	// MarkerEvery is how often is looked whether Redis was emptied. Default 1 s.
	MarkerEvery time.Duration
	// ReconcileEvery is how often is looked for deliveries that are not in Redis.
	// Default 10 s.
	ReconcileEvery time.Duration
	// DeliveryGrace is the age under which a delivery may still be on its way
	// into Redis. Default 5 s.
	DeliveryGrace time.Duration
	// StaleAfter is how long a delivery may be in a worker's hands, or put off by
	// it, before the job is handed out again. Default 30 s.
	StaleAfter time.Duration
	// ReapEvery is how often is looked for expired leases. Default 5 s.
	ReapEvery time.Duration
	// PullBackEvery is how often is looked for what a clock that was ahead has left,
	// beside the times at which the clock is seen to go back. Default 1 min.
	PullBackEvery time.Duration
	// ReapGrace is how long nothing is reaped after the start, or after the
	// catalog was away: workers get the time to renew. Default: a lease.
	ReapGrace time.Duration
	// MaxBackoff bounds the wait after failures of Redis or Postgres. Default 5 s.
	MaxBackoff time.Duration
	// Now is the clock of this machine. Default time.Now.
	Now func() time.Time
}

func (c *Config) setDefaults() error {
	switch {
	case c.DB == nil:
		return errors.New("dispatch: no catalog")
	case c.Log == nil:
		return errors.New("dispatch: no logger")
	}
	for _, d := range []struct {
		field *time.Duration
		value time.Duration
	}{
		{&c.Tick, time.Second}, {&c.MarkerEvery, time.Second}, {&c.ReconcileEvery, 10 * time.Second},
		{&c.DeliveryGrace, 5 * time.Second}, {&c.StaleAfter, 30 * time.Second}, {&c.ReapEvery, 5 * time.Second},
		{&c.ReapGrace, job.Lease}, {&c.MaxBackoff, 5 * time.Second}, {&c.PullBackEvery, time.Minute},
	} {
		if *d.field < 0 {
			return errors.New("dispatch: a duration is negative")
		}
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

// callTimeout bounds one pass of any of the loops.
const callTimeout = 30 * time.Second

// Dispatcher runs the loops. It is made by New, run once and done.
type Dispatcher struct {
	cfg   Config
	redis redis.UniversalClient
	self  string        // names this process to other hubs
	wake  chan struct{} // at most one signal for the dispatch loop
	// handing is held while jobs are between the catalog and Redis, so that the
	// reconciler of this process does not take them for lost.
	handing sync.Mutex
	// turns remembers, for each queue, which tenant was served last.
	turns map[string]uuid.UUID
}

// New checks the configuration; it connects to nothing yet.
func New(cfg Config) (*Dispatcher, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	client, err := openRedis(cfg.RedisURL)
	if err != nil {
		return nil, err
	}
	return &Dispatcher{
		cfg: cfg, redis: client, self: uuid.NewString(),
		wake: make(chan struct{}, 1), turns: map[string]uuid.UUID{},
	}, nil
}

// Ping checks that Redis answers.
func (d *Dispatcher) Ping(ctx context.Context) error {
	if err := d.redis.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("reach redis: %w", err)
	}
	return nil
}

// Close frees the connections to Redis. Call it when Run has returned.
func (d *Dispatcher) Close() error {
	if err := d.redis.Close(); err != nil {
		return fmt.Errorf("close redis: %w", err)
	}
	return nil
}

// Run dispatches, reconciles and reaps until ctx ends, through any outage of
// Redis and Postgres; it returns nil when all loops have stopped.
func (d *Dispatcher) Run(ctx context.Context) error {
	var loops sync.WaitGroup
	loops.Go(func() { d.dispatchLoop(ctx) })
	loops.Go(func() { d.listenLoop(ctx) })
	loops.Go(func() { d.every(ctx, "watch redis", d.cfg.MarkerEvery, d.checkMarker) })
	loops.Go(func() { d.every(ctx, "reconcile", d.cfg.ReconcileEvery, d.reconcile) })
	loops.Go(func() { d.every(ctx, "reap", d.cfg.ReapEvery, (&reaper{cfg: d.cfg, wake: d.signal}).reap) })
	loops.Wait()
	return nil
}

// signal wakes the dispatch loop; it never blocks.
func (d *Dispatcher) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// every runs pass at once and then at the interval, or later after failures.
func (d *Dispatcher) every(ctx context.Context, name string, interval time.Duration, pass func(context.Context) error) {
	health := newHealth(d.cfg, name)
	for {
		wait := max(interval, health.after(ctx, bounded(ctx, pass)))
		if !sleep(ctx, wait) {
			return
		}
	}
}

// listenLoop turns other hubs' announcements into wake-ups.
func (d *Dispatcher) listenLoop(ctx context.Context) {
	health := newHealth(d.cfg, "listen for jobs")
	for {
		err := d.cfg.DB.ListenQueue(ctx, d.self, func() {
			health.ok()
			d.signal()
		})
		if !sleep(ctx, health.after(ctx, err)) {
			return
		}
	}
}

func bounded(ctx context.Context, pass func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return pass(ctx)
}

// sleep reports whether ctx is still alive after d.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
