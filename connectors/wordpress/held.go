package wordpress

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sync/semaphore"
)

// held is a dump that has begun and is to be stored later. As much of it as there is
// room for stands in memory, compressed; the rest is not read yet, and whoever makes it
// waits. It is used by one goroutine.
type held struct {
	store  store
	rest   io.Reader // nil where all is in memory
	plain  *zstd.Decoder
	reader io.Reader
}

const (
	// heldBuffer is how much is read at once.
	heldBuffer = 128 << 10
	// heldAtLeast is how much is held in any case. The first few kilobytes may come
	// before the dump's transaction begins, what follows does not.
	heldAtLeast = 256 << 10
)

// hold reads a dump until it ends or there is no more room. An error is the dump's.
func hold(ctx context.Context, dump io.Reader, limit int64, memory *semaphore.Weighted) (*held, error) {
	h := &held{store: store{memory: memory, limit: limit}}
	if err := h.fill(ctx, dump); err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (h *held) fill(ctx context.Context, dump io.Reader) error {
	packed, err := zstd.NewWriter(&h.store, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return fmt.Errorf("prepare to hold a dump: %w", err)
	}
	buf := make([]byte, heldBuffer)
	for total := 0; ; {
		if ctx.Err() != nil {
			return errors.Join(context.Cause(ctx), packed.Close())
		}
		n, err := dump.Read(buf)
		if total += n; n > 0 {
			if _, err := packed.Write(buf[:n]); err != nil {
				return fmt.Errorf("hold a dump: %w", err)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = packed.Close() // the dump's error counts
			return err
		}
		if total >= heldAtLeast && h.store.full() {
			h.rest = dump
			break
		}
	}
	if err := packed.Close(); err != nil {
		return fmt.Errorf("hold a dump: %w", err)
	}
	return h.rewind()
}

// rewind makes ready for reading.
func (h *held) rewind() error {
	plain, err := zstd.NewReader(&h.store, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(1<<20))
	if err != nil {
		return fmt.Errorf("read a dump that is held: %w", err)
	}
	h.plain, h.reader = plain, plain
	if h.rest != nil {
		h.reader = io.MultiReader(plain, h.rest)
	}
	return nil
}

// Read gives the dump from its beginning, once.
func (h *held) Read(p []byte) (int, error) { return h.reader.Read(p) }

// close gives the memory back.
func (h *held) close() {
	if h.plain != nil {
		h.plain.Close()
	}
	h.store.drop()
}

// store keeps bytes in pieces, which are let go as they are read.
type store struct {
	memory *semaphore.Weighted
	limit  int64
	pieces []*bytes.Buffer
	taken  int64
	short  bool // there was no room for the last piece
}

// pieceSize is also what is written beyond the limit at most, but for what the
// compression has in its window.
const pieceSize = 256 << 10

func (s *store) full() bool { return s.short || s.taken+pieceSize > s.limit }

// Write implements io.Writer. What comes after there is no more room is kept all the
// same: it is what the compression still had, about a megabyte.
func (s *store) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		last := len(s.pieces) - 1
		if last < 0 || s.pieces[last].Len() >= pieceSize {
			s.grow()
			last++
		}
		n := min(len(p), pieceSize-s.pieces[last].Len())
		s.pieces[last].Write(p[:n])
		p = p[n:]
	}
	return written, nil
}

func (s *store) grow() {
	if !s.short && s.memory.TryAcquire(pieceSize) {
		s.taken += pieceSize
	} else {
		s.short = true
	}
	s.pieces = append(s.pieces, bytes.NewBuffer(make([]byte, 0, pieceSize)))
}

// Read implements io.Reader.
func (s *store) Read(p []byte) (int, error) {
	for len(s.pieces) > 0 {
		n, err := s.pieces[0].Read(p)
		if n > 0 || len(p) == 0 {
			return n, nil
		}
		if errors.Is(err, io.EOF) {
			s.pieces[0] = nil
			s.pieces = s.pieces[1:]
			s.release(pieceSize)
		}
	}
	return 0, io.EOF
}

func (s *store) release(n int64) {
	if n = min(n, s.taken); n > 0 {
		s.taken -= n
		s.memory.Release(n)
	}
}

func (s *store) drop() {
	s.pieces = nil
	s.release(s.taken)
}
