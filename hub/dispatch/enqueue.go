package dispatch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/hibiken/asynq"

	"xvault/internal/job"
	"xvault/store/catalog"
)

const (
	// taskTimeout is beyond any job. Left out it would be 30 minutes.
	taskTimeout = 30 * 24 * time.Hour
	// maxRetry: asynq's counters decide nothing, so they never run out.
	maxRetry = math.MaxInt32
	// takeBackTimeout bounds the repair after a failure, shutdown included.
	takeBackTimeout = 5 * time.Second
)

// enqueue puts jobs, whose sequences are committed, into Redis. What does
// not get there is dispatchable again; if even that fails, the reconciler finds
// it.
func (d *Dispatcher) enqueue(ctx context.Context, queue string, taken []catalog.Handout) error {
	if len(taken) == 0 {
		return nil
	}
	// A client of its own: asynq's remembers which queues it has announced, and
	// would not announce them again in a Redis that was emptied. It is no more
	// than a wrapper around the connections.
	client := asynq.NewClientFromRedisClient(d.redis)
	for i, handout := range taken {
		if err := enqueueOne(ctx, client, queue, handout.Delivery); err != nil {
			return errors.Join(err, d.takeBack(ctx, taken[i:]))
		}
	}
	return nil
}

func enqueueOne(ctx context.Context, client *asynq.Client, queue string, delivery job.Delivery) error {
	payload, err := json.Marshal(delivery)
	if err != nil {
		return fmt.Errorf("encode delivery: %w", err)
	}
	_, err = client.EnqueueContext(ctx, asynq.NewTask(job.TaskType, payload),
		asynq.Queue(queue), asynq.TaskID(delivery.TaskID()), asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout))
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) { // a conflict: it is there
		return fmt.Errorf("enqueue job %s: %w", delivery.JobID, err)
	}
	return nil
}

// takeBack works on after ctx has ended: a hub that stops leaves no job to the
// reconciler.
func (d *Dispatcher) takeBack(ctx context.Context, taken []catalog.Handout) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	deliveries := make([]job.Delivery, len(taken))
	for i, handout := range taken {
		deliveries[i] = handout.Delivery
	}
	_, err := d.cfg.DB.Undispatch(ctx, deliveries)
	return err
}
