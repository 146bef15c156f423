package archive

import "context"

// noFrame is no data frame's number.
const noFrame = -1

// tarStream cuts the tar stream into frames and puts index blocks between them.
type tarStream struct {
	pipe    *pipeline
	builder indexBuilder
	entries int64 // in the index so far

	cur    *slot
	number int64 // of the current data frame
	start  int64 // offset of its first byte in the tar stream
	offset int64 // where the tar stream ends so far
	marked bool  // an entry begins in the current frame
	effort effort

	open    int64 // number of the frame in which the last member begins, or noFrame
	at      int64 // and the member's offset in it
	pending bool  // the last member is not in the index yet
}

// space gives the free part of the current frame, which is never empty.
func (t *tarStream) space(ctx context.Context) ([]byte, error) {
	if t.cur != nil && len(t.cur.in) == cap(t.cur.in) {
		if err := t.cut(ctx); err != nil {
			return nil, err
		}
	}
	if t.cur == nil {
		s, err := t.pipe.slot(ctx)
		if err != nil {
			return nil, err
		}
		t.cur, t.start = s, t.offset
	}
	return t.cur.in[len(t.cur.in):cap(t.cur.in)], nil
}

// advance takes n bytes that were put into space.
func (t *tarStream) advance(n int) {
	t.cur.in = t.cur.in[:len(t.cur.in)+n]
	t.offset += int64(n)
}

func (t *tarStream) write(ctx context.Context, b []byte) error {
	for len(b) > 0 {
		space, err := t.space(ctx)
		if err != nil {
			return err
		}
		n := copy(space, b)
		t.advance(n)
		b = b[n:]
	}
	return nil
}

// zeros writes n zero bytes and tells each piece to seen.
func (t *tarStream) zeros(ctx context.Context, n int64, seen func([]byte)) error {
	for n > 0 {
		space, err := t.space(ctx)
		if err != nil {
			return err
		}
		piece := space[:min(n, int64(len(space)))]
		clear(piece)
		seen(piece)
		t.advance(len(piece))
		n -= int64(len(piece))
	}
	return nil
}

// pad fills the last block of a member's content.
func (t *tarStream) pad(ctx context.Context, size int64) error {
	return t.write(ctx, zeroBlock[:padding(size)])
}

// member begins an entry: its first header. size is that of its content.
func (t *tarStream) member(ctx context.Context, header []byte, size int64) error {
	if _, err := t.space(ctx); err != nil {
		return err
	}
	t.open, t.at, t.pending = t.number, t.offset-t.start, true
	t.marked = true
	t.effort.begin(size)
	return t.write(ctx, header)
}

// index puts an entry into the index. Where it is stored, it is the last
// member begun.
func (t *tarStream) index(ctx context.Context, e *Entry) error {
	e.at = location{stored: t.pending, within: t.at}
	t.builder.add(e, t.open)
	t.entries++
	t.pending, t.open = false, noFrame
	if t.builder.size() < capIndexAt {
		return nil
	}
	return t.cut(ctx)
}

// cut ends the current frame, and the index block if it is large enough.
func (t *tarStream) cut(ctx context.Context) error {
	if t.cur != nil && len(t.cur.in) > 0 {
		done := &task{slot: t.cur, number: t.number, tar: t.start, marked: t.marked}
		t.cur, t.marked = nil, false
		t.effort.next(done)
		t.number++
		if err := t.pipe.put(ctx, done); err != nil {
			return err
		}
	}
	if t.builder.size() < flushIndexAt {
		return nil
	}
	return t.flushIndex(ctx)
}

// flushIndex puts out what the index has gathered. Every frame that it names
// has been put before.
func (t *tarStream) flushIndex(ctx context.Context) error {
	if t.builder.size() == 0 {
		return nil
	}
	block := t.builder.take()
	return t.pipe.put(ctx, &task{block: &block, keep: t.open})
}
