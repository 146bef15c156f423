package sftp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

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
	watch   shell.Watch     // of what lists
	ctx     context.Context //nolint:containedctx // of all that it runs
	devices devices
	stop    context.CancelFunc

	starting sync.WaitGroup
	late     sync.WaitGroup // what was left behind
	mu       sync.Mutex     // of tar while it is being started, and of ended
	ended    bool
	tar      *shell.Tar // nearby one keeps up with all that is done to what it sends
	tarErr   error      // why there is none
	tree     *tree
	shown    *tree  // the starts alone, of a find that broke off later
	tool     string // what find calls itself
	findErr  error  // why there is no tree
}

// startHelper asks the server for its programs. Nothing waits for the answers. all
// is whether to list everything at once, where that is sensible.
func (s *source) startHelper(conn *sshconn.Conn, all bool) *helper {
	ctx, cancel := context.WithCancel(context.Background()) // ends with the connection
	h := &helper{conn: conn, o: s.options, ctx: ctx, stop: cancel}
	// Not where that would list what is excluded.
	all = all && len(s.config.Exclude) == 0 && !s.isRoot("/")
	h.starting.Go(func() { h.findAndTar(s.startPaths(), all) })
	return h
}

var (
	errSlowShell = errors.New("the shell does not answer in time")
	errSlowFind  = errors.New("its find does not answer in time")
)

// startPaths are the configured paths that lie in no other.
func (s *source) startPaths() []string {
	var starts []string
	roots := make([]*root, len(s.config.Paths))
	for i, path := range s.config.Paths {
		roots[i] = &root{path: path}
	}
	for _, r := range roots {
		if outermost(r, roots) == nil {
			starts = append(starts, r.path)
		}
	}
	return starts
}

// findAndTar lists everything, if it is not too much, or else the starts alone, and
// has a tar go on from there.
func (h *helper) findAndTar(starts []string, all bool) {
	slow, patience := errTooMuch, h.o.FindPatience
	if !all { // it is not asked again
		slow, patience = errSlowFind, max(patience, h.o.ShellPatience)
	}
	ctx, cancel := context.WithTimeoutCause(h.ctx, patience, slow)
	defer cancel()
	t := h.newTree(starts, all)
	began, ok := inTime(ctx, &h.late, func() shell.Started {
		began := shell.Start(ctx, h.conn, starts, all, t.add, &h.watch)
		h.started(ctx, began.Tar)
		return began
	})
	switch late := ctx.Err() != nil; {
	case h.ctx.Err() != nil: // nobody needs it any more
		h.tarErr = context.Cause(h.ctx)
		return
	case late && !all && !h.has():
		h.tarErr = errSlowShell
		return
	case !ok, late && began.TarErr != nil: // it may be the shell that is slow
		h.findErr = slow
	case began.TarErr != nil:
		h.tarErr = began.TarErr
		return
	default:
		h.listed(ctx, t, began.Listing, began.ListErr)
	}
	again := all && errors.Is(h.findErr, errTooMuch)
	var alone sync.WaitGroup
	if !h.has() && (again || h.proof() != nil) {
		alone.Go(h.tarAlone)
	}
	if again {
		h.findStarts(starts)
	}
	alone.Wait()
}

// tarAlone starts a tar and nothing else.
func (h *helper) tarAlone() {
	ctx, cancel := context.WithTimeoutCause(h.ctx, h.o.ShellPatience, errSlowShell)
	defer cancel()
	err, ok := inTime(ctx, &h.late, func() error {
		t, err := shell.StartTar(ctx, h.conn)
		h.started(ctx, t)
		return err
	})
	if !ok || ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	h.tarErr = err
}

// findStarts lists what is in the starts themselves.
func (h *helper) findStarts(starts []string) {
	ctx, cancel := context.WithTimeoutCause(h.ctx, max(h.o.FindPatience, h.o.ShellPatience), errSlowFind)
	defer cancel()
	t := h.newTree(starts, false)
	var list shell.Listing
	err, ok := inTime(ctx, &h.late, func() (err error) {
		var l shell.Listing
		if l, err = shell.Find(ctx, h.conn, starts, false, t.add, &h.watch); err == nil && ctx.Err() == nil {
			list = l
		}
		return err
	})
	if !ok {
		h.findErr = context.Cause(ctx)
		return
	}
	h.listed(ctx, t, list, err)
}

// lateFor is how long is waited for what should have ended.
const lateFor = 2 * time.Second

// inTime does something that the context ends, and leaves it behind where it does not
// end soon: a server need not let go of a command that hangs, and then nothing of it
// ends before the connection does.
func inTime[T any](ctx context.Context, late *sync.WaitGroup, do func() T) (T, bool) {
	done := make(chan T, 1)
	late.Go(func() { done <- do() })
	select {
	case v := <-done:
		return v, true
	case <-ctx.Done():
	}
	timer := time.NewTimer(lateFor)
	defer timer.Stop()
	select {
	case v := <-done:
		return v, true
	case <-timer.C:
		var none T
		return none, false
	}
}

func (h *helper) newTree(starts []string, all bool) *tree {
	t := newTree(starts, h.o.FindMemory, &h.devices)
	t.here = !all
	return t
}

// listed takes what a find listed.
func (h *helper) listed(ctx context.Context, t *tree, list shell.Listing, err error) {
	begun := t.begun()
	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case err == nil:
		t.leaveAll()
		err = begun
	}
	h.findErr = err
	switch {
	case err == nil:
		t.forget(list.Doubtful)
		h.tree, h.tool = t, list.Tool
	case begun == nil:
		h.shown = &tree{starts: t.starts}
	}
}

// probeShell tells how a source would be read.
func (s *source) probeShell(sess *session, roots []*root) string {
	h := s.startHelper(sess.conn, false)
	sess.running.Go(h.wait)
	defer h.end()
	h.starting.Wait()
	if err := h.unfit(sess, roots); err != nil {
		return "SFTP alone, because " + sshconn.Escape(err.Error(), 300)
	}
	return "shell, with " + h.tar.Tool
}

// ready waits until it is known what the server has, and reports whether any of it
// is of use.
func (h *helper) ready(log *slog.Logger, s *session, roots []*root) bool {
	h.starting.Wait()
	if err := h.unfit(s, roots); err != nil {
		h.end()
		log.Info("the source is read over SFTP alone", slog.String("why", sshconn.Escape(err.Error(), 300)))
		return false
	}
	attrs := []any{slog.String("content", h.tar.Tool), slog.String("listing", h.tool)}
	if h.tree == nil {
		attrs[1] = slog.String("listing", "SFTP, because "+sshconn.Escape(h.findErr.Error(), 300))
	}
	log.Info("the source is read through its shell", attrs...)
	return true
}

// unfit is why a source must be read over SFTP alone; nil where it need not. What a
// tar sends counts only where find has shown what SFTP shows: else it may be what
// stands under the same name for a shell that sees other files.
func (h *helper) unfit(s *session, roots []*root) error {
	switch proof := h.proof(); {
	case h.tarErr != nil:
		return h.tarErr
	case proof == nil:
		return fmt.Errorf("nothing shows that its shell sees the files that SFTP does: %w", h.findErr)
	default:
		return proof.sameRoots(s, roots)
	}
}

// proof is what find showed of the configured paths; nil where it did not show all.
func (h *helper) proof() *tree {
	if h.tree != nil {
		return h.tree
	}
	return h.shown
}

// holdChannels counts those of its programs, until release is called, and keeps some
// for half of the tars that a distance may ask for: large files may need them as well.
func (h *helper) holdChannels(c *channels) (release func()) {
	n := 1 + h.finds()
	c.hold(n)
	c.keep((tarsAt(h.conn.RoundTrip()) - 1) / 2)
	return func() {
		c.keep(0)
		c.giveBack(n)
	}
}

// finds is how many of them may run at once.
func (h *helper) finds() int {
	if h.tree != nil && !h.tree.here {
		return 0 // nothing is left to list
	}
	return maxFinds
}

// help has a reader use what the server has, until stop is called.
func (h *helper) help(ctx context.Context, r *reader) (stop func()) {
	r.tars = newTarFetch(r, newTarLane(h.tar, h.conn))
	if h.tree != nil {
		r.lister.have(h.tree)
		r.lister.finder = &finder{h: h, ctx: h.ctx}
	}
	ctx, cancel := context.WithCancel(ctx)
	r.s.running.Go(func() { h.guard(ctx, r) })
	r.s.growing.Go(func() { r.tars.grow(ctx, h) })
	return func() {
		cancel()
		for _, t := range r.tars.all() {
			if err := t.Err(); err != nil {
				r.env.Log.Warn("the tar on the server ended early; what it owed was read over SFTP", slog.Any("error", sshconn.Quoted(err)))
				return // the others have ended for the same reason, mostly
			}
		}
	}
}

// started takes a tar, nil if there is none, and ends it if it comes too late.
func (h *helper) started(ctx context.Context, t *shell.Tar) {
	if t == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ended || ctx.Err() != nil {
		t.Stop()
		h.late.Go(t.Wait)
		return
	}
	h.tar = t
}

// has reports whether there is a tar.
func (h *helper) has() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tar != nil
}

// end ends what runs on the server, without waiting for it.
func (h *helper) end() {
	h.stop()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ended = true
	if h.tar != nil {
		h.tar.Stop()
	}
}

// wait waits for all that ends with the connection.
func (h *helper) wait() {
	h.starting.Wait()
	if h.tar != nil {
		h.tar.Wait()
	}
	h.late.Wait()
}

// guard ends a session whose programs hang.
func (h *helper) guard(ctx context.Context, r *reader) {
	ticker := time.NewTicker(min(h.o.KeepAlive, h.o.StallAfter) / 4)
	defer ticker.Stop()
	var finds sshconn.Patience
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.conn.Done():
			return
		case <-ticker.C:
		}
		if name := h.hangs(r.tars, &finds); name != "" {
			r.s.fail(job.Errorf(job.Timeout, "the server is alive but its %s has sent nothing for %v; look for a disk or a network file system there that hangs",
				name, h.o.StallAfter.Round(time.Millisecond)))
			return
		}
	}
}

// hangs names the program that has been silent for too long; empty where none
// has. Each counts without the time in which its own connection was held back.
func (h *helper) hangs(tars *tarFetch, finds *sshconn.Patience) string {
	for _, t := range tars.all() {
		if t.patience.Lasted(t.stalled(), t.conn.Held()) > h.o.StallAfter {
			return "tar"
		}
	}
	if finds.Lasted(h.watch.Stalled(), h.conn.Held()) > h.o.StallAfter {
		return "find"
	}
	return ""
}
