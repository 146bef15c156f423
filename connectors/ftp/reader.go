package ftp

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"xvault/connectors"
	"xvault/connectors/ftp/lines"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// reader is one reading of a source. One goroutine walks and makes a slot for each
// entry; the content of small files is fetched by several at once; the caller's
// goroutine visits the slots in order, and reads large files itself. What is held is
// bounded by slots and by bytes, which are taken in the order of the walk, so that
// the slot whose turn it is always has what it needs.
type reader struct {
	*source
	ctx    context.Context //nolint:containedctx // of the one call to Read that this reader lives for
	cancel context.CancelCauseFunc
	lister *lister

	slots   chan *slot
	wanted  chan *slot // whose content is to be fetched
	ahead   *semaphore.Weighted
	running sync.WaitGroup
	recent  recent

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
	// leastCharge is what even an empty file costs while it is held.
	leastCharge = 4 << 10
)

// slot is an entry on its way.
type slot struct {
	path   string // absolute
	folder folder // that it is in
	line   lines.Line
	item   connectors.Item

	ready   chan struct{} // nil: it is ready; closed when the rest is set
	charge  int64         // bytes held until it was visited
	content content
	large   bool // it is read when its turn comes
	direct  bool // it is a configured link, which is followed
	stream  *stream
	fatal   error // the whole reading ends
}

func newSlot(in folder, line lines.Line) *slot {
	path := join(in.path, line.Name)
	return &slot{path: path, folder: in, line: line, item: connectors.Item{Header: header(path, &line)}}
}

// newFolderSlot is the slot of a folder by its own path.
func newFolderSlot(f folder, line lines.Line) *slot {
	line.Kind = entry.Dir
	return &slot{path: f.path, line: line, item: connectors.Item{Header: header(f.path, &line)}}
}

func newReader(ctx context.Context, cancel context.CancelCauseFunc, src *source) *reader {
	r := &reader{source: src, ctx: ctx, cancel: cancel, slots: make(chan *slot, maxSlots), wanted: make(chan *slot, maxSlots)}
	r.ahead = semaphore.NewWeighted(max(src.options.Ahead, src.options.SmallFile+leastCharge))
	r.lister = newLister(r)
	return r
}

func (r *reader) run(roots []*root, visit func(connectors.Item) error) error {
	var walkErr error
	listing, stopListing := context.WithCancel(r.ctx)
	defer stopListing()
	workers := r.options.Connections
	r.lister.start(listing, max(1, workers-1))
	r.running.Go(func() {
		defer close(r.slots)
		defer close(r.wanted)
		walkErr = r.walkNode(plant(roots))
	})
	for range workers {
		r.running.Go(r.fetchAll)
	}
	err := r.visitAll(visit)
	if err != nil {
		r.cancel(err) // nothing more is wanted; whoever waits for the server is let go
		for sl := range r.slots {
			r.discard(sl)
		}
	}
	r.running.Wait()
	stopListing()
	r.lister.running.Wait()
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
		err := r.settle(sl)
		if err == nil && r.ctx.Err() != nil {
			err = context.Cause(r.ctx)
		}
		if err == nil {
			r.count(sl)
			err = visit(sl.item)
		}
		if err == nil && sl.stream != nil {
			err = sl.stream.fatal
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
	if sl.ready != nil {
		select {
		case <-sl.ready:
		case <-r.ctx.Done():
			return context.Cause(r.ctx)
		}
	}
	if sl.fatal != nil {
		return sl.fatal
	}
	if sl.large && sl.item.Err == nil && !sl.item.Vanished {
		if err := r.openStream(sl); err != nil {
			return err
		}
	}
	switch {
	case sl.item.Vanished || sl.item.Err != nil || sl.item.Kind != entry.File:
	case sl.stream != nil:
		sl.item.Body = sl.stream
	default:
		sl.item.Body = &sl.content
	}
	return nil //nolint:nilerr // what is wrong with one entry stands in it
}

// discard gives back what a slot holds.
func (r *reader) discard(sl *slot) {
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

// gone notes an entry that is no longer there.
func (r *reader) gone(sl *slot) {
	if r.vanished.Add(1) > maxVanished {
		sl.item.Err = job.Errorf(job.SourceChanged, "%q vanished before it could be read, as did %d others: is a disk still mounted there?", sl.path, maxVanished)
		return
	}
	sl.item.Vanished = true
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
