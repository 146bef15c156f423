package sftp

import (
	"context"
	"errors"
	"strings"
	"sync"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/connectors/restoring"
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
	*restoring.Run
	opts  connectors.TargetOptions
	roots []string // folders up to which links are followed: people chose them

	sess    *session // nil before the first entry
	can     wire.Abilities
	ahead   *semaphore.Weighted // bytes of small files
	stack   []*folder           // from "/" to the folder of the last entry
	copying sync.Mutex          // one content at a time is read beside those that are put

	mu       sync.Mutex
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
)

// openTarget makes a target of a canonical configuration.
func openTarget(config []byte, env connectors.Env, o Options, opts connectors.TargetOptions, shared *semaphore.Weighted) (connectors.Target, error) {
	s, err := newSource(config, env, o, shared)
	if err != nil {
		return nil, err
	}
	t := &target{
		source: s, Run: restoring.New(opts, maxTasks, nil), opts: opts, roots: s.config.Paths, inFlight: map[string]chan struct{}{},
		ahead: semaphore.NewWeighted(writeAhead),
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

// start connects, with the first entry.
func (t *target) start(ctx context.Context) error {
	if t.sess != nil {
		return nil
	}
	t.Begin(ctx)
	sess, err := t.connected(ctx, nil, false)
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
	if err := t.Going(); err != nil {
		return err
	}
	path := join(t.base(), item.Path)
	if err := checkTarget(item.Path, path); err != nil {
		t.Settle(path, err)
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
		return restoring.Refusef(job.ConfigInvalid, "its path would have %d bytes there, more than %d", len(path), maxPath)
	}
	for component := range strings.SplitSeq(member, "/") {
		if component == "" || component == "." || component == ".." || strings.ContainsRune(component, 0) {
			return restoring.Refusef(job.ArtifactCorrupt, "its path in the archive is not clean")
		}
	}
	return nil
}

// Finish implements connectors.Target.
func (t *target) Finish(ctx context.Context) error {
	if t.sess == nil {
		t.Stop()
		return nil // nothing was put
	}
	for len(t.stack) > 1 {
		t.leave()
	}
	return t.Wait(ctx)
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
		return restoring.Refusef(job.PermissionDenied, "%q cannot be written: the user %q lacks permission there", path, t.config.Username)
	case errors.Is(err, wire.ErrNotExist):
		return restoring.Refusef(job.PathNotFound, "%q cannot be written: its folder is not there any more, or is no folder", path)
	}
	volume, known, volumeErr := t.volume(parent(path))
	switch {
	case volumeErr != nil:
		return volumeErr
	case known && volume.ReadOnly:
		return restoring.Refusef(job.PermissionDenied, "%q cannot be written: its file system is mounted read-only on the server; mount it for writing, or restore to another folder", path)
	case known && (volume.FreeBytes < lowSpace || volume.Files > 0 && volume.FreeFiles == 0):
		return errFull(path)
	}
	return restoring.Refusef(job.PermissionDenied, "%q cannot be written: %w", path, quoted(err))
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
	one, ok := errors.AsType[restoring.EntryError](out)
	if !ok || !errors.As(err, new(*wire.StatusError)) || strings.Contains(one.Why.Message, "read-only") {
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
	return restoring.Refusef(job.SourceChanged, "%q is a symbolic link on the server now, and nothing is written through it; remove it, or restore to another folder", path)
}

func errOther(path, what string) error {
	return restoring.Refusef(job.SourceChanged, "%q is %s on the server now, which is not replaced; move it away, or restore to another folder", path, what)
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
