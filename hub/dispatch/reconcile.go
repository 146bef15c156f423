package dispatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"xvault/internal/job"
	"xvault/store/catalog"
)

// reconcileLimit bounds one pass. What stands in Redis is about twice the slots
// of all workers, far below it.
const reconcileLimit = 10_000

// checkMarker notices a Redis that was emptied by the absence of a key, and
// reconciles at once, however young the deliveries.
func (d *Dispatcher) checkMarker(ctx context.Context) error {
	err := d.redis.Get(ctx, job.QueueMarker).Err()
	if err == nil {
		return nil
	}
	if !errors.Is(err, redis.Nil) {
		return fmt.Errorf("look for redis marker: %w", err)
	}
	// The marker is set last: a hub that stops half-way leaves the rest to the
	// next look.
	n, err := d.redispatch(ctx, 0)
	if err != nil {
		return err
	}
	if err := d.redis.SetNX(ctx, job.QueueMarker, uuid.NewString(), 0).Err(); err != nil {
		return fmt.Errorf("set redis marker: %w", err)
	}
	if n > 0 {
		d.cfg.Log.Warn("redis was emptied; jobs are dispatched again", "jobs", n)
	}
	return nil
}

// reconcile finds jobs that were handed to Redis and are not there to be
// delivered.
func (d *Dispatcher) reconcile(ctx context.Context) error {
	n, err := d.redispatch(ctx, d.cfg.DeliveryGrace)
	if n > 0 {
		d.cfg.Log.Info("deliveries were not in redis; jobs are dispatched again", "jobs", n)
	}
	return err
}

// redispatch takes back the deliveries of at least minAge that are lost.
func (d *Dispatcher) redispatch(ctx context.Context, minAge time.Duration) (int, error) {
	missing, err := d.missing(ctx, minAge)
	if err != nil {
		return 0, err
	}
	n, err := d.cfg.DB.Undispatch(ctx, missing)
	if n > 0 {
		d.signal()
	}
	return n, err
}

func (d *Dispatcher) missing(ctx context.Context, minAge time.Duration) ([]job.Delivery, error) {
	d.handing.Lock()
	defer d.handing.Unlock()
	dispatched, err := d.cfg.DB.Dispatched(ctx, minAge, reconcileLimit)
	if err != nil {
		return nil, err
	}
	inspector := asynq.NewInspectorFromRedisClient(d.redis)
	var missing []job.Delivery
	for _, delivery := range dispatched {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lost, err := d.lost(inspector, delivery)
		if err != nil {
			return nil, err
		}
		if lost {
			missing = append(missing, delivery.Delivery)
		}
	}
	return missing, nil
}

// lost reports whether nothing in Redis will bring the job to a worker soon: its
// delivery is not there, is kept for show only, or is with a worker that has had
// ample time to claim it. A second delivery does no harm if the first comes
// through after all.
func (d *Dispatcher) lost(inspector *asynq.Inspector, delivery catalog.Dispatched) (bool, error) {
	info, err := inspector.GetTaskInfo(delivery.Queue, delivery.TaskID())
	switch {
	case errors.Is(err, asynq.ErrTaskNotFound), errors.Is(err, asynq.ErrQueueNotFound):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("look for delivery in redis: %w", err)
	}
	switch info.State {
	case asynq.TaskStateArchived, asynq.TaskStateCompleted:
		return true, nil
	case asynq.TaskStateActive:
		return delivery.Age > d.cfg.StaleAfter, nil
	case asynq.TaskStateRetry, asynq.TaskStateScheduled:
		return info.NextProcessAt.Sub(d.cfg.Now()) > d.cfg.StaleAfter, nil
	default:
		return false, nil
	}
}
