package worker

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"xvault/internal/job"
)

const (
	// taskCheck is how often asynq looks for a task when there was none: the
	// time from enqueuing to picking up is half of it on average.
	taskCheck = 50 * time.Millisecond
	// retryCheck is how often tasks to be tried again are looked for.
	retryCheck = time.Second
	// neverAbort outlives every job: asynq must not push a task back while its
	// handler still runs.
	neverAbort = 365 * 24 * time.Hour
)

// line is one queue with its own slots.
type line struct {
	queue string
	slots slots
}

// intake takes deliveries from Redis while it is open. There is one asynq
// server for each line, so that long backups never hold up what only this
// worker can do. Servers cannot be started twice: opening makes new ones.
type intake struct {
	redis  redis.UniversalClient
	lines  []*line
	handle func(context.Context, *line, *asynq.Task) error
	log    *slog.Logger

	mu      sync.Mutex
	servers []*asynq.Server
	closing sync.WaitGroup
}

// set opens or closes the intake. Closing does not wait for running jobs.
func (in *intake) set(open bool) error {
	in.mu.Lock()
	defer in.mu.Unlock()
	if open == (in.servers != nil) {
		return nil
	}
	if !open {
		in.shutServers()
		return nil
	}
	for _, l := range in.lines {
		server := asynq.NewServerFromRedisClient(in.redis, in.config(l))
		handler := asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error { return in.handle(ctx, l, task) })
		if err := server.Start(handler); err != nil {
			in.shutServers()
			return err
		}
		in.servers = append(in.servers, server)
	}
	return nil
}

func (in *intake) config(l *line) asynq.Config {
	return asynq.Config{
		Concurrency:              l.slots.total(),
		Queues:                   map[string]int{l.queue: 1},
		TaskCheckInterval:        taskCheck,
		DelayedTaskCheckInterval: retryCheck,
		ShutdownTimeout:          neverAbort,
		RetryDelayFunc:           retryDelay,
		// The hub counts attempts; asynq's counters decide nothing.
		IsFailure: func(error) bool { return false },
		Logger:    asynqLog{in.log},
		LogLevel:  asynq.WarnLevel,
	}
}

// shutServers stops taking tasks and lets the servers end when their last
// handler has returned.
func (in *intake) shutServers() {
	for _, server := range in.servers {
		in.closing.Go(func() {
			server.Stop()
			server.Shutdown()
		})
	}
	in.servers = nil
}

// wait waits for closed servers to end, for which their handlers must.
func (in *intake) wait() { in.closing.Wait() }

// again is a handler's error: it asks asynq to bring the task back. Its text
// goes into Redis, so it is fixed.
type again struct {
	reason string
	after  time.Duration
}

func (e *again) Error() string { return e.reason }

var (
	errNoSlot    = &again{"no free slot on this worker", time.Second}
	errNotTaking = &again{"this worker takes no jobs now", 0}
	errHubAway   = &again{"the hub did not answer the claim", 2 * time.Second}
)

func retryDelay(_ int, err error, _ *asynq.Task) time.Duration {
	delay := 5 * time.Second // asynq's own errors: a lost lease
	if a, ok := errors.AsType[*again](err); ok {
		delay = a.after
	}
	jitter := rand.N(delay/4 + 1)
	return delay + jitter
}

// slots bounds how many jobs of a line run at once. It is not asynq's count of
// handlers that it bounds: asynq forgets one whose lease was lost in Redis.
type slots chan struct{}

func newSlots(n int) slots { return make(slots, n) }

func (s slots) total() int { return cap(s) }

func (s slots) busy() int { return len(s) }

func (s slots) take() bool {
	select {
	case s <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s slots) free() { <-s }

// linesOf are the queues that a worker serves.
func linesOf(workerID string, common, own int) []*line {
	return []*line{
		{queue: job.QueueBackup, slots: newSlots(common)},
		{queue: job.WorkerQueue(workerID), slots: newSlots(own)},
	}
}
