package archive

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

// frameInfo is what a frame says of itself.
type frameInfo struct {
	magic  uint32
	offset int64 // in the sealed plaintext
	length int64 // whole, header included
	plain  int64 // content; 0 for skippable frames
}

// frameScanner finds the frames of a zstd stream without decompressing them.
type frameScanner struct {
	r      *bufio.Reader
	offset int64
}

// newFrameScanner scans what r yields, whose first byte has the given offset,
// reading size bytes at once.
func newFrameScanner(r io.Reader, offset int64, size int) *frameScanner {
	return &frameScanner{r: bufio.NewReaderSize(r, size), offset: offset}
}

// next reads the next frame. A data frame is appended to into, which has room
// for the largest; a skippable one is passed over. At the end: io.EOF.
func (s *frameScanner) next(into []byte) (frameInfo, []byte, error) {
	head, err := s.r.Peek(zstd.HeaderMaxSize)
	if len(head) == 0 {
		if errors.Is(err, io.EOF) {
			return frameInfo{}, nil, io.EOF
		}
		return frameInfo{}, nil, err
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return frameInfo{}, nil, err
	}
	info := frameInfo{offset: s.offset}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return info, nil, fmt.Errorf("%w: no zstd frame at offset %d", ErrCorrupt, s.offset)
	}
	info.magic = binary.LittleEndian.Uint32(head)
	if h.Skippable {
		return s.skip(info, int64(h.HeaderSize)+int64(h.SkippableSize))
	}
	return s.take(info, &h, into)
}

func (s *frameScanner) skip(info frameInfo, length int64) (frameInfo, []byte, error) {
	info.length = length
	for left := length; left > 0; {
		n, err := s.r.Discard(int(min(left, 1<<30)))
		left -= int64(n)
		if err != nil {
			return info, nil, cutShort(err)
		}
	}
	s.offset += length
	return info, nil, nil
}

// take appends a data frame, block by block: only that tells where it ends.
func (s *frameScanner) take(info frameInfo, h *zstd.Header, frame []byte) (frameInfo, []byte, error) {
	if !h.HasFCS || h.FrameContentSize == 0 || h.FrameContentSize > MaxFrame || h.DictionaryID != 0 {
		return info, nil, fmt.Errorf("%w: a frame of a kind that no archive has, at offset %d", ErrCorrupt, s.offset)
	}
	info.plain = int64(h.FrameContentSize)
	frame, err := s.read(frame, h.HeaderSize)
	for last := false; err == nil && !last; {
		var header []byte
		if header, err = s.r.Peek(3); err != nil {
			break
		}
		b := uint32(header[0]) | uint32(header[1])<<8 | uint32(header[2])<<16
		last = b&1 == 1
		size := int(b >> 3)
		if b>>1&3 == 1 { // one byte, repeated
			size = 1
		}
		frame, err = s.read(frame, 3+size)
	}
	if err == nil && h.HasCheckSum {
		frame, err = s.read(frame, 4)
	}
	if err != nil {
		return info, nil, cutShort(err)
	}
	info.length = int64(len(frame))
	s.offset += info.length
	return info, frame, nil
}

// read appends n bytes to b, within the size that a frame can have.
func (s *frameScanner) read(b []byte, n int) ([]byte, error) {
	if len(b)+n > maxFrameSealed {
		return b, fmt.Errorf("%w: an oversized frame at offset %d", ErrCorrupt, s.offset)
	}
	from := len(b)
	if cap(b) < from+n {
		// At once room for the largest: what is never touched takes no memory.
		b = append(make([]byte, 0, maxFrameSealed), b...)
	}
	b = b[:from+n]
	_, err := io.ReadFull(s.r, b[from:])
	return b, err
}

// cutShort tells a stream that ends within a frame from one that cannot be read.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: it ends within a frame", ErrCorrupt)
	}
	return err
}
