package sftp

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"xvault/connectors/sftp/shell"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// helper reads beside SFTP, with programs that run on the server, where the type of
// the source allows that and the server has them. It is started as soon as there is
// a connection, so that what it needs at first costs no round trip of its own.
type helper struct {
	conn    *sshconn.Conn
	o       Options
	watch   shell.Watch
	ctx     context.Context //nolint:containedctx // of all that it runs
	devices devices
	stop    context.CancelFunc

	starting sync.WaitGroup
	mu       sync.Mutex // of tars while they are being started, and of ended
	ended    bool
	tars     [maxTars]*shell.Tar
	tarErr   error // why there is no tar
	tree     *tree
	tool     string // what find calls itself
	findErr  error  // why there is no tree
}

const (
	// One tar keeps up with all that is done to what it sends, and every program
	// more costs the server another run of the user's start files, which may take
	// longer than the reading.
	maxTars = 1
	// shellPatience is how long a shell may take to say what it has, and
	// findPatience how long everything may take to be listed at once.
	shellPatience = 10 * time.Second
	findPatience  = 8 * time.Second
)

// startHelper asks the server for its programs. Nothing waits for the answers.
func (s *source) startHelper(conn *sshconn.Conn, list bool) *helper {
	ctx, cancel := context.WithCancel(context.Background()) // ends with the connection
	h := &helper{conn: conn, o: s.options, ctx: ctx, stop: cancel}
	errs := make([]error, maxTars)
	var tars sync.WaitGroup
	for i := range h.tars {
		tars.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, shellPatience, errSlowShell)
			defer cancel()
			t, err := shell.StartTar(ctx, conn, &h.watch)
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			errs[i] = err
			h.started(i, t)
		})
	}
	h.starting.Go(func() {
		tars.Wait()
		h.tarErr = errors.Join(errs...)
	})
	if list {
		h.starting.Go(func() { h.find(s.startPaths()) })
	}
	return h
}

var errSlowShell = errors.New("the shell does not answer in time")

// startPaths are the configured paths that lie in no other, and whether to list
// everything below them at once: not where that would list what is excluded.
func (s *source) startPaths() (starts []string, all bool) {
	roots := make([]*root, len(s.config.Paths))
	for i, path := range s.config.Paths {
		roots[i] = &root{path: path}
	}
	for _, r := range roots {
		if outermost(r, roots) == nil {
			starts = append(starts, r.path)
		}
	}
	return starts, len(s.config.Exclude) == 0 && !s.isRoot("/")
}

// find lists everything, if it is not too much, or else the starts alone.
func (h *helper) find(starts []string, all bool) {
	h.findErr = errTooMuch
	if all {
		h.findErr = h.findOnce(starts, true)
	}
	if errors.Is(h.findErr, errTooMuch) {
		h.findErr = h.findOnce(starts, false)
	}
}

func (h *helper) findOnce(starts []string, all bool) error {
	ctx, cancel := context.WithTimeoutCause(h.ctx, findPatience, errTooMuch)
	defer cancel()
	t := newTree(starts, h.o.FindMemory, &h.devices)
	t.here = !all
	list, err := shell.Find(ctx, h.conn, starts, all, t.add, &h.watch)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		return err
	}
	t.leaveAll()
	t.forget(list.Doubtful)
	h.tree, h.tool = t, list.Tool
	return nil
}

// probeShell tells how a source would be read.
func (s *source) probeShell(sess *session) string {
	h := s.startHelper(sess.conn, false)
	sess.running.Go(h.wait)
	defer h.end()
	h.starting.Wait()
	if h.tarErr != nil {
		return "SFTP alone, because " + sshconn.Escape(h.tarErr.Error(), 300)
	}
	return "shell, with " + h.tars[0].Tool
}

// ready waits until it is known what the server has, and reports whether any of it
// is of use.
func (h *helper) ready(log *slog.Logger, s *session, roots []*root) bool {
	h.starting.Wait()
	if h.tarErr == nil && h.tree != nil {
		h.tarErr = h.tree.sameRoots(s, roots)
	}
	if h.tarErr != nil {
		h.end()
		log.Info("the source is read over SFTP alone", slog.String("why", sshconn.Escape(h.tarErr.Error(), 300)))
		return false
	}
	attrs := []any{slog.String("content", h.tars[0].Tool), slog.String("listing", h.tool)}
	if h.tree == nil {
		attrs[1] = slog.String("listing", "SFTP, because "+sshconn.Escape(h.findErr.Error(), 300))
	}
	log.Info("the source is read through its shell", attrs...)
	return true
}

// help has a reader use what the server has, until stop is called.
func (h *helper) help(ctx context.Context, r *reader) (stop func()) {
	r.tars = &tarFetch{r: r, tars: h.tars[:], again: semaphore.NewWeighted(maxAgain)}
	if h.tree != nil {
		r.lister.have(h.tree)
		r.lister.finder = &finder{h: h, ctx: h.ctx}
	}
	ctx, cancel := context.WithCancel(ctx)
	r.s.running.Go(func() { h.guard(ctx, r.s) })
	return func() {
		cancel()
		for _, t := range h.tars {
			if err := t.Err(); err != nil {
				r.env.Log.Warn("a tar on the server ended early; what it owed was read over SFTP", slog.Any("error", sshconn.Quoted(err)))
			}
		}
	}
}

// started takes a tar, nil if there is none, and ends it if end came first.
func (h *helper) started(i int, t *shell.Tar) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tars[i] = t
	if h.ended && t != nil {
		t.Stop()
	}
}

// end ends what runs on the server, without waiting for it.
func (h *helper) end() {
	h.stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	for _, t := range h.tars {
		if t != nil {
			t.Stop()
		}
	}
}

// wait waits for all that ends with the connection.
func (h *helper) wait() {
	h.starting.Wait()
	for _, t := range h.tars {
		if t != nil {
			t.Wait()
		}
	}
}

// guard ends a session whose programs hang.
func (h *helper) guard(ctx context.Context, s *session) {
	ticker := time.NewTicker(min(h.o.KeepAlive, h.o.StallAfter) / 4)
	defer ticker.Stop()
	var patience sshconn.Patience
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.conn.Done():
			return
		case <-ticker.C:
		}
		if patience.Lasted(h.watch.Stalled(), s.conn.Held()) > h.o.StallAfter {
			s.fail(job.Errorf(job.Timeout, "the server is alive but its tar has sent nothing for %v; look for a disk or a network file system there that hangs",
				h.o.StallAfter.Round(time.Millisecond)))
			return
		}
	}
}
