package sftp

import (
	"context"
	"errors"
	"io"
	"time"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// carefulTries is how often a file is read that changes while it is read.
const carefulTries = 3

func errBecameDir(path string) *job.Error {
	return job.Errorf(job.SourceChanged, "%q was a file or a link when it was listed and a folder when it was read; the next backup will have it", path)
}

// fetchCarefully reads a file whose quick reading did not come out as it was
// listed: step by step, looking where it is and whether it stands still. Only one
// file at a time is read so, with a handle that is not counted.
func (r *reader) fetchCarefully(sl *slot) {
	r.slow.Lock()
	defer r.slow.Unlock()
	var kept *careful
	var last error
	for try := range carefulTries {
		if try > 0 && !r.pause(try) {
			sl.fatal = context.Cause(r.ctx)
			return
		}
		now, state, err := r.look(sl)
		if err != nil {
			sl.fatal = err
			return
		}
		if state == isGone {
			r.gone(sl)
			return
		}
		if kind, ok := kindOf(now, 0); ok && kind != entry.File && state == isThere {
			r.becomes(sl, now, kind)
			return
		}
		got, err := r.readWhole(sl.path)
		switch {
		case err != nil && !wire.IsStatus(err):
			sl.fatal = err
			return
		case errors.Is(err, wire.ErrPermission):
			sl.refuse(unreadable(sl.path, r.config.Username, err))
			return
		case err != nil:
			last = err
		case got.large:
			r.streamAfterAll(sl, got)
			return
		case got.still:
			r.settleCareful(sl, got, false)
			return
		default:
			kept = got
		}
	}
	switch {
	case kept != nil:
		r.settleCareful(sl, kept, true)
	case errors.Is(last, wire.ErrNotExist):
		sl.refuse(job.Errorf(job.SourceChanged, "%q is listed but does not open; it may be being replaced all the time", sl.path))
	default:
		sl.refuse(unreadable(sl.path, r.config.Username, last))
	}
}

// settleCareful makes the header as true as it can be.
func (r *reader) settleCareful(sl *slot, got *careful, changed bool) {
	sl.describe(entry.File, merge(got.attrs, sl.listed))
	sl.item.Size = int64(len(got.data))
	sl.content, sl.whole = content{rest: got.data, changed: changed}, true
}

// merge takes what the open file tells, and from the listing what it does not.
func merge(now, listed wire.Attrs) wire.Attrs {
	if !now.HasSize {
		now.HasSize, now.Size = listed.HasSize, listed.Size
	}
	if !now.HasOwner {
		now.HasOwner, now.UID, now.GID = listed.HasOwner, listed.UID, listed.GID
	}
	if !now.HasMode {
		now.HasMode, now.Mode = listed.HasMode, listed.Mode
	}
	if !now.HasTimes {
		now.HasTimes, now.ModTime = listed.HasTimes, listed.ModTime
	}
	return now
}

// careful is one careful reading of a file.
type careful struct {
	data  []byte
	attrs wire.Attrs
	still bool // its size and time did not change, and the size is what came
	large bool // it is too large to be held
}

// readWhole reads a file up to the size of a small one.
func (r *reader) readWhole(path string) (*careful, error) {
	handle, err := r.s.Open(path).Handle()
	if err != nil {
		return nil, err
	}
	// Closed without waiting: nothing depends on it.
	defer r.s.CloseHandle(handle)
	before, beforeErr := r.s.Fstat(handle).Attrs()
	if beforeErr != nil && !wire.IsStatus(beforeErr) {
		return nil, beforeErr
	}
	c := &careful{attrs: before}
	if c.data, err = r.readToEnd(handle); err != nil {
		return nil, err
	}
	if int64(len(c.data)) > r.options.SmallFile {
		c.large = true
		return c, nil
	}
	after, afterErr := r.s.Fstat(handle).Attrs()
	if afterErr != nil && !wire.IsStatus(afterErr) {
		return nil, afterErr
	}
	if beforeErr != nil || afterErr != nil {
		c.still = true // the server cannot tell
		return c, nil
	}
	c.attrs = after
	c.still = sameFile(after, before) && after.Size == uint64(len(c.data))
	return c, nil
}

// readToEnd reads until the server says that the file ends, or one byte more
// than a small file has.
func (r *reader) readToEnd(handle string) ([]byte, error) {
	limit := r.options.SmallFile + 1
	var data []byte
	short := int64(0) // length of a read that was short of what was asked for
	for int64(len(data)) < limit {
		part := make([]byte, min(r.chunk.Load(), limit-int64(len(data))))
		n, err := r.s.Read(handle, int64(len(data)), part).Data()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if short > 0 {
			r.learnChunk(short)
		}
		data = append(data, part[:n]...)
		if n < len(part) {
			short = int64(n)
		}
	}
	return data, nil
}

// learnChunk makes reads shorter for a server that never serves longer ones. A
// length that is not round is that of a file which happened to grow.
func (r *reader) learnChunk(n int64) {
	if n >= 4<<10 && n%1024 == 0 && n < r.chunk.Load() {
		r.chunk.Store(n)
	}
}

// pause waits a moment before the next try; false when the reading is over.
func (r *reader) pause(try int) bool {
	timer := time.NewTimer(20 * time.Millisecond << try)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-r.ctx.Done():
		return false
	}
}
