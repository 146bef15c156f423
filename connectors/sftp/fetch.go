package sftp

import (
	"errors"
	"io"

	"golang.org/x/sync/semaphore"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
)

// putFile hands a file on and starts to fetch it.
func (r *reader) putFile(sl *slot) error {
	if !sl.listed.HasSize {
		sl.listed.Size = 0 // the careful way finds out
	}
	small := sl.item.Size <= r.options.SmallFile
	charge := int64(streamAhead)
	if small {
		charge = max(sl.item.Size+1, leastCharge)
	} else if len(r.s.all()) > 1 && !r.s.near() {
		charge = min(sl.item.Size, farAhead)
	}
	if err := r.ahead.Acquire(r.ctx, charge); err != nil {
		return r.problem(err)
	}
	sl.charge = charge
	if small && r.tars != nil && r.tars.add(sl) {
		return r.put(sl)
	}
	if err := r.handles.Acquire(r.ctx, 1); err != nil {
		r.discard(sl)
		return r.problem(err)
	}
	if !small {
		r.expect(sl)
	}
	sl.ready = make(chan struct{})
	r.running.Go(func() {
		defer close(sl.ready)
		if small {
			r.fetchSmall(sl, r.handles)
		} else {
			r.startStream(sl)
		}
	})
	return r.put(sl)
}

// expect lets lanes that are opened from now on open a large file with their first words,
// before its turn, and has them opened at once where one is known to be too few. Tars,
// where there are any, have the first claim to channels.
func (r *reader) expect(sl *slot) {
	if sl.item.Size >= worthStriping {
		r.s.wanted.CompareAndSwap(nil, &sl.path)
	}
	if sl.item.Size >= manyWindows && r.tars == nil {
		r.s.met.Do(func() { close(r.s.large) })
	}
}

// fetchSmall reads a whole file in two round trips: one opens it, and in the
// second everything else is asked for at once. The file counts among handles until
// it is closed.
func (r *reader) fetchSmall(sl *slot, handles *semaphore.Weighted) {
	l := r.s.lightest()
	l.load.Add(sl.charge)
	defer l.load.Add(-sl.charge)
	handle, err := l.Open(sl.path).Handle()
	if err != nil {
		handles.Release(1)
		r.lost(sl, err)
		return
	}
	size := int(sl.item.Size)
	buf := make([]byte, size+1) // one more, to see the end
	calls := r.readSpan(l, handle, buf)
	after := l.Fstat(handle)
	l.CloseHandle(handle)
	// The lane's server closes the file before it opens whatever comes next.
	handles.Release(1)
	n, err := gather(calls)
	now, statErr := after.Attrs()
	switch {
	case err != nil && !wire.IsStatus(err):
		sl.fatal = err
	case statErr != nil && !wire.IsStatus(statErr):
		sl.fatal = statErr
	case err == nil && n == size && statErr == nil && sameFile(now, sl.listed):
		sl.content, sl.whole = content{rest: buf[:n]}, true
	default:
		r.fetchCarefully(sl)
	}
}

// spanCall is one of several reads that make up a span.
type spanCall struct {
	*wire.Call
	length int
}

// readSpan asks for all of buf at once.
func (r *reader) readSpan(l *lane, handle string, buf []byte) []spanCall {
	chunk, offset := int(r.chunk.Load()), int64(0)
	calls := make([]spanCall, 0, len(buf)/chunk+1)
	for len(buf) > 0 {
		part := buf[:min(len(buf), chunk)]
		calls = append(calls, spanCall{l.Read(handle, offset, part), len(part)})
		buf, offset = buf[len(part):], offset+int64(len(part))
	}
	return calls
}

// gather waits for every read of a span and tells how many bytes came without a
// gap. A read that brings less than it asked for ends that, whatever the next
// ones bring: it may be the end of the file or not. The end is no error.
func gather(calls []spanCall) (n int, err error) {
	open := true
	for _, call := range calls {
		got, callErr := call.Data()
		if callErr != nil && !errors.Is(callErr, io.EOF) && err == nil {
			err = callErr
		}
		if open {
			n += got
		}
		open = open && got == call.length
	}
	return n, err
}

// sameFile reports whether an open file is the one that was listed, unchanged.
func sameFile(now, listed wire.Attrs) bool {
	return listed.HasSize && now.HasSize && now.Size == listed.Size &&
		(!now.HasTimes || !listed.HasTimes || now.ModTime == listed.ModTime) &&
		(!now.HasMode || now.Mode&wire.ModeType == 0 || now.Mode&wire.ModeType == wire.ModeRegular)
}

// lost deals with a file that does not open.
func (r *reader) lost(sl *slot, err error) {
	switch {
	case !wire.IsStatus(err):
		sl.fatal = err
	case errors.Is(err, wire.ErrPermission):
		sl.refuse(unreadable(sl.path, r.config.Username, err))
	default:
		r.fetchCarefully(sl)
	}
}

// becomes deals with a file that is something else by now.
func (r *reader) becomes(sl *slot, now wire.Attrs, kind entry.Kind) {
	switch kind {
	case entry.Dir:
		sl.refuse(errBecameDir(sl.path))
	case entry.Symlink:
		sl.describe(kind, now)
		sl.link = r.s.ReadLink(sl.path)
		r.settleLink(sl)
	default:
		sl.describe(kind, now)
	}
}

// settleLink waits for the target of a link.
func (r *reader) settleLink(sl *slot) {
	target, err := sl.link.Target()
	sl.link = nil
	switch {
	case err == nil:
		sl.item.LinkTarget = target
		return
	case !wire.IsStatus(err):
		sl.fatal = err
		return
	}
	now, state, lookErr := r.look(sl)
	kind, _ := kindOf(now, 0)
	switch {
	case lookErr != nil:
		sl.fatal = lookErr
	case state == isGone:
		r.gone(sl)
	case state == isThere && kind == entry.File:
		// Its turn is now: whoever waits for it has it read at once.
		sl.listed = now
		sl.describe(kind, now)
		r.fetchCarefully(sl)
	case state == isThere && kind == entry.Dir:
		sl.refuse(errBecameDir(sl.path))
	default:
		sl.refuse(unreadable(sl.path, r.config.Username, err))
	}
}
