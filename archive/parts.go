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
	for {
		last, err := s.fill()
		if err != nil {
			return err
		}
		s.parts++
		name := h.Path
		if s.parts > 1 || !last {
			name = partName(h.Path, s.parts)
		}
		if err := w.addPart(ctx, h, name, s.buf, s.parts == 1); err != nil {
			return err
		}
		s.size += int64(len(s.buf))
		if last {
			return nil
		}
	}
}

func (w *Writer) addPart(ctx context.Context, h *entry.Header, name string, content []byte, first bool) error {
	header := w.headers.header(h, name, int64(len(content)))
	if err := w.beginPart(ctx, header, first); err != nil {
		return err
	}
	if err := w.tar.write(ctx, content); err != nil {
		return err
	}
	w.bytes.Add(int64(len(content)))
	return w.tar.pad(ctx, int64(len(content)))
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
// behind it shows that. What comes is hashed at once, as long as it is near.
func (s *stream) fill() (last bool, err error) {
	s.buf = s.buf[:0]
	if s.more {
		s.buf = append(s.buf, s.next)
		s.sum.Write(s.buf)
	}
	for empty := 0; len(s.buf) < cap(s.buf); {
		n, err := readSome(s.body, s.buf[len(s.buf):cap(s.buf)])
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
