package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
)

// frameMap finds the frame that holds an offset of the tar stream. It keeps
// every 256th entry of the seek table and reads the others again as needed.
type frameMap struct{ marks []frameMark }

const markEvery = 256

// frameMark is where a frame begins.
type frameMark struct {
	number int64 // in the seek table
	offset int64 // in the sealed plaintext
	tar    int64 // in the tar stream
}

func (m frameMark) after(f seekFrame) frameMark {
	return frameMark{m.number + 1, m.offset + int64(f.length), m.tar + int64(f.plain)}
}

// loadFrames reads the seek table once and holds it to the artifact's size.
func (r *Reader) loadFrames() error {
	r.mapOnce.Do(func() {
		table := newSeekTableReader(r.plain, r.tail)
		var at frameMark
		for {
			if at.number%markEvery == 0 {
				r.frames.marks = append(r.frames.marks, at)
			}
			f, err := table.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				r.mapErr = err
				return
			}
			at = at.after(f)
		}
		if at.offset != r.tail.table || at.tar != r.dir.tarSize {
			r.mapErr = fmt.Errorf("%w: the seek table contradicts the artifact's size", ErrCorrupt)
		}
	})
	return r.mapErr
}

// frameAt finds the data frame that holds the byte at an offset of the tar
// stream, which is within it.
func (r *Reader) frameAt(tarOffset int64) (frameMark, error) {
	if err := r.loadFrames(); err != nil {
		return frameMark{}, err
	}
	marks := r.frames.marks
	at := marks[max(sort.Search(len(marks), func(i int) bool { return marks[i].tar > tarOffset })-1, 0)]
	rest := r.tail
	rest.frames -= at.number
	table := newSeekTableReader(io.NewSectionReader(r.plain, at.number*seekEntry, r.plainSize), rest)
	for {
		f, err := table.next()
		if err != nil {
			return frameMark{}, fmt.Errorf("%w: the seek table ends too early", ErrCorrupt)
		}
		next := at.after(f)
		if next.tar > tarOffset {
			return at, nil
		}
		at = next
	}
}

// WriteTarRange writes n bytes of the tar stream from off on; it fails where the
// stream has no such range. The bytes are authentic, but they are not held
// against the files' hashes: a range may begin or end within a file.
func (r *Reader) WriteTarRange(ctx context.Context, w io.Writer, off, n int64) (err error) {
	span, err := r.tarAt(ctx, off, n)
	if err != nil {
		return err
	}
	defer span.close()
	if _, err := io.CopyN(w, span, n); err != nil {
		if errors.Is(err, io.EOF) {
			err = fmt.Errorf("%w: it ends too early", ErrCorrupt)
		}
		return fmt.Errorf("read tar stream: %w", err)
	}
	return nil
}

func (r *Reader) tarAt(ctx context.Context, off, n int64) (*tarSpan, error) {
	if off < 0 || n < 0 || off > r.dir.tarSize-n {
		return nil, fmt.Errorf("bytes %d to %d are not in a tar stream of %d", off, off+n, r.dir.tarSize)
	}
	if off == r.dir.tarSize {
		return r.span(ctx, r.tail.directory, off, fewAhead), nil
	}
	at, err := r.frameAt(off)
	if err != nil {
		return nil, err
	}
	span := r.span(ctx, at.offset, at.tar, manyAhead())
	if err := span.skip(off - at.tar); err != nil {
		span.close()
		return nil, fmt.Errorf("read tar stream: %w", err)
	}
	return span, nil
}

// TarReaderAt gives the tar stream for reading anywhere in it; TarSize is its
// length. It keeps the frame read last, so that reads near each other are cheap;
// for a long range WriteTarRange, which uses all cores, is faster. It may be
// used from many goroutines.
func (r *Reader) TarReaderAt() io.ReaderAt { return &tarReaderAt{r: r} }

type tarReaderAt struct {
	r *Reader

	mu    sync.Mutex
	start int64 // of frame, in the tar stream
	frame []byte
}

// ReadAt implements io.ReaderAt.
func (t *tarReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read tar stream: negative offset %d", off)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at >= t.r.dir.tarSize {
			return n, io.EOF
		}
		if at < t.start || at >= t.start+int64(len(t.frame)) {
			if err := t.load(at); err != nil {
				return n, fmt.Errorf("read tar stream: %w", err)
			}
		}
		n += copy(p[n:], t.frame[at-t.start:])
	}
	return n, nil
}

// load decompresses the frame that holds an offset.
func (t *tarReaderAt) load(off int64) error {
	at, err := t.r.frameAt(off)
	if err != nil {
		return err
	}
	section := io.NewSectionReader(t.r.plain, at.offset, t.r.tail.directory-at.offset)
	info, sealed, err := newFrameScanner(section, at.offset, readSize).next(nil)
	if errors.Is(err, io.EOF) || (err == nil && info.magic != magicZstd) {
		return fmt.Errorf("%w: no data frame where the seek table has one", ErrCorrupt)
	}
	if err != nil {
		return err
	}
	frame, err := decodeBounded(t.r.dec, sealed, MaxFrame)
	if err != nil {
		return err
	}
	if off >= at.tar+int64(len(frame)) {
		return fmt.Errorf("%w: a data frame is shorter than the seek table says", ErrCorrupt)
	}
	t.start, t.frame = at.tar, frame
	return nil
}
