package ftp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/connectors/ftp/lines"
	"xvault/connectors/restoring"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// target implements connectors.Target. One goroutine puts entries; a task for each
// is then on its way, and as many of them work as there are connections. A task waits
// for the folder that it works in, and a folder for all that is put in it before it
// gets its own time. What has to wait for something waits for what was put before it,
// and holds no connection meanwhile.
type target struct {
	*source
	*restoring.Run
	opts  connectors.TargetOptions
	roots []string // folders up to which links are followed: people chose them
	nonce string   // tells this attempt's temporary files from those of earlier ones

	life    context.Context //nolint:containedctx // goes on when the run has ended, for what was begun is brought in order
	end     context.CancelFunc
	ahead   *semaphore.Weighted // bytes of small files
	stack   []*place            // from "/" to the folder of the last entry
	copying sync.Mutex          // one content at a time is read beside those that are put

	can      abilities
	learning sync.Mutex
	learned  bool        // whose the files are that are written
	lost     atomic.Bool // the server went away, and is not asked for anything more

	mu      sync.Mutex
	written lines.Line // of a file, where a server has no MLST: whose the others are too
}

const (
	// maxTasks is how many entries are on their way at once.
	maxTasks = 64
	// writeSmall is up to which size a file is held as a whole; larger ones are
	// written as they are read.
	writeSmall = 256 << 10
	// writeAhead bounds the bytes of those.
	writeAhead = 12 << 20
	// maxPath is the longest path of Linux.
	maxPath = 4095
)

// openTarget makes a target of a canonical configuration.
func openTarget(config []byte, env connectors.Env, o Options, opts connectors.TargetOptions) (connectors.Target, error) {
	s, err := newSource(config, env, o)
	if err != nil {
		return nil, err
	}
	t := &target{
		source: s, opts: opts, roots: s.config.Paths, nonce: random(4), ahead: semaphore.NewWeighted(writeAhead),
	}
	t.Run = restoring.New(opts, maxTasks, t.failed)
	t.life, t.end = context.WithCancel(context.Background())
	if opts.Folder != "" {
		clean, err := cleanPath(opts.Folder)
		if err != nil {
			return nil, job.Errorf(job.ConfigInvalid, "the folder to restore to %w", err)
		}
		t.opts.Folder, t.roots = clean, []string{clean}
	}
	return t, nil
}

func random(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

// start connects, with the first entry.
func (t *target) start(ctx context.Context) error {
	if t.Begun() {
		return t.Going()
	}
	t.Begin(ctx)
	ready := make(chan struct{})
	close(ready)
	top := &place{folder: folder{path: "/"}, ready: ready}
	err := t.with(func(s *session) (err error) {
		top.real, err = s.locate("/")
		return err
	})
	if err != nil {
		t.Fail(t.explain(t.life, err))
		return t.Going()
	}
	t.stack = []*place{top}
	return nil
}

// Put implements connectors.Target.
func (t *target) Put(ctx context.Context, item connectors.TargetItem) error {
	if err := t.start(ctx); err != nil {
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
	dir, _ := split(path)
	in, err := t.enter(dir)
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

// checkTarget refuses what must never become a path on a server, and what cannot.
// Archives are checked where they are read; this does not rely on it.
func checkTarget(member, path string) error {
	if len(path) > maxPath {
		return restoring.Refusef(job.ConfigInvalid, "its path would have %d bytes there, more than %d", len(path), maxPath)
	}
	for component := range strings.SplitSeq(member, "/") {
		if component == "" || component == "." || component == ".." || strings.ContainsRune(component, 0) {
			return restoring.Refusef(job.ArtifactCorrupt, "its path in the archive is not clean")
		}
	}
	if strings.ContainsAny(path, "\r\n") {
		return restoring.Refusef(job.ConfigInvalid, "%q cannot be written over FTP, whose commands cannot hold a line break; download it, or restore it over SFTP", path)
	}
	return nil
}

// Finish implements connectors.Target.
func (t *target) Finish(ctx context.Context) error {
	if len(t.stack) == 0 {
		return nil // nothing was put
	}
	for len(t.stack) > 1 {
		t.leave()
	}
	return t.Wait(ctx)
}

// Report implements connectors.Target.
func (t *target) Report() connectors.TargetReport {
	r := t.Run.Report()
	r.Notes = t.can.notes()
	return r
}

// Close implements connectors.Target.
func (t *target) Close() error {
	t.end()
	t.Stop()
	return t.source.Close()
}

// trusted reports whether a folder lies at or above one that people chose: there
// links are theirs, and are followed.
func (t *target) trusted(dir string) bool {
	for _, root := range t.roots {
		if root == dir || below(root, dir) {
			return true
		}
	}
	return dir == "/"
}

// temp is the name beside a path for a mark, or for what stands aside: one that a later
// attempt finds.
func (t *target) temp(name, purpose string) string {
	return t.tempPrefix() + hashOf(name) + "-" + purpose
}

// tempNew is a name for a file that is being written. Nobody knows it before: whoever
// could would put a link in its place, which servers follow.
func (t *target) tempNew() string {
	return t.tempPrefix() + t.nonce + "-" + random(8) + "-" + purposeNew
}

// tempPrefix begins all of the job's temporary names.
func (t *target) tempPrefix() string { return connectors.TempPrefix + t.opts.JobID + "-" }

const (
	purposeNew = "new" // a file that is being written
	purposeOld = "old" // one that is being replaced, where a server cannot do that at one stroke
	purposeDir = "dir" // the mark of a folder that is not whole
)
