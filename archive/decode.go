package archive

import (
	"context"
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"

	"xvault/internal/entry"
)

// frameDecoder yields the decompressed data frames of a stream in order,
// decompressing ahead on several cores. One goroutine uses it and closes it.
type frameDecoder struct {
	dec     *zstd.Decoder
	scanner *frameScanner
	// observe sees every frame, skippable ones too, before it is decoded. It is
	// called from one goroutine; its error ends the stream.
	observe func(frameInfo) error

	budget *Budget     // nil where the memory is the decoder's own
	all    []*decoding // nil once closed
	lent   sync.WaitGroup

	cancel  context.CancelFunc
	running sync.WaitGroup
	free    chan *decoding
	work    chan *decoding
	order   chan *decoding
	current *decoding
	err     error
}

// decoding is a data frame on its way. When the last of those who use it lets go
// it goes back to be filled again.
type decoding struct {
	of     *frameDecoder
	users  atomic.Int32
	slot   *slot // whose buffers these are, where they are lent
	info   frameInfo
	sealed []byte
	buf    []byte // for plain
	plain  []byte
	err    error
	done   chan struct{}
}

// newFrameDecoder begins to decode ahead at once. At most ahead frames are in
// memory, fewer where the reader's budget has none to spare.
func (r *Reader) newFrameDecoder(ctx context.Context, s *frameScanner, ahead int, observe func(frameInfo) error) *frameDecoder {
	all := r.decodings(ahead)
	ahead = len(all)
	workers := min(runtime.GOMAXPROCS(0), ahead)
	ctx, cancel := context.WithCancel(ctx)
	d := &frameDecoder{
		dec: r.dec, scanner: s, observe: observe, cancel: cancel, budget: r.budget, all: all,
		free: make(chan *decoding, ahead), work: make(chan *decoding, ahead), order: make(chan *decoding, ahead+1),
	}
	for _, f := range all {
		f.of = d
		d.free <- f
	}
	d.running.Go(func() { d.scan(ctx) })
	for range workers {
		d.running.Go(d.decode)
	}
	return d
}

func (r *Reader) decodings(ahead int) []*decoding {
	all := make([]*decoding, 0, ahead)
	if r.budget == nil {
		for range ahead {
			all = append(all, &decoding{})
		}
		return all
	}
	for _, s := range r.budget.beginReading(ahead) {
		all = append(all, &decoding{slot: s, sealed: s.out, buf: s.in})
	}
	return all
}

// scan reads frames for as long as there are buffers for them.
func (d *frameDecoder) scan(ctx context.Context) {
	defer close(d.work)
	defer close(d.order)
	for {
		var f *decoding
		select {
		case f = <-d.free:
		case <-ctx.Done():
			d.order <- failed(context.Cause(ctx)) // there is always room for this one
			return
		}
		if err := d.fill(ctx, f); err != nil {
			d.order <- failed(err)
			return
		}
		f.done = make(chan struct{})
		f.users.Store(1)
		d.order <- f
		d.work <- f
	}
}

// fill reads the next data frame into f.
func (d *frameDecoder) fill(ctx context.Context, f *decoding) error {
	for {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		info, sealed, err := d.scanner.next(f.sealed[:0])
		if err != nil {
			return err
		}
		if d.observe != nil {
			if err := d.observe(info); err != nil {
				return err
			}
		}
		if info.magic == magicZstd {
			f.info, f.sealed = info, sealed
			return nil
		}
	}
}

func failed(err error) *decoding {
	f := &decoding{err: err, done: make(chan struct{})}
	close(f.done)
	return f
}

func (d *frameDecoder) decode() {
	for f := range d.work {
		f.expand(d.dec)
		close(f.done)
	}
}

func (f *decoding) expand(dec *zstd.Decoder) {
	size, err := contentSize(f.sealed, MaxFrame)
	if err != nil {
		f.err = err
		return
	}
	if cap(f.buf) < size {
		f.buf = make([]byte, size)
	}
	f.plain, f.err = decodeFrame(dec, f.sealed, f.buf[:0:size])
}

// next gives the next data frame's content, valid until the next call. At the
// end: io.EOF.
func (d *frameDecoder) next() ([]byte, error) {
	if d.err != nil {
		return nil, d.err
	}
	if d.current != nil {
		d.current.release()
		d.current = nil
	}
	f, ok := <-d.order
	if !ok {
		d.err = errors.New("read after the end of an archive")
		return nil, d.err
	}
	<-f.done
	if f.err != nil {
		d.err = f.err
		return nil, d.err
	}
	d.current = f
	return f.plain, nil
}

func (f *decoding) release() {
	if f.users.Add(-1) == 0 {
		f.of.free <- f // there is always room
	}
}

// lend keeps the frame's content valid until it is given back, by any goroutine.
func (f *decoding) lend() {
	f.users.Add(1)
	f.of.lent.Add(1)
}

func (f *decoding) giveBack() {
	f.release()
	f.of.lent.Done()
}

// close stops the goroutines, waits for them and for what is lent, and gives the
// memory back. What next gave is no longer valid.
func (d *frameDecoder) close() {
	d.cancel()
	d.running.Wait()
	d.lent.Wait()
	if d.budget == nil || d.all == nil {
		return
	}
	slots := make([]*slot, len(d.all))
	for i, f := range d.all {
		f.slot.in, f.slot.out = f.buf[:0], f.sealed[:0]
		slots[i] = f.slot
	}
	d.all = nil
	if d.err == nil {
		d.err = errors.New("read after the end of an archive")
	}
	d.budget.endReading(slots)
}

// tarSpan is the tar stream from some offset on.
type tarSpan struct {
	frames *frameDecoder
	rest   []byte
	offset int64 // of the next byte, in the tar stream
	err    error // why the frames ended, io.EOF apart

	headers tarEncoder // for foretold, which expects
	header  entry.Header
	owners  ownership // those of the last header

	// waits, where it is set, is called before a frame is waited for, which may not
	// come before those that are lent have been given back.
	waits func()
	// loaded, where it is set, sees every data frame, compressed and not, and its
	// offset in the tar stream, before any of it is read. Its error ends the span.
	loaded func(sealed, plain []byte, at int64) error
}

// Read implements io.Reader.
func (s *tarSpan) Read(p []byte) (int, error) {
	b, err := s.piece(len(p))
	return copy(p, b), err
}

// piece passes over some bytes, no more than most, which are valid until the next
// call or until the current frame, if it was lent, is given back.
func (s *tarSpan) piece(most int) ([]byte, error) {
	if most == 0 {
		return nil, nil
	}
	if err := s.more(); err != nil {
		return nil, err
	}
	n := min(most, len(s.rest))
	b := s.rest[:n:n]
	s.rest = s.rest[n:]
	s.offset += int64(n)
	return b, nil
}

func (s *tarSpan) more() error {
	for len(s.rest) == 0 {
		if s.waits != nil {
			s.waits()
		}
		frame, err := s.frames.next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				s.err = err
			}
			return err
		}
		if s.loaded != nil {
			if err := s.loaded(s.frames.current.sealed, frame, s.offset); err != nil {
				s.err = err
				return err
			}
		}
		s.rest = frame
	}
	return nil
}

// take passes over n bytes, which are lent with their frame, if they are all in
// the one that is being read.
func (s *tarSpan) take(n int) (content []byte, frame *decoding) {
	if n == 0 || n > len(s.rest) {
		return nil, nil
	}
	content, frame = s.rest[:n:n], s.frames.current
	frame.lend()
	s.rest = s.rest[n:]
	s.offset += int64(n)
	return content, frame
}

// skip passes over n bytes.
func (s *tarSpan) skip(n int64) error {
	for n > 0 {
		if err := s.more(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		k := min(n, int64(len(s.rest)))
		s.rest = s.rest[k:]
		s.offset += k
		n -= k
	}
	return nil
}

func (s *tarSpan) close() {
	if s.waits != nil {
		s.waits()
	}
	s.rest = nil
	s.frames.close()
}
