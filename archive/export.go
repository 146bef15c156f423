package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
)

// Export is an artifact, or a part of one, as a tar stream of its own, whose
// every byte is settled before the first is written: the same selection of the
// same artifact gives the same bytes, so that any range of them may be asked for.
//
// It holds the entries selected and what is below them, and nothing else. Where
// a hard link is selected and the path with its content is not, the link
// becomes the file; files in parts are put together. Everything else is as it
// stands in the artifact.
//
// As zstd, frames that lie in the selection with all that they hold are passed
// on as they are stored; what is left of the others is stored uncompressed, so
// that its length is known without reading it.
type Export struct {
	// Content counts what it holds.
	Content Content

	r        *Reader
	zstd     bool
	segments []segment
	size     int64
}

// segment is a piece of the output: a range of the artifact's tar stream, the
// content of one file, or bytes made for it.
type segment struct {
	out, size int64 // where it stands in the output

	first    *Entry // of a range
	from, to int64  // in the tar stream

	file  *Entry // whose content it is
	bytes []byte
}

// Forget drops the identities that the artifact was opened with: reading goes on
// without them, Check does not. Call it before the Reader is shared.
func (r *Reader) Forget() { r.identities = nil }

// Size is the length of the whole output.
func (x *Export) Size() int64 { return x.size }

// maxRecheck is how much of a file in front of a range is read again, so that
// the file's hash can be checked although the range begins within it.
const maxRecheck = 256 << 20

// errRangeDone ends a range that ends within a segment.
var errRangeDone = errors.New("the range ends here")

// WriteRange writes n bytes of the output from off on. Every file of which the
// last byte is in the range is held against its hash, but for one that begins
// more than 256 MiB before it; every byte is authentic in any case. After an
// error at least the range's last byte has not been written.
func (x *Export) WriteRange(ctx context.Context, w io.Writer, off, n int64) error {
	if off < 0 || n < 0 || off > x.size-n {
		return fmt.Errorf("bytes %d to %d are not in an export of %d", off, off+n, x.size)
	}
	if n == 0 {
		return nil
	}
	out := &rangeWriter{w: w, from: off, left: n}
	i := sort.Search(len(x.segments), func(i int) bool { return x.segments[i].out+x.segments[i].size > off })
	for ; i < len(x.segments) && out.left > 0; i++ {
		s := &x.segments[i]
		out.pos = s.out
		err := x.write(ctx, out, s)
		if errors.Is(err, errRangeDone) {
			break
		}
		if err != nil {
			return err
		}
		if out.pos != s.out+s.size {
			return fmt.Errorf("%w: the frames are not as long as the seek table says", ErrCorrupt)
		}
	}
	return out.finish()
}

func (x *Export) write(ctx context.Context, out *rangeWriter, s *segment) error {
	switch {
	case s.first != nil:
		return (&rangeReader{x: x, ctx: ctx, out: out, s: s}).run()
	case s.file != nil:
		return x.writeFile(ctx, out, s)
	default:
		return x.writeBytes(out, s.bytes)
	}
}

func (x *Export) writeBytes(out *rangeWriter, b []byte) error {
	if x.zstd {
		return (&storedEncoder{w: out, left: int64(len(b))}).write(b)
	}
	return out.write(b)
}

// writeFile writes a file's content, read from its beginning wherever the range
// begins.
func (x *Export) writeFile(ctx context.Context, out *rangeWriter, s *segment) (err error) {
	f, err := x.r.openEntry(ctx, s.file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	write := out.write
	if x.zstd {
		write = (&storedEncoder{w: out, left: s.file.Size}).write
	}
	buf := make([]byte, readSize)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			if err := write(buf[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// rangeWriter passes on a range of what is written to it. It keeps back the last
// byte, so that a range is whole only if finish was called.
type rangeWriter struct {
	w    io.Writer
	from int64 // of the range, in the output
	left int64 // of the range
	pos  int64 // of the next byte, in the output

	held    [1]byte
	holding bool
}

// write fails with errRangeDone for what is behind the range.
func (o *rangeWriter) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	if o.left == 0 {
		return errRangeDone
	}
	before := min(max(o.from-o.pos, 0), int64(len(p)))
	o.pos += int64(len(p))
	p = p[before:]
	p = p[:min(int64(len(p)), o.left)]
	if len(p) == 0 {
		return nil
	}
	o.left -= int64(len(p))
	o.from += int64(len(p))
	if o.holding {
		if _, err := o.w.Write(o.held[:]); err != nil {
			return err
		}
	}
	last := len(p) - 1
	o.held[0], o.holding = p[last], true
	if last > 0 {
		if _, err := o.w.Write(p[:last]); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the byte that was kept back.
func (o *rangeWriter) finish() error {
	if o.left > 0 {
		return fmt.Errorf("%w: it ends too early", ErrCorrupt)
	}
	if !o.holding {
		return nil
	}
	_, err := o.w.Write(o.held[:])
	return err
}
