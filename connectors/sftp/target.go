package sftp

import (
	"context"
	"errors"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// target implements connectors.Target. One goroutine puts entries; a task for each
// is then on its way, hundreds at once, so that a long round trip is paid for by
// all of them together. A task waits for the folder that it works in, and a folder
// for all that is put in it before it gets its own time.
type target struct {
	*source
	opts  connectors.TargetOptions
	roots []string // folders up to which links are followed: people chose them

	sess    *session // nil before the first entry
	can     wire.Abilities
	ctx     context.Context //nolint:containedctx // of the one restore that it lives for
	stop    context.CancelCauseFunc
	slots   *semaphore.Weighted // tasks
	ahead   *semaphore.Weighted // bytes of small files
	stack   []*folder           // from "/" to the folder of the last entry
	running sync.WaitGroup
	copying sync.Mutex // one content at a time is read beside those that are put

	mu       sync.Mutex
	report   connectors.TargetReport
	failure  error                    // the first that ends the restore
	inFlight map[string]chan struct{} // files on their way, by their path
}

const (
	// maxTasks is how many entries are on their way at once.
	maxTasks = 256
	// writeSmall is up to which size a file is held as a whole; larger ones are
	// written as they are read.
	writeSmall = 256 << 10
	// writeAhead bounds the bytes of those, writeWindow those of a larger one.
	writeAhead  = 12 << 20
	writeWindow = 4 << 20
	// writeChunk is the length of one write: even at 1 KiB a second the server has
	// something to answer before it counts as gone.
	writeChunk = 32 << 10
	// maxFailed is how many entries may fail before the rest is not tried any more.
	maxFailed = 10_000
)

// openTarget makes a target of a canonical configuration.
func openTarget(config []byte, env connectors.Env, o Options, opts connectors.TargetOptions, shared *semaphore.Weighted) (connectors.Target, error) {
	s, err := newSource(config, env, o, shared)
	if err != nil {
		return nil, err
	}
	t := &target{
		source: s, opts: opts, roots: s.config.Paths, inFlight: map[string]chan struct{}{},
		slots: semaphore.NewWeighted(maxTasks), ahead: semaphore.NewWeighted(writeAhead),
	}
	if opts.Folder != "" {
		clean, err := connectors.CleanPath(opts.Folder)
		if err != nil {
			return nil, job.Errorf(job.ConfigInvalid, "the folder to restore to %w", err)
		}
		t.opts.Folder, t.roots = clean, []string{clean}
	}
	return t, nil
}

// entryError is the failure of one entry, while others can be written.
type entryError struct{ why *job.Error }

func (e entryError) Error() string { return e.why.Error() }

func (e entryError) Unwrap() error { return e.why }

func refusef(code job.Code, format string, args ...any) error {
	return entryError{job.Errorf(code, format, args...)}
}

// start connects, with the first entry.
func (t *target) start(ctx context.Context) error {
	if t.sess != nil {
		return nil
	}
	t.ctx, t.stop = context.WithCancelCause(ctx)
	sess, err := t.connected(ctx, nil)
	if err != nil {
		return err
	}
	t.sess, t.can = sess, sess.Abilities()
	ready := make(chan struct{})
	close(ready)
	t.stack = []*folder{{path: "/", ready: ready}}
	return nil
}

// Put implements connectors.Target.
func (t *target) Put(ctx context.Context, item connectors.TargetItem) error {
	if err := t.start(ctx); err != nil {
		return err
	}
	if err := t.going(); err != nil {
		return err
	}
	path := join(t.base(), item.Path)
	if err := checkTarget(item.Path, path); err != nil {
		t.settle(path, err)
		return nil
	}
	if item.Kind == entry.Dir {
		return t.putFolder(item, path)
	}
	in, err := t.enter(parent(path))
	if err != nil {
		return err
	}
	switch item.Kind {
	case entry.File:
		return t.putContent(item, in, path)
	case entry.Symlink:
		return t.putSymlink(item, in, path)
	case entry.Hardlink:
		return t.putHardlink(item, in, path)
	default:
		return nil // is in no archive
	}
}

func (t *target) base() string {
	if t.opts.Folder == "" {
		return "/"
	}
	return t.opts.Folder
}

// checkTarget refuses what must never become a path on a server. Archives are
// checked where they are read; this does not rely on it.
func checkTarget(member, path string) error {
	if len(path) > maxPath {
		return refusef(job.ConfigInvalid, "its path would have %d bytes there, more than %d", len(path), maxPath)
	}
	for component := range strings.SplitSeq(member, "/") {
		if component == "" || component == "." || component == ".." || strings.ContainsRune(component, 0) {
			return refusef(job.ArtifactCorrupt, "its path in the archive is not clean")
		}
	}
	return nil
}

// Finish implements connectors.Target.
func (t *target) Finish(ctx context.Context) error {
	if t.sess == nil {
		if t.stop != nil {
			t.stop(nil)
		}
		return nil // nothing was put
	}
	for len(t.stack) > 1 {
		t.leave()
	}
	t.running.Wait()
	defer t.stop(nil)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return t.going()
}

// Report implements connectors.Target.
func (t *target) Report() connectors.TargetReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Problems = append([]connectors.TargetProblem{}, r.Problems...)
	return r
}

// task does something beside what else is on its way, as soon as there is room.
func (t *target) task(path string, do func() error) error {
	if err := t.slots.Acquire(t.ctx, 1); err != nil {
		return t.going()
	}
	t.running.Go(func() {
		defer t.slots.Release(1)
		t.settle(path, do())
	})
	return nil
}

// settle takes how a task ended into account.
func (t *target) settle(path string, err error) {
	if err == nil || t.ctx.Err() != nil {
		return // of what was given up nothing is told
	}
	one, ok := errors.AsType[entryError](err)
	if !ok {
		t.fail(err)
		return
	}
	var failed int64
	t.count(func(r *connectors.TargetReport) {
		r.Failed++
		failed = r.Failed
		if len(r.Problems) < connectors.MaxTargetProblems {
			r.Problems = append(r.Problems, connectors.TargetProblem{Path: path, Err: one.why})
		}
	})
	if failed == maxFailed {
		t.fail(job.Errorf(one.why.Code, "%d entries could not be written, and the rest was not tried; the last: %s", failed, one.why.Message))
	}
}

func (t *target) count(change func(*connectors.TargetReport)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.report)
}

// fail ends the restore; the first reason counts.
func (t *target) fail(err error) {
	t.mu.Lock()
	if t.failure == nil {
		t.failure = err
	}
	t.mu.Unlock()
	t.stop(err)
}

// going is why nothing more is to be done, nil while there is.
func (t *target) going() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.failure != nil {
		return t.failure
	}
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	return nil
}

// allowed is asked before every step that changes something.
func (t *target) allowed() error {
	if err := t.going(); err != nil {
		return err
	}
	if err := t.mayTidy(); err != nil {
		t.fail(err)
		return err
	}
	return nil
}

// mayTidy is asked before what was begun is brought in order, which may be when
// the restore is over already.
func (t *target) mayTidy() error {
	if t.opts.Allowed == nil {
		return nil
	}
	return t.opts.Allowed()
}

// problem turns what the server answered to a change at path into a failure of
// this entry or of the whole restore.
func (t *target) problem(path string, err error) error {
	if err == nil {
		return nil
	}
	if !wire.IsStatus(err) {
		return t.sess.cause(err)
	}
	switch {
	case errors.Is(err, wire.ErrPermission):
		return refusef(job.PermissionDenied, "%q cannot be written: the user %q lacks permission there", path, t.config.Username)
	case errors.Is(err, wire.ErrNotExist):
		return refusef(job.PathNotFound, "%q cannot be written: its folder is not there any more, or is no folder", path)
	}
	volume, known, volumeErr := t.volume(parent(path))
	switch {
	case volumeErr != nil:
		return volumeErr
	case known && volume.ReadOnly:
		return refusef(job.PermissionDenied, "%q cannot be written: its file system is mounted read-only on the server; mount it for writing, or restore to another folder", path)
	case known && (volume.FreeBytes < lowSpace || volume.Files > 0 && volume.FreeFiles == 0):
		return errFull(path)
	}
	return refusef(job.PermissionDenied, "%q cannot be written: %w", path, quoted(err))
}

// lowSpace is how much free space counts as none.
const lowSpace = 1 << 20

func errFull(path string) error {
	return job.Errorf(job.StorageFull, "the server's disk is full, or the user's quota is used up: %q does not fit. Free space there, or restore fewer paths or to another folder", path)
}

// writeProblem is problem for content that does not go in. Where neither
// permissions nor the room on the disk are to blame, the user's quota may be.
func (t *target) writeProblem(path string, err error) error {
	out := t.problem(path, err)
	one, ok := errors.AsType[entryError](out)
	if !ok || !errors.As(err, new(*wire.StatusError)) || strings.Contains(one.why.Message, "read-only") {
		return out
	}
	return job.Errorf(job.StorageFull, "the server takes no more of %q: its disk is full or failing, or the user's quota is used up. "+
		"Free space there, or restore fewer paths or to another folder", path)
}

// volume tells of the file system of a folder; false where the server does not.
func (t *target) volume(dir string) (wire.Volume, bool, error) {
	if !t.can.StatVFS {
		return wire.Volume{}, false, nil
	}
	v, err := t.sess.StatVFS(dir).Volume()
	if err != nil && !wire.IsStatus(err) {
		return v, false, t.sess.cause(err)
	}
	return v, err == nil, nil
}

// within reports whether a path is a folder or below it.
func within(path, dir string) bool { return path == dir || below(path, dir) }

// trusted reports whether a folder lies at or above one that people chose: there
// links are theirs, and are followed.
func (t *target) trusted(dir string) bool {
	for _, root := range t.roots {
		if within(root, dir) {
			return true
		}
	}
	return dir == "/"
}

func errLink(path string) error {
	return refusef(job.SourceChanged, "%q is a symbolic link on the server now, and nothing is written through it; remove it, or restore to another folder", path)
}

func errOther(path, what string) error {
	return refusef(job.SourceChanged, "%q is %s on the server now, which is not replaced; move it away, or restore to another folder", path, what)
}

// what names a kind for people.
func what(kind entry.Kind) string {
	switch kind {
	case entry.File:
		return "a file"
	case entry.Dir:
		return "a folder"
	case entry.Symlink:
		return "a symbolic link"
	default:
		return "a device, a pipe or a socket"
	}
}
