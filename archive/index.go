package archive

import (
	"encoding/binary"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	// flushIndexAt is the size from which a block of entries is written at the
	// next frame's end, and capIndexAt the one at which a frame is ended for it.
	flushIndexAt = 256 << 10
	capIndexAt   = 1 << 20
)

// indexBuilder gathers entries until they make a block. Its size is bounded:
// the writer takes a block as soon as there is enough for one.
type indexBuilder struct {
	block   indexBlock
	prev    string
	scratch []byte
}

// indexBlock is a run of entries on its way into the artifact. The frames are
// known by their number only until they have been written.
type indexBlock struct {
	raw    []byte
	count  int
	first  string
	frames []int64
}

func (b *indexBuilder) size() int { return len(b.block.raw) }

// add appends an entry whose header begins in the data frame of that number.
func (b *indexBuilder) add(e *Entry, frame int64) {
	if b.block.count == 0 {
		b.block.first, b.prev = e.Path, ""
	}
	ref := 0
	if e.at.stored {
		ref = b.ref(frame)
	}
	b.scratch = appendEntry(b.scratch[:0], b.prev, e, ref)
	b.block.raw = binary.AppendUvarint(b.block.raw, uint64(len(b.scratch)))
	b.block.raw = append(b.block.raw, b.scratch...)
	b.block.count++
	b.prev = e.Path
}

// ref numbers the frame within the block. Frames come in ascending order, so
// that only the last one can be there already.
func (b *indexBuilder) ref(frame int64) int {
	n := len(b.block.frames)
	if n == 0 || b.block.frames[n-1] != frame {
		b.block.frames = append(b.block.frames, frame)
		n++
	}
	return n
}

// take hands over the block and begins a new one.
func (b *indexBuilder) take() indexBlock {
	block := b.block
	b.block = indexBlock{raw: make([]byte, 0, cap(block.raw))}
	return block
}

// indexHeaderSize is the tag and the two counts.
const indexHeaderSize = len(tagIndex) + 8

// appendIndexFrame makes the skippable frame of a block: header, frames, and
// the entries as one zstd frame.
func appendIndexFrame(b []byte, count int, frames []frameRef, entries []byte) []byte {
	size := indexHeaderSize + len(frames)*frameRefSize + len(entries)
	b = appendSkippable(b, magicIndex, size)
	b = append(b, tagIndex...)
	b = binary.LittleEndian.AppendUint32(b, uint32(count))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(frames)))
	for _, f := range frames {
		b = appendFrameRef(b, f)
	}
	return append(b, entries...)
}

func appendSkippable(b []byte, magic uint32, size int) []byte {
	b = binary.LittleEndian.AppendUint32(b, magic)
	return binary.LittleEndian.AppendUint32(b, uint32(size))
}

// skippablePayload checks a whole skippable frame and returns what is in it.
func skippablePayload(frame []byte, magic uint32) ([]byte, bool) {
	if len(frame) < skippableHeader ||
		binary.LittleEndian.Uint32(frame) != magic ||
		uint64(binary.LittleEndian.Uint32(frame[4:])) != uint64(len(frame)-skippableHeader) {
		return nil, false
	}
	return frame[skippableHeader:], true
}

// decodeIndex decodes a whole index block: one skippable frame. Frames it
// names lie before limit in the sealed plaintext.
func decodeIndex(dec *zstd.Decoder, frame []byte, limit int64) ([]Entry, error) {
	payload, ok := skippablePayload(frame, magicIndex)
	if !ok || len(payload) < indexHeaderSize || string(payload[:len(tagIndex)]) != tagIndex {
		return nil, fmt.Errorf("%w: not an index block", ErrCorrupt)
	}
	count := binary.LittleEndian.Uint32(payload[4:])
	frameCount := uint64(binary.LittleEndian.Uint32(payload[8:]))
	payload = payload[indexHeaderSize:]
	if frameCount > uint64(len(payload)/frameRefSize) {
		return nil, fmt.Errorf("%w: index block: %d frames in %d bytes", ErrCorrupt, frameCount, len(payload))
	}
	frames, err := decodeFrameRefs(payload[:frameCount*frameRefSize], limit)
	if err != nil {
		return nil, err
	}
	raw, err := decodeBounded(dec, payload[frameCount*frameRefSize:], maxIndexRaw)
	if err != nil {
		return nil, fmt.Errorf("index block: %w", err)
	}
	return decodeEntries(raw, count, frames)
}

func decodeFrameRefs(b []byte, limit int64) ([]frameRef, error) {
	frames := make([]frameRef, 0, len(b)/frameRefSize)
	end := int64(0)
	for ; len(b) > 0; b = b[frameRefSize:] {
		f := decodeFrameRef(b)
		if f.offset < end || f.offset > limit-f.length || f.length <= 0 || f.length > maxFrameSealed ||
			f.plain <= 0 || f.plain > MaxFrame || f.tar < 0 || f.tar > 1<<62 {
			return nil, fmt.Errorf("%w: index block: a frame where none can be", ErrCorrupt)
		}
		end = f.offset + f.length
		frames = append(frames, f)
	}
	return frames, nil
}

func decodeEntries(raw []byte, count uint32, frames []frameRef) ([]Entry, error) {
	// An entry has at least ten bytes; what a block claims is not believed.
	if uint64(count) > uint64(len(raw)/10)+1 {
		return nil, fmt.Errorf("%w: index block: %d entries in %d bytes", ErrCorrupt, count, len(raw))
	}
	entries := make([]Entry, 0, count)
	d := decoder{b: raw}
	prev := ""
	for len(d.b) > 0 {
		b := d.string(maxIndexRaw)
		if d.failed {
			return nil, fmt.Errorf("%w: index block: cut short", ErrCorrupt)
		}
		e, err := decodeEntry(b, prev, frames)
		if err != nil {
			return nil, err
		}
		if prev != "" && comparePaths(prev, e.Path) >= 0 {
			return nil, fmt.Errorf("%w: index: %s is out of order", ErrCorrupt, Escape(e.Path))
		}
		prev = e.Path
		entries = append(entries, e)
	}
	if uint64(len(entries)) != uint64(count) || count == 0 {
		return nil, fmt.Errorf("%w: index block: %d entries where %d were announced", ErrCorrupt, len(entries), count)
	}
	return entries, nil
}
