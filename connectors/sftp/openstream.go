package sftp

import (
	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
)

// startStream opens a large file and begins to read it.
func (r *reader) startStream(sl *slot) {
	l := r.s.lightest()
	if r.s.near() {
		l = r.s.lane // one lane is quickest for it, and a server may end the first if that is idle
	}
	st, look, err := r.openStream(sl, l)
	if err != nil {
		r.s.wanted.CompareAndSwap(&sl.path, nil)
		r.handles.Release(1)
		r.lost(sl, err)
		return
	}
	now, err := look.Attrs()
	if err != nil {
		if !wire.IsStatus(err) {
			sl.fatal = err
		}
		now = sl.listed // a server that cannot tell
	}
	if sl.fatal == nil && !sameFile(now, sl.listed) && !r.stillThere(sl, now) {
		st.close()
		if sl.fatal == nil {
			r.fetchCarefully(sl)
		}
		return
	}
	if sl.fatal == nil {
		st.announce(now)
	}
	if sl.fatal != nil || sl.item.Err != nil {
		st.close()
		return
	}
	sl.stream = st
}

// openStream opens a file and asks for its beginning, and what it is. Far away it does so
// in one round trip, where the handle can be guessed: that of the first thing that a lane
// opens.
func (r *reader) openStream(sl *slot, l *lane) (*stream, *wire.Call, error) {
	opening, guess := l.Open(sl.path), ""
	if !r.s.near() {
		guess = r.s.guess(l.conn, opening)
	}
	var st *stream
	var look *wire.Call
	if guess != "" {
		st, look = r.beginStream(sl, l, guess)
	}
	handle, err := opening.Handle()
	if st != nil && !guessedRight(handle, err, guess, look) {
		st.drop(st.pending)
		st = nil
		if err == nil {
			r.s.misguessed.Store(true)
		}
	}
	if err == nil && st == nil {
		st, look = r.beginStream(sl, l, handle)
	}
	return st, look, err
}

// guessedRight reports whether a file was opened and has that handle, and the server knew
// that when it was asked what it is.
func guessedRight(handle string, err error, guess string, look *wire.Call) bool {
	if err != nil || handle != guess {
		return false
	}
	_, err = look.Attrs()
	return !wire.IsStatus(err)
}

// beginStream asks for the beginning of a file, and what it is.
func (r *reader) beginStream(sl *slot, l *lane, handle string) (*stream, *wire.Call) {
	st := &stream{r: r, sl: sl, stripes: []*stripe{{lane: l, handle: handle}}, held: true, size: sl.item.Size, window: sl.charge}
	look := l.Fstat(handle)
	if st.size >= checkEnd {
		st.last = l.Read(handle, st.size-1, make([]byte, 1))
	}
	st.fill()
	return st, look
}

// stillThere: a file that is another than the listed one must not be one that a
// link led to, and must still be a large one.
func (r *reader) stillThere(sl *slot, now wire.Attrs) bool {
	if !now.HasSize || int64(min(now.Size, maxSize)) <= r.options.SmallFile {
		return false
	}
	at, state, err := r.look(sl)
	if err != nil {
		sl.fatal = err
		return false
	}
	kind, ok := kindOf(at, 0)
	return state == isHidden || state == isThere && (!ok || kind == entry.File)
}

// streamAfterAll is for a file that turned out too large to be held.
func (r *reader) streamAfterAll(sl *slot, got *careful) {
	handle, err := r.s.Open(sl.path).Handle()
	if err != nil {
		if !wire.IsStatus(err) {
			sl.fatal = err
			return
		}
		sl.refuse(unreadable(sl.path, r.config.Username, err))
		return
	}
	st := &stream{r: r, sl: sl, stripes: []*stripe{{lane: r.s.lane, handle: handle}}, window: streamAhead}
	now, err := r.s.Fstat(handle).Attrs()
	if err != nil && !wire.IsStatus(err) {
		sl.fatal = err
	} else {
		// A file that has more content than its size says is one that the
		// server's kernel makes up: what was seen of it is stored.
		now = merge(now, got.attrs)
		now.HasSize, now.Size = true, max(now.Size, uint64(len(got.data)))
		st.announce(now)
	}
	if sl.fatal != nil || sl.item.Err != nil {
		st.close()
		return
	}
	sl.stream = st
}
