package sftp

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/connectors/sftp/shell"
	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// reader reads a source once. One goroutine walks the tree in order and makes a
// slot of each entry; the slots' content is fetched by many at once; the caller's
// goroutine visits the slots in order. What is held at once is bounded three ways:
// by slots, by open files, by bytes. Each is taken in the order of the walk, so
// that the slot whose turn it is always has what it needs.
type reader struct {
	*source
	s      *session
	ctx    context.Context //nolint:containedctx // of the one call to Read that this reader lives for
	cancel context.CancelCauseFunc
	owners *owners
	lister *lister
	tars   *tarFetch // nil where small files come over SFTP
	links  links

	slots   chan *slot
	handles *semaphore.Weighted // open files
	ahead   *semaphore.Weighted // bytes of content
	chunk   atomic.Int64        // length of one read
	longest int64               // what it was at first
	spare   chan []byte         // chunk buffers to use again
	slow    sync.Mutex          // one file at a time is read the careful way
	running sync.WaitGroup

	vanished atomic.Int64
	stored   int64      // entries visited, but for folders
	broken   int64      // visited with an error
	firstErr *job.Error // of those
}

const (
	maxSlots = 2048
	// maxVanished is how many entries may go while they are being backed up, as
	// temporary files do. More look like a disk that was unmounted on the source:
	// from then on each counts as one that could not be read.
	maxVanished = 1000
	// streamAhead is how much of a large file is held before its turn.
	streamAhead = 1 << 20
	// farAhead is the same where one round trip brings much.
	farAhead = 4 << 20
	// leastCharge is what even an empty file costs while it is held.
	leastCharge = 4 << 10
)

func newReader(src *source, s *session) *reader {
	o, limits := src.options, s.Limits()
	r := &reader{source: src, s: s, owners: newOwners(s), slots: make(chan *slot, maxSlots)}
	r.links.first = map[inode]*firstName{}
	r.lister = newLister(s, o, src.excludes, r.owners)
	r.handles = semaphore.NewWeighted(fileHandles(o, limits))
	r.ahead = semaphore.NewWeighted(max(o.Ahead, o.SmallFile+leastCharge, farAhead))
	r.longest = int64(limits.ReadLength)
	r.chunk.Store(r.longest)
	r.spare = make(chan []byte, (o.Window+o.Stretch)/int64(limits.ReadLength)+4)
	return r
}

// fileHandles leaves room for folders and for files read the careful way.
func fileHandles(o Options, l wire.Limits) int64 {
	allowed := l.OpenHandles
	if allowed == 0 {
		allowed = 128 // of a server that does not tell
	}
	return int64(max(1, min(o.Handles, allowed-maxActive-8)))
}

// slot is an entry on its way.
type slot struct {
	path   string // absolute
	root   string // the configured path that it belongs to
	item   connectors.Item
	listed wire.Attrs
	fine   precise

	batch   *tarBatch     // that its content comes with; what is below follows then
	want    shell.Want    // of that batch
	first   *firstName    // later names of the file are links to this one
	other   *firstName    // it is such a later name
	ready   chan struct{} // nil: it is ready; closed when the rest is set
	link    *wire.Call    // a link's target, still to be had
	content content
	whole   bool // content is set
	stream  *stream
	charge  int64 // bytes held until it was visited
	owned   bool  // its owners are known, so that they have names
	fatal   error // the whole reading ends
}

func (r *reader) run(ctx context.Context, roots []*root, visit func(connectors.Item) error) error {
	r.ctx, r.cancel = context.WithCancelCause(ctx)
	r.owners.learnRoots(roots)
	var walkErr error
	r.running.Go(func() {
		defer close(r.slots)
		walkErr = r.walk(roots)
		r.tars.finish()
	})
	err := r.visitAll(visit)
	if err != nil {
		// Nothing more is wanted; whoever waits for the server is let go.
		r.cancel(err)
		r.s.end(err)
		for sl := range r.slots {
			r.discard(sl)
		}
	}
	r.running.Wait()
	r.lister.close()
	r.cancel(nil)
	if err == nil {
		err = walkErr
	}
	if err == nil {
		err = r.conclude()
	}
	return err
}

// visitAll visits slots in order. The walk's own error is found by run.
func (r *reader) visitAll(visit func(connectors.Item) error) error {
	for sl := range r.slots {
		if err := r.settle(sl); err != nil {
			r.discard(sl)
			return err
		}
		if r.ctx.Err() != nil {
			r.discard(sl)
			return context.Cause(r.ctx)
		}
		r.count(sl)
		err := visit(sl.item)
		r.noteName(sl)
		if err == nil {
			err = sl.fatal
		}
		r.discard(sl)
		if err != nil {
			return err
		}
	}
	return nil
}

// settle waits until a slot has all that a visit needs.
func (r *reader) settle(sl *slot) error {
	if sl.batch != nil {
		if err := r.tars.await(sl.batch); err != nil {
			return err
		}
		if sl.want.Good {
			sl.content, sl.whole = content{rest: sl.want.Data}, true
		}
	}
	if sl.ready != nil {
		if err := r.await(sl.ready); err != nil {
			return err
		}
	}
	if sl.link != nil {
		r.settleLink(sl)
	}
	r.settleName(sl)
	if sl.fatal != nil {
		return r.s.cause(sl.fatal)
	}
	if sl.owned {
		sl.item.User, sl.item.Group = r.owners.names(uint32(sl.item.UID), uint32(sl.item.GID))
	}
	readable := !sl.item.Vanished && sl.item.Err == nil
	switch {
	case !readable:
	case sl.whole:
		sl.item.Body = &sl.content
	case sl.stream != nil:
		sl.stream.turn = true
		sl.item.Body = sl.stream
	}
	return nil
}

// await waits for a slot, and lets it be known if that takes time.
func (r *reader) await(ready <-chan struct{}) error {
	select {
	case <-ready:
		return nil
	default:
	}
	r.s.waits.start()
	defer r.s.waits.stop()
	select {
	case <-ready:
		return nil
	case <-r.ctx.Done():
		return context.Cause(r.ctx)
	}
}

// discard gives back what a slot holds.
func (r *reader) discard(sl *slot) {
	if sl.batch != nil {
		<-sl.batch.Done
		sl.batch.release()
	}
	if sl.ready != nil {
		<-sl.ready
	}
	if sl.stream != nil {
		sl.stream.close()
	}
	r.ahead.Release(sl.charge)
	sl.charge = 0
}

func (r *reader) count(sl *slot) {
	switch {
	case sl.item.Err != nil:
		r.broken++
		if r.firstErr == nil {
			r.firstErr = sl.item.Err
		}
	case sl.item.Kind != entry.Dir && !sl.item.Vanished:
		r.stored++
	}
}

// conclude judges a reading that came to its end: nothing at all is no success.
func (r *reader) conclude() error {
	if n := r.vanished.Load(); n > 0 {
		r.env.Log.Warn("entries vanished before they could be read and are not in the backup", slog.Int64("entries", n))
	}
	switch {
	case r.stored > 0:
		return nil
	case r.firstErr != nil:
		return job.Errorf(r.firstErr.Code, "nothing could be read at all: %s", r.firstErr.Message)
	case len(r.config.Exclude) > 0:
		return job.Errorf(job.SourceEmpty, "there is no file in the configured paths that is not excluded; check paths and exclude")
	default:
		return job.Errorf(job.SourceEmpty, "there is no file in the configured paths; if that is right, there is nothing to back up")
	}
}

// content is a small file that was read whole.
type content struct {
	rest    []byte
	changed bool
}

func (c *content) Read(p []byte) (int, error) {
	if len(c.rest) > 0 {
		n := copy(p, c.rest)
		c.rest = c.rest[n:]
		return n, nil
	}
	if c.changed {
		return 0, entry.ErrChanged
	}
	return 0, io.EOF
}

// gone notes an entry that is no longer there.
func (r *reader) gone(sl *slot) {
	if r.vanished.Add(1) > maxVanished {
		sl.refuse(job.Errorf(job.SourceChanged, "%q vanished before it could be read, as did %d others: is a disk still mounted there?", sl.path, maxVanished))
		return
	}
	sl.item.Vanished = true
}

// refuse visits an entry with an error.
func (sl *slot) refuse(err *job.Error) { sl.item.Err = err }

// isStatus: the server answered, so that only this entry is concerned.
func isStatus(err error) bool {
	var crowd *notDirError
	return wire.IsStatus(err) || errors.As(err, &crowd)
}
