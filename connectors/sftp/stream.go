package sftp

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"xvault/connectors/sftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// stream is the content of a large file: several reads are on their way while
// the first of them is consumed. It delivers exactly size bytes or an error.
type stream struct {
	r       *reader
	sl      *slot
	stripes []*stripe  // the first is always there; nil ones are of no use
	tried   int        // how many lanes were tried for stripes
	alone   bool       // only the first is used
	held    bool       // the first handle counts among the reader's
	found   wire.Attrs // when it was opened
	size    int64      // as announced

	turn    bool         // it is being visited
	window  int64        // how much to have on its way before that
	asked   int64        // up to where reads were asked for
	at      int64        // up to where the content was consumed
	pending []span       // reads on their way, in order
	now     []byte       // rest of the read that is being consumed
	buf     []byte       // the buffer that now is part of
	end     []*wire.Call // of all stripes that were read
	last    *wire.Call   // of the last byte of the listed size; nil where nobody asked
	changed bool
	tries   int // how often it was looked for again
	err     error
}

// span is one read of a stream.
type span struct {
	call *wire.Call
	buf  []byte
	at   int64
	from *stripe
}

// checkEnd is from which size on the last byte is looked at before the size is
// believed: a size that is a lie would be filled up with zeros.
const checkEnd = 64 << 20

// announce fixes the size that the header tells.
func (st *stream) announce(now wire.Attrs) {
	r, sl := st.r, st.sl
	if now.Size > maxSize {
		sl.refuse(job.Errorf(job.Internal, "%q has an impossible size of %d bytes, says the server", sl.path, now.Size))
		return
	}
	st.found, st.size = now, int64(now.Size)
	sl.describe(entry.File, merge(now, sl.listed))
	if st.size != int64(min(sl.listed.Size, maxSize)) {
		// What was asked for was cut to the listed size.
		st.drop(st.pending)
		st.pending, st.asked, st.end, st.last = nil, 0, nil, nil
	}
	if st.size < checkEnd {
		return
	}
	if st.last == nil {
		st.last = st.stripes[0].read(st.size-1, make([]byte, 1))
	}
	switch _, err := st.last.Data(); {
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
	window, open := st.window, 1
	if st.turn {
		open = st.widen()
		window = st.r.options.Window + min(st.r.s.stretch.taken.Load(), int64(open-1)*laneMemory)
	}
	if open == 1 && (st.r.s.mayWiden() || st.widening()) {
		window = min(window, laneWindow)
	}
	for st.asked < st.size && st.asked-st.at < window {
		buf := st.r.buffer(st.size - st.asked)
		from := st.lightest()
		from.lane.load.Add(int64(len(buf)))
		st.pending = append(st.pending, span{from.read(st.asked, buf), buf, st.asked, from})
		st.asked += int64(len(buf))
	}
	if st.asked >= st.size && st.end == nil {
		for _, s := range st.stripes {
			if s.open() && s.opening == nil {
				st.end = append(st.end, s.lane.Fstat(s.handle))
			}
		}
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
	n, err := st.await()
	next := st.pending[0]
	if next.from.opening != nil { // only now it becomes known of what it came
		st.opened(slices.Index(st.stripes, next.from))
		return nil
	}
	if err == nil && !st.proven(next.from) {
		st.again()
		return nil
	}
	if err == nil {
		n, err = st.fillGap(next, n)
	}
	switch {
	case err == nil:
		st.pending = st.pending[1:]
		next.from.lane.load.Add(-int64(len(next.buf)))
		st.buf, st.now = next.buf, next.buf[:n]
		return nil
	case wire.IsStatus(err) && len(st.stripes) > 1:
		st.again()
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

// await waits for the next read, and lets it be known if that takes time.
func (st *stream) await() (int, error) {
	next := st.pending[0]
	if next.call.Answered() || st.r.s.near() && next.from.opening == nil {
		return next.call.Data() // nearby no lane is opened for it, so that waiting for it does not count
	}
	st.r.s.waits.start()
	defer st.r.s.waits.stop()
	// What comes meanwhile is made use of: more lanes, more handles.
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for !st.pending[0].call.AnsweredBy(ticker.C) {
		st.fill()
	}
	return st.pending[0].call.Data()
}

// again asks for everything once more through the first handle: what is wrong
// with the file must show there.
func (st *stream) again() {
	st.drop(st.pending)
	st.pending = nil
	st.goAlone()
	st.asked, st.end = st.at, nil
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
		more, err := s.from.read(s.at+int64(n), s.buf[n:]).Data()
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
	st.goAlone()
	st.asked, st.end = at, nil
}

// finish is the end of the announced size.
func (st *stream) finish() error {
	if st.end == nil {
		st.fill()
	}
	for _, look := range st.end {
		now, err := look.Attrs()
		if err != nil && !wire.IsStatus(err) {
			return st.broken(err)
		}
		st.changed = st.changed || err == nil && !sameFile(now, st.found)
	}
	if st.changed {
		return entry.ErrChanged
	}
	return io.EOF
}

// shrank is when a file ends before its announced size. It may be being written
// anew, so it is looked for again.
func (st *stream) shrank() error {
	st.drop(st.pending)
	st.pending = nil
	st.goAlone()
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
	first := st.stripes[0]
	handle, err := first.lane.Open(st.sl.path).Handle()
	if err != nil {
		return false, statusOnly(err)
	}
	now, err := first.lane.Fstat(handle).Attrs()
	if err != nil || now.Size < uint64(st.size) {
		first.lane.CloseHandle(handle)
		return false, statusOnly(err)
	}
	first.lane.CloseHandle(first.handle)
	first.handle, st.found = handle, now
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
	st.unwant()
	if st.stripes == nil {
		return
	}
	st.goAlone()
	st.closeStripe(st.stripes[0])
	st.stripes = nil
	if st.held {
		st.r.handles.Release(1)
	}
	if st.err == nil {
		st.err = io.ErrClosedPipe
	}
}

func (st *stream) drop(spans []span) {
	for _, s := range spans {
		s.from.lane.load.Add(-int64(len(s.buf)))
		if !s.from.lane.Speaks() && !s.call.Answered() {
			continue // its server may never do so: the buffer is left to the call
		}
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
