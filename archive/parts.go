package archive

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"

	"xvault/internal/entry"
)

// partName names the n-th part, counted from 1, of a member in parts.
func partName(path string, n int) string { return fmt.Sprintf("%s.part-%06d", path, n) }

// partPiece is how much of a part goes at once.
const partPiece = 256 << 10

// addStream stores a file whose length shows only at its end. A tar header
// needs the length before the content, so the content is gathered in memory,
// and cut into parts where it is more than one buffer holds.
func (w *Writer) addStream(ctx context.Context, h *entry.Header, body io.Reader) (Outcome, error) {
	if body == nil {
		return Outcome{}, fmt.Errorf("%s: unknown length and no content", Escape(h.Path))
	}
	if len(h.Path) > MaxPath-len(".part-")-20 {
		return Outcome{}, fmt.Errorf("%s: the path is too long for parts", Escape(h.Path))
	}
	if w.part == nil {
		w.part = make([]byte, 0, MaxPart)
	}
	w.sum.Reset()
	s := stream{body: body, buf: w.part, sum: w.sum}
	if err := w.addParts(ctx, h, &s); err != nil {
		return Outcome{}, fmt.Errorf("read %s: %w", Escape(h.Path), err)
	}
	if s.parts > 1 {
		s.end.flags |= entry.Parts
	}
	return w.stored(h, s.size, s.end), nil
}

func (w *Writer) addParts(ctx context.Context, h *entry.Header, s *stream) error {
	last, err := s.fill(func(int) (int, error) { return cap(s.buf), nil })
	for err == nil {
		s.parts++
		name := h.Path
		if s.parts > 1 || !last {
			name = partName(h.Path, s.parts)
		}
		header := w.headers.header(h, name, int64(len(s.buf)))
		if err := w.beginPart(ctx, header, s.parts == 1); err != nil {
			return err
		}
		if last {
			return w.endPart(ctx, s, s.buf, 0)
		}
		last, err = w.exchange(ctx, s)
	}
	return err
}

// exchange puts out the part at hand while the next one takes its place, piece by
// piece: compressors get their frames evenly, and whoever makes the content does not
// wait while a whole part goes.
func (w *Writer) exchange(ctx context.Context, s *stream) (last bool, err error) {
	part, out := s.buf, 0
	last, err = s.fill(func(in int) (int, error) {
		if out-in >= partPiece || out == len(part) {
			return out, nil
		}
		piece := part[out:min(out+partPiece, len(part))]
		out += len(piece)
		return out, w.putPart(ctx, s, piece)
	})
	if err != nil {
		return false, err
	}
	return last, w.endPart(ctx, s, part, out)
}

// endPart puts out the rest of a part.
func (w *Writer) endPart(ctx context.Context, s *stream, part []byte, from int) error {
	if err := w.putPart(ctx, s, part[from:]); err != nil {
		return err
	}
	return w.tar.pad(ctx, int64(len(part)))
}

func (w *Writer) putPart(ctx context.Context, s *stream, piece []byte) error {
	if err := w.tar.write(ctx, piece); err != nil {
		return err
	}
	s.size += int64(len(piece))
	w.bytes.Add(int64(len(piece)))
	return nil
}

func (w *Writer) beginPart(ctx context.Context, header []byte, first bool) error {
	if first {
		return w.tar.member(ctx, header, entry.SizeUnknown)
	}
	return w.tar.write(ctx, header)
}

// stream gathers a body into parts.
type stream struct {
	body  io.Reader
	sum   hash.Hash
	buf   []byte // the current part; its capacity is a part's size
	next  byte   // the first byte of the next part
	more  bool   // whether there is one
	parts int
	size  int64
	end   ending
}

// fill gathers the next part and tells whether it is the last: only the byte
// behind it shows that. What comes is hashed at once, as long as it is near. room says
// how far the buffer may be filled, which is farther than it is.
func (s *stream) fill(room func(filled int) (int, error)) (last bool, err error) {
	s.buf = s.buf[:0]
	for empty := 0; len(s.buf) < cap(s.buf); {
		end, err := room(len(s.buf))
		if err != nil {
			return false, err
		}
		n, err := s.read(s.buf[len(s.buf):end])
		s.buf = s.buf[:len(s.buf)+n]
		s.sum.Write(s.buf[len(s.buf)-n:])
		if err != nil {
			return true, s.finish(err)
		}
		if empty = nextEmpty(empty, n); empty > maxEmptyReads {
			return false, io.ErrNoProgress
		}
	}
	var b [1]byte
	n, err := probe(s.body, b[:])
	if n == 0 {
		return true, s.finish(err)
	}
	s.next, s.more = b[0], true
	// An error that came with that byte comes again with the next read.
	return false, nil
}

// read reads the body, and before it the byte that was read ahead.
func (s *stream) read(b []byte) (int, error) {
	if s.more {
		b[0], s.more = s.next, false
		return 1, nil
	}
	return readSome(s.body, b)
}

// finish tells what the end of the body means.
func (s *stream) finish(err error) error {
	var broken *entry.ContentError
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case errors.Is(err, entry.ErrChanged):
		s.end.flags |= entry.ChangedWhileRead
		return nil
	case errors.As(err, &broken):
		// There is no announced length to fill up to; that the end is missing
		// is told by the flag all the same.
		s.end = ending{flags: entry.ChangedWhileRead | entry.Padded, err: broken}
		return nil
	}
	return err
}
