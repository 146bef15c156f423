// Package worker is the data plane: it takes jobs from the queue, reads
// sources, and stores sealed artifacts.
//
// What it keeps to: the hub's word decides which attempt is the current one,
// asynq only brings news of work; a snapshot is reported when its bytes are
// durable, and from then on nothing but the hub's answer to a reconciliation
// removes it; secrets are in memory only; a storage that is not there proves
// nothing about what was on it.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"xvault/archive"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/worker/hubclient"
)

// stopFor is how long jobs whose context has ended may take to return.
const stopFor = 30 * time.Second

// Worker is one process's worth of a worker. Run it once.
type Worker struct {
	cfg       Config
	id        string
	identity  secret.Text
	recipient string
	state     *state
	hub       *hubclient.Client
	redis     redis.UniversalClient
	budget    *archive.Budget
	limits    *limits
	storage   *storage
	// unconfirmed are what the sweeper may remove.
	unconfirmed *unconfirmed
	listings    *listings
	kinds       map[job.Kind]kind
	lines       []*line
	inHand      *inHand
	temp        *tempDir
	foreign     bool // the hub knows another storage; of the heartbeat alone
	downloads   *downloads
	log         *slog.Logger
	timing      timing

	life  context.Context         // of the process; ends with why it must
	end   context.CancelCauseFunc // of life
	until context.Context         // ends when jobs are to be handed back

	intake  sync.Mutex // held while the intake is opened or closed
	mu      sync.Mutex
	taking  bool // new jobs are taken
	over    bool // and none will be any more
	running sync.WaitGroup
}

// New checks the configuration and opens the state folder. It reaches neither
// the hub nor Redis.
func New(_ context.Context, cfg Config) (*Worker, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	hub, err := hubclient.New(hubclient.Config{
		BaseURL: cfg.HubURL, AllowPlainHTTP: cfg.AllowPlainHTTP, UserAgent: "xvault-worker/" + cfg.Version,
	})
	if err != nil {
		return nil, err
	}
	client, err := openRedis(cfg.RedisURL)
	if err != nil {
		return nil, err
	}
	budget, err := archive.NewBudget(archive.BudgetConfig{Writers: cfg.Concurrency})
	if err != nil {
		return nil, err
	}
	limits, err := newLimits(cfg.Bandwidth, cfg.Now)
	if err != nil {
		return nil, fmt.Errorf("WORKER_BANDWIDTH_LIMIT: %w", err)
	}
	st, err := openState(cfg.StateDir)
	if err != nil {
		return nil, err
	}
	w := &Worker{
		cfg: cfg, state: st, hub: hub, redis: client, budget: budget, limits: limits, log: cfg.Log,
		inHand: newInHand(), timing: defaultTiming(),
	}
	w.listings = &listings{w: w}
	w.kinds = map[job.Kind]kind{
		job.Backup: {run: w.backup},
		job.Probe:  {run: w.probe},
		// One for downloading writes nothing: what it promises is sent later, ticket
		// by ticket.
		job.Restore: {run: w.restore},
		// It only reads.
		job.Verify: {run: w.verify},
		// Its own storage, but for good: two attempts must not be at it.
		job.DeleteSnapshot: {run: w.deleteSnapshot, actsOutside: true},
	}
	if err := w.identify(); err != nil {
		return nil, errors.Join(err, st.close())
	}
	w.storage = newStorage(cfg, st)
	if w.unconfirmed, err = st.unconfirmed(); err != nil {
		return nil, errors.Join(err, st.close())
	}
	if w.downloads, err = newDownloads(w); err != nil {
		return nil, errors.Join(err, st.close())
	}
	w.lines = linesOf(w.id, cfg.Concurrency, cfg.OwnConcurrency)
	return w, nil
}

func (w *Worker) identify() (err error) {
	if w.id, err = w.state.workerID(w.cfg.ID); err != nil {
		return err
	}
	w.identity, w.recipient, err = w.state.identity()
	w.log = w.log.With("worker_id", w.id)
	return err
}

// ID is the worker's id, given or made.
func (w *Worker) ID() string { return w.id }

// Run registers and works until ctx ends; then it drains: it takes no new job,
// waits for those at work, hands back what is left, and returns nil. It returns
// an error where it cannot work at all, or must not any more.
func (w *Worker) Run(ctx context.Context) (err error) {
	w.life, w.end = context.WithCancelCause(context.WithoutCancel(ctx))
	defer w.end(nil)
	until, handBack := context.WithCancel(w.life)
	defer handBack()
	w.until = until
	defer func() { err = errors.Join(err, w.close()) }()

	temp, swept, err := openTempDir(ctx, w.cfg.TempDir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temp.close()) }()
	w.temp = temp
	if swept > 0 {
		w.log.Info("removed temporary folders of jobs that died", "folders", swept)
	}
	w.storage.check(ctx)
	w.downloads.listen()
	beat, err := w.register(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it began
		}
		return err
	}
	return w.work(ctx, beat, handBack)
}

// work runs the loops until ctx or the worker's life ends.
func (w *Worker) work(ctx context.Context, beat time.Duration, handBack context.CancelFunc) error {
	guard := newRedisGuard(w.log)
	w.redis.AddHook(guard)
	in := &intake{redis: w.redis, lines: w.lines, handle: w.deliver, log: w.log}

	var loops sync.WaitGroup
	loops.Go(func() { w.keepBeating(ctx, in, beat) })
	loops.Go(func() { w.keepReconciling(w.life) })
	loops.Go(func() { w.downloads.serve(ctx, w.life) })
	select {
	case <-ctx.Done():
	case <-w.life.Done():
	}
	ended := w.drain(in, handBack)
	cause := context.Cause(w.life)
	w.end(nil)
	guard.close()
	loops.Wait()
	w.listings.wait()
	if ended {
		in.wait()
	}
	return cause
}

// drain takes no new job and waits for the ones at work, at first for them to
// end and then for them to be handed back. It reports whether all have ended.
func (w *Worker) drain(in *intake, handBack context.CancelFunc) bool {
	w.mu.Lock()
	w.over = true // a heartbeat's answer may be about to open the intake
	w.mu.Unlock()
	w.take(in, false)
	ended := make(chan struct{})
	go func() {
		w.running.Wait()
		close(ended)
	}()
	if w.life.Err() == nil {
		w.log.Info("stopping: no new job is taken", "waiting_for", w.busy(), "at_most", w.cfg.DrainTimeout.String())
	}
	if waitFor(ended, w.life.Done(), w.cfg.DrainTimeout) {
		return true
	}
	handBack()
	if waitFor(ended, nil, stopFor) {
		return true
	}
	w.log.Error("jobs did not stop in time; their leases will run out", "jobs", w.busy())
	return false
}

// waitFor reports whether ended came before cut and before the time was over.
func waitFor(ended, cut <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-cut:
		return false
	case <-timer.C:
		return false
	}
}

// take opens or closes the intake; once the worker drains it stays closed.
func (w *Worker) take(in *intake, open bool) {
	w.intake.Lock()
	defer w.intake.Unlock()
	w.mu.Lock()
	open = open && !w.over
	w.taking = open
	w.mu.Unlock()
	if err := in.set(open); err != nil {
		w.log.Error("the queue cannot be served", "error", err)
	}
}

// accept counts a job in, unless none are taken.
func (w *Worker) accept() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.taking {
		w.running.Add(1)
	}
	return w.taking
}

func (w *Worker) busy() int {
	n := 0
	for _, l := range w.lines {
		n += l.slots.busy()
	}
	return n
}

// lostToken ends the worker's life: someone else is this worker now, or nobody.
func (w *Worker) lostToken(err error) {
	if hubclient.Superseded(err) {
		w.end(fmt.Errorf("%w: another process started as worker %q and took over; two must not share one WORKER_ID or WORKER_STATE_DIR", errSuperseded, w.id))
		return
	}
	w.end(fmt.Errorf("%w: the hub does not take its token any more; it was removed there, or the hub has another catalog; with WORKER_JOIN_TOKEN set it joins when it is started again (%w)", errSuperseded, err))
}

func (w *Worker) close() error {
	w.hub.Close()
	w.downloads.close()
	return errors.Join(w.redis.Close(), w.storage.close(), w.state.close())
}
