package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
)

// rangeReader writes a segment that is a range of the artifact's tar stream. It
// reads the members in it, to check their hashes, and passes on the frames as
// they come by.
type rangeReader struct {
	x   *Export
	ctx context.Context
	out *rangeWriter
	s   *segment

	begin int64 // where in the tar stream the output begins
	span  *tarSpan
	buf   []byte
}

func (r *rangeReader) run() error {
	if err := r.locate(); err != nil {
		return err
	}
	it, err := r.x.r.seek(r.s.first.Path)
	if err != nil {
		return err
	}
	defer func() {
		if r.span != nil {
			r.span.close()
		}
	}()
	e, err := it.nextStored()
	for err == nil && e != nil && e.at.tarOffset() < r.s.to {
		var next *Entry
		if next, err = it.nextStored(); err != nil {
			break
		}
		end := r.s.to
		if next != nil {
			end = min(end, next.at.tarOffset())
		}
		if end > r.begin {
			err = r.member(e, end)
		}
		e = next
	}
	return err
}

// locate finds out where to begin for a range that begins within the segment.
func (r *rangeReader) locate() error {
	r.begin = r.s.from
	skip := r.out.from - r.s.out
	if skip <= 0 {
		return nil
	}
	if !r.x.zstd {
		r.begin += skip
		r.out.pos = r.out.from
		return nil
	}
	pos := r.s.out
	return r.x.r.eachFrame(r.s.from, r.s.to, func(at frameMark, f seekFrame) bool {
		length := pieceSize(at, f, r.s.from, r.s.to)
		if pos+length > r.out.from {
			r.begin, r.out.pos = max(at.tar, r.s.from), pos
			return false
		}
		pos += length
		return true
	})
}

// member reads one member, of which the last bytes at least are wanted, up to
// where the next one begins.
func (r *rangeReader) member(e *Entry, end int64) error {
	if r.span == nil {
		if r.begin-e.at.tarOffset() > maxRecheck {
			return r.rest(end)
		}
		r.open(frameMark{offset: e.at.frame.offset, tar: e.at.frame.tar})
		if err := r.skip(e, e.at.within); err != nil {
			return err
		}
	}
	if r.span.offset != e.at.tarOffset() {
		return fmt.Errorf("%w: %s: the index points elsewhere in the tar stream", ErrCorrupt, Escape(e.Path))
	}
	m, err := openMember(r.span, e)
	if err != nil {
		return err
	}
	if err := r.check(m); err != nil {
		return err
	}
	if end-r.span.offset != padding(r.span.offset) {
		return fmt.Errorf("%w: something stands behind %s", ErrCorrupt, Escape(e.Path))
	}
	return r.skip(e, end-r.span.offset)
}

// rest passes on the end of a member without checking it.
func (r *rangeReader) rest(end int64) error {
	at, err := r.x.r.frameAt(r.begin)
	if err != nil {
		return err
	}
	r.open(at)
	if err := r.span.skip(end - at.tar); err != nil {
		return fmt.Errorf("read tar stream: %w", err)
	}
	return nil
}

func (r *rangeReader) open(at frameMark) {
	ahead := fewAhead
	if r.s.to-max(r.begin, at.tar) > MaxFrame {
		// Each frame ahead is memory, and there are several downloads.
		const most = 6
		ahead = min(runtime.GOMAXPROCS(0)+2, most)
	}
	r.span = r.x.r.span(r.ctx, at.offset, at.tar, ahead)
	r.span.loaded = r.frame
}

func (r *rangeReader) skip(e *Entry, n int64) error {
	if err := r.span.skip(n); err != nil {
		if r.span.err != nil {
			err = r.span.err
		} else {
			err = fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
		return fmt.Errorf("read %s: %w", Escape(e.Path), err)
	}
	return nil
}

// check reads a member's content to its end, where its hash is looked at.
func (r *rangeReader) check(m *member) error {
	if !m.e.hasSum() {
		return nil
	}
	if r.buf == nil {
		r.buf = make([]byte, readSize)
	}
	for {
		_, err := m.Read(r.buf)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// frame passes on what of a frame is in the segment.
func (r *rangeReader) frame(sealed, plain []byte, at int64) error {
	from, to := max(at, r.begin), min(at+int64(len(plain)), r.s.to)
	if from >= to {
		return nil
	}
	piece := plain[from-at : to-at]
	switch {
	case !r.x.zstd:
		return r.out.write(piece)
	case len(piece) == len(plain):
		return r.out.write(sealed)
	default:
		return (&storedEncoder{w: r.out, left: int64(len(piece))}).write(piece)
	}
}

// nextStored is next without what the tar stream does not have.
func (it *iterator) nextStored() (*Entry, error) {
	for {
		e, err := it.next()
		if err != nil || e == nil || e.Stored() {
			return e, err
		}
	}
}

// eachFrame visits the data frames that hold a range of the tar stream, until
// visit returns false.
func (r *Reader) eachFrame(from, to int64, visit func(frameMark, seekFrame) bool) error {
	at, err := r.frameAt(from)
	if err != nil {
		return err
	}
	rest := r.tail
	rest.frames -= at.number
	table := newSeekTableReader(io.NewSectionReader(r.plain, at.number*seekEntry, r.plainSize), rest)
	for at.tar < to {
		f, err := table.next()
		if err != nil {
			return fmt.Errorf("%w: the seek table ends too early", ErrCorrupt)
		}
		if f.plain > 0 && !visit(at, f) {
			return nil
		}
		at = at.after(f)
	}
	return nil
}
