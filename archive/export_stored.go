package archive

import "encoding/binary"

// What an export cannot pass on as it is stored it puts into zstd frames of
// blocks that are not compressed: their length is known beforehand.

const (
	storedHeader      = 4 + 1 + 4 // magic, descriptor, content size
	storedBlock       = 128 << 10 // the largest that the format allows
	storedBlockHeader = 3
	// storedDescriptor: a single segment, a content size of four bytes, no
	// checksum, no dictionary.
	storedDescriptor = 0b10_1_0_0_0_00
)

// storedSize is what n bytes take in frames of at most MaxFrame.
func storedSize(n int64) int64 {
	size := n / MaxFrame * storedFrame(MaxFrame)
	if rest := n % MaxFrame; rest > 0 {
		size += storedFrame(rest)
	}
	return size
}

func storedFrame(n int64) int64 {
	blocks := (n + storedBlock - 1) / storedBlock
	return storedHeader + blocks*storedBlockHeader + n
}

// pieceSize is what the output has of a frame for a range of the tar stream.
func pieceSize(at frameMark, f seekFrame, from, to int64) int64 {
	piece := min(at.tar+int64(f.plain), to) - max(at.tar, from)
	if piece == int64(f.plain) {
		return int64(f.length)
	}
	return storedSize(piece)
}

// storedEncoder writes frames for left bytes, which come in any pieces.
type storedEncoder struct {
	w     *rangeWriter
	left  int64 // of all
	frame int64 // of the current frame
	block int64 // of the current block
}

func (s *storedEncoder) write(p []byte) error {
	for len(p) > 0 {
		if s.block == 0 {
			if err := s.w.write(s.next()); err != nil {
				return err
			}
		}
		n := min(int64(len(p)), s.block)
		if n == 0 {
			return errRangeDone // more than was announced; the check of its length tells
		}
		if err := s.w.write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
		s.block -= n
		s.frame -= n
		s.left -= n
	}
	return nil
}

// next gives the headers that come now.
func (s *storedEncoder) next() []byte {
	var b []byte
	if s.frame == 0 {
		s.frame = min(s.left, MaxFrame)
		b = binary.LittleEndian.AppendUint32(b, magicZstd)
		b = append(b, storedDescriptor)
		b = binary.LittleEndian.AppendUint32(b, uint32(s.frame))
	}
	s.block = min(s.frame, storedBlock)
	header := uint32(s.block) << 3 // type 0: as it is
	if s.block == s.frame {
		header |= 1 // the last of its frame
	}
	return append(b, byte(header), byte(header>>8), byte(header>>16))
}
