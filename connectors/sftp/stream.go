package sftp

import (
	"errors"
	"fmt"
	"io"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// stream is the content of a large file: several reads are on their way while
// the first of them is consumed. It delivers exactly size bytes or an error.
type stream struct {
	r      *reader
	sl     *slot
	handle string
	held   bool       // the handle counts among the reader's
	opened wire.Attrs // when it was opened
	size   int64      // as announced

	window  int64  // how much to have on its way
	asked   int64  // up to where reads were asked for
	at      int64  // up to where the content was consumed
	pending []span // reads on their way, in order
	now     []byte // rest of the read that is being consumed
	buf     []byte // the buffer that now is part of
	end     *wire.Call
	changed bool
	tries   int // how often it was looked for again
	err     error
}

// span is one read of a stream.
type span struct {
	call *wire.Call
	buf  []byte
	at   int64
}

// checkEnd is from which size on the last byte is looked at before the size is
// believed: a size that is a lie would be filled up with zeros.
const checkEnd = 64 << 20

// startStream opens a large file and begins to read it.
func (r *reader) startStream(sl *slot) {
	handle, err := r.s.Open(sl.path).Handle()
	if err != nil {
		r.handles.Release(1)
		r.lost(sl, err)
		return
	}
	st := &stream{r: r, sl: sl, handle: handle, held: true, size: sl.item.Size, window: streamAhead}
	look := r.s.Fstat(handle)
	st.fill()
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
	st := &stream{r: r, sl: sl, handle: handle, window: streamAhead}
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

// announce fixes the size that the header tells.
func (st *stream) announce(now wire.Attrs) {
	r, sl := st.r, st.sl
	if now.Size > maxSize {
		sl.refuse(job.Errorf(job.Internal, "%q has an impossible size of %d bytes, says the server", sl.path, now.Size))
		return
	}
	st.opened, st.size = now, int64(now.Size)
	sl.describe(entry.File, merge(now, sl.listed))
	if st.size != int64(min(sl.listed.Size, maxSize)) {
		// What was asked for was cut to the listed size.
		st.drop(st.pending)
		st.pending, st.asked, st.end = nil, 0, nil
	}
	if st.size < checkEnd {
		return
	}
	switch _, err := r.s.Read(st.handle, st.size-1, make([]byte, 1)).Data(); {
	case err == nil:
	case !wire.IsStatus(err):
		sl.fatal = err
	case errors.Is(err, io.EOF):
		sl.refuse(job.Errorf(job.SourceChanged, "%q should have %d bytes, says the server, but ends before that", sl.path, st.size))
	default:
		sl.refuse(unreadable(sl.path, r.config.Username, err))
	}
}

// fill asks for as much as the window allows.
func (st *stream) fill() {
	for st.asked < st.size && st.asked-st.at < st.window {
		buf := st.r.buffer(st.size - st.asked)
		st.pending = append(st.pending, span{st.r.s.Read(st.handle, st.asked, buf), buf, st.asked})
		st.asked += int64(len(buf))
	}
	if st.asked >= st.size && st.end == nil {
		st.end = st.r.s.Fstat(st.handle)
	}
}

// Read implements io.Reader with the endings that package entry names.
func (st *stream) Read(p []byte) (int, error) {
	for len(st.now) == 0 {
		if st.err == nil {
			st.err = st.advance()
		}
		if st.err != nil {
			return 0, st.err
		}
	}
	n := copy(p, st.now)
	st.now = st.now[n:]
	st.at += int64(n)
	return n, nil
}

// advance waits for the next read.
func (st *stream) advance() error {
	st.r.recycle(st.buf)
	st.buf = nil
	if st.at == st.size {
		return st.finish()
	}
	st.fill()
	next := st.pending[0]
	n, err := next.call.Data()
	if err == nil {
		n, err = st.fillGap(next, n)
	}
	switch {
	case err == nil:
		st.pending = st.pending[1:]
		st.buf, st.now = next.buf, next.buf[:n]
		return nil
	case errors.Is(err, io.EOF):
		return st.shrank()
	case wire.IsStatus(err):
		e := unreadable(st.sl.path, st.r.config.Username, err)
		return &entry.ContentError{Code: string(e.Code), Err: e}
	default:
		return st.broken(err)
	}
}

// broken ends the whole reading, whatever the visit makes of its body's error.
func (st *stream) broken(err error) error {
	st.sl.fatal = st.r.problem(err)
	return st.sl.fatal
}

// fillGap asks again for what a read was short of: a server may bring less than
// it was asked for without being at the end.
func (st *stream) fillGap(s span, n int) (int, error) {
	short := int64(n)
	for n < len(s.buf) {
		more, err := st.r.s.Read(st.handle, s.at+int64(n), s.buf[n:]).Data()
		if errors.Is(err, io.EOF) && n > 0 {
			// What is there is delivered; the next read sees the end.
			st.cut(s.at + int64(n))
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		st.r.learnChunk(short)
		n += more
	}
	return n, nil
}

// cut makes reads start again from an offset: those after it are thrown away.
func (st *stream) cut(at int64) {
	first := st.pending[0]
	st.drop(st.pending[1:])
	st.pending = []span{first}
	st.asked, st.end = at, nil
}

// finish is the end of the announced size.
func (st *stream) finish() error {
	if st.end == nil {
		st.fill()
	}
	now, err := st.end.Attrs()
	if err != nil && !wire.IsStatus(err) {
		return st.broken(err)
	}
	if st.changed || err == nil && !sameFile(now, st.opened) {
		return entry.ErrChanged
	}
	return io.EOF
}

// shrank is when a file ends before its announced size. It may be being written
// anew, so it is looked for again.
func (st *stream) shrank() error {
	st.drop(st.pending)
	st.pending = nil
	// Counted over the whole stream: a server may go on to promise more than it
	// has.
	for st.tries < carefulTries {
		st.tries++
		if !st.r.pause(st.tries) {
			return st.broken(st.r.ctx.Err())
		}
		ok, err := st.reopen()
		if err != nil {
			return st.broken(err)
		}
		if ok {
			st.asked, st.end, st.changed = st.at, nil, true
			st.fill()
			return nil
		}
	}
	return &entry.ContentError{
		Code: string(job.SourceChanged),
		Err:  fmt.Errorf("%q ended after %d of its %d bytes while it was read", st.sl.path, st.at, st.size),
	}
}

// reopen opens the file again; true if it is long enough now.
func (st *stream) reopen() (bool, error) {
	r := st.r
	at, state, err := r.look(st.sl)
	if err != nil {
		return false, err
	}
	if kind, ok := kindOf(at, 0); state != isThere || !ok || kind != entry.File {
		return false, nil
	}
	handle, err := r.s.Open(st.sl.path).Handle()
	if err != nil {
		return false, statusOnly(err)
	}
	now, err := r.s.Fstat(handle).Attrs()
	if err != nil || now.Size < uint64(st.size) {
		r.s.CloseHandle(handle)
		return false, statusOnly(err)
	}
	r.s.CloseHandle(st.handle)
	st.handle, st.opened = handle, now
	return true, nil
}

// statusOnly passes on what concerns more than one entry.
func statusOnly(err error) error {
	if err == nil || wire.IsStatus(err) {
		return nil
	}
	return err
}

// close gives everything back. The buffers of reads on their way belong to the
// connection until those are answered.
func (st *stream) close() {
	st.drop(st.pending)
	st.pending = nil
	st.r.recycle(st.buf)
	st.buf, st.now = nil, nil
	if st.handle == "" {
		return
	}
	st.r.s.CloseHandle(st.handle)
	st.handle = ""
	if st.held {
		st.r.handles.Release(1)
	}
	if st.err == nil {
		st.err = io.ErrClosedPipe
	}
}

func (st *stream) drop(spans []span) {
	for _, s := range spans {
		_, _ = s.call.Data() // only its buffer is of interest
		st.r.recycle(s.buf)
	}
}

// buffer gives a buffer for a read of at most n bytes.
func (r *reader) buffer(n int64) []byte {
	length := min(n, r.chunk.Load())
	select {
	case b := <-r.spare:
		if int64(cap(b)) >= length {
			return b[:length]
		}
	default:
	}
	return make([]byte, length, max(length, min(r.chunk.Load(), r.longest)))
}

func (r *reader) recycle(b []byte) {
	if b == nil {
		return
	}
	select {
	case r.spare <- b[:0]:
	default:
	}
}
