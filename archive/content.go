package archive

import (
	"context"
	"errors"
	"fmt"
	"io"

	"xvault/internal/entry"
	"xvault/internal/job"
)

// maxEmptyReads is how often in a row a body may return neither bytes nor an
// error before it counts as broken.
const maxEmptyReads = 100

// ending says how a body ended where that is not plainly its end.
type ending struct {
	flags entry.Flags
	err   *entry.ContentError
}

// addBare stores what has no content.
func (w *Writer) addBare(ctx context.Context, h *entry.Header) error {
	if err := w.tar.member(ctx, w.headers.header(h, h.Path, 0), 0); err != nil {
		return err
	}
	if h.Kind == entry.Dir {
		w.summary.Content.Dirs++
	} else {
		w.summary.Content.Links++
	}
	w.held = newEntry(h, 0)
	return nil
}

// addFile stores a file of announced length, reading straight into the frame.
func (w *Writer) addFile(ctx context.Context, h *entry.Header, body io.Reader) (Outcome, error) {
	if h.Size < 0 || (h.Size > 0 && body == nil) {
		return Outcome{}, fmt.Errorf("%s: %d bytes and no content", Escape(h.Path), h.Size)
	}
	if err := w.tar.member(ctx, w.headers.header(h, h.Path, h.Size), h.Size); err != nil {
		return Outcome{}, err
	}
	w.sum.Reset()
	end, err := w.copyBody(ctx, h, body)
	if err != nil {
		return Outcome{}, fmt.Errorf("read %s: %w", Escape(h.Path), err)
	}
	if err := w.tar.pad(ctx, h.Size); err != nil {
		return Outcome{}, err
	}
	return w.stored(h, h.Size, end), nil
}

// copyBody stores exactly h.Size bytes, whatever the body does.
func (w *Writer) copyBody(ctx context.Context, h *entry.Header, body io.Reader) (ending, error) {
	left, empty := h.Size, 0
	for left > 0 {
		space, err := w.tar.space(ctx)
		if err != nil {
			return ending{}, err
		}
		n, err := readSome(body, space[:min(left, int64(len(space)))])
		w.content(space[:n])
		left -= int64(n)
		if err != nil {
			return w.endBody(ctx, err, left)
		}
		if empty = nextEmpty(empty, n); empty > maxEmptyReads {
			return ending{}, io.ErrNoProgress
		}
	}
	return w.probeEnd(body)
}

// content takes a piece of content that stands in the frame already.
func (w *Writer) content(piece []byte) {
	w.sum.Write(piece)
	w.tar.advance(len(piece))
	w.bytes.Add(int64(len(piece)))
}

// endBody tells what a body's error means with left bytes missing.
func (w *Writer) endBody(ctx context.Context, err error, left int64) (ending, error) {
	var broken *entry.ContentError
	switch {
	case errors.As(err, &broken):
	case left == 0 && errors.Is(err, entry.ErrChanged):
		return ending{flags: entry.ChangedWhileRead}, nil
	case left == 0 && errors.Is(err, io.EOF):
		return ending{}, nil
	case errors.Is(err, io.EOF), errors.Is(err, entry.ErrChanged):
		broken = &entry.ContentError{Code: string(job.SourceChanged), Err: io.ErrUnexpectedEOF}
	default:
		return ending{}, err
	}
	if err := w.tar.zeros(ctx, left, func(b []byte) { w.sum.Write(b) }); err != nil {
		return ending{}, err
	}
	return ending{flags: entry.ChangedWhileRead | entry.Padded, err: broken}, nil
}

// probeEnd asks a body that gave all its bytes whether there are more.
func (w *Writer) probeEnd(body io.Reader) (ending, error) {
	if body == nil {
		return ending{}, nil
	}
	n, err := probe(body, w.probe[:])
	switch {
	case n > 0 || errors.Is(err, entry.ErrChanged):
		return ending{flags: entry.ChangedWhileRead}, nil
	case errors.Is(err, io.EOF):
		return ending{}, nil
	}
	return w.endBody(context.Background(), err, 0)
}

// stored notes a file whose content is in the tar stream.
func (w *Writer) stored(h *entry.Header, size int64, end ending) Outcome {
	e := newEntry(h, end.flags)
	e.Size = size
	w.sum.Sum(e.SHA256[:0])
	out := Outcome{Size: size, SHA256: e.SHA256, Flags: end.flags}
	c := &w.summary.Content
	c.Files++
	c.Bytes += size
	if end.flags&entry.ChangedWhileRead != 0 {
		c.ChangedWhileRead++
	}
	if end.err != nil {
		out.Err, e.Code = end.err, contentCode(end.err)
		w.summary.problem(h.Path, e.Code)
	}
	w.files.Add(1)
	w.held = e
	return out
}

// contentCode gives a body's code, if it is one.
func contentCode(err *entry.ContentError) job.Code {
	if code := job.Code(err.Code); code.Valid() {
		return code
	}
	return job.Internal
}

// probe reads one byte, patiently.
func probe(body io.Reader, b []byte) (int, error) {
	for range maxEmptyReads {
		if n, err := readSome(body, b); n > 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// readSome reads and refuses a count that cannot be.
func readSome(body io.Reader, b []byte) (int, error) {
	n, err := body.Read(b)
	if n < 0 || n > len(b) {
		return 0, errors.New("a body returned an impossible count")
	}
	return n, err
}

func nextEmpty(empty, n int) int {
	if n > 0 {
		return 0
	}
	return empty + 1
}
