package archive

import (
	"encoding/binary"
	"fmt"
	"sort"

	"github.com/klauspost/compress/zstd"
)

// directory says where the index blocks are. It is all that a reader keeps of
// the index.
type directory struct {
	blocks  []blockRef
	tarSize int64 // end-of-archive included
	entries int64
}

// blockRef is one index block.
type blockRef struct {
	offset int64 // of its skippable frame, in the sealed plaintext
	length int64 // of that frame, its header included
	count  int64 // entries
	first  string
}

const directoryHeaderSize = len(tagDirectory) + 4 + 8 + 8

// appendDirectory makes the directory's skippable frame.
func appendDirectory(b []byte, d *directory, enc *zstd.Encoder) ([]byte, error) {
	var raw []byte
	var prev blockRef
	for _, r := range d.blocks {
		shared := commonPrefix(prev.first, r.first)
		raw = binary.AppendUvarint(raw, uint64(r.offset-prev.offset))
		raw = binary.AppendUvarint(raw, uint64(r.length))
		raw = binary.AppendUvarint(raw, uint64(r.count))
		raw = binary.AppendUvarint(raw, uint64(shared))
		raw = appendString(raw, r.first[shared:])
		prev = r
	}
	if len(raw) > maxDirectoryRaw {
		return nil, fmt.Errorf("the directory of %d index blocks is too large for the format", len(d.blocks))
	}
	table := enc.EncodeAll(raw, nil)
	b = appendSkippable(b, magicDirectory, directoryHeaderSize+len(table))
	b = append(b, tagDirectory...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(d.blocks)))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.tarSize))
	b = binary.LittleEndian.AppendUint64(b, uint64(d.entries))
	return append(b, table...), nil
}

// decodeDirectory decodes the directory's skippable frame, which begins at
// offset limit of the sealed plaintext: every block lies before that.
func decodeDirectory(dec *zstd.Decoder, frame []byte, limit int64) (*directory, error) {
	payload, ok := skippablePayload(frame, magicDirectory)
	if !ok || len(payload) < directoryHeaderSize || string(payload[:len(tagDirectory)]) != tagDirectory {
		return nil, fmt.Errorf("%w: no directory where it should be", ErrCorrupt)
	}
	d := &directory{
		tarSize: int64(binary.LittleEndian.Uint64(payload[8:])),
		entries: int64(binary.LittleEndian.Uint64(payload[16:])),
	}
	count := int64(binary.LittleEndian.Uint32(payload[4:]))
	raw, err := decodeBounded(dec, payload[directoryHeaderSize:], maxDirectoryRaw)
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	if err := d.decodeBlocks(raw, limit); err != nil {
		return nil, err
	}
	if int64(len(d.blocks)) != count || d.tarSize < int64(len(endOfArchive)) || d.tarSize%tarBlock != 0 {
		return nil, fmt.Errorf("%w: the directory contradicts itself", ErrCorrupt)
	}
	return d, nil
}

func (d *directory) decodeBlocks(raw []byte, limit int64) error {
	dec := decoder{b: raw}
	var prev blockRef
	var total int64
	for len(dec.b) > 0 {
		r := blockRef{
			offset: prev.offset + int64(dec.upTo(uint64(limit))),
			length: int64(dec.upTo(maxIndexFrame)),
			count:  int64(dec.upTo(maxIndexRaw)),
		}
		r.first = dec.path(prev.first)
		switch {
		case dec.failed || r.count == 0 || r.length < skippableHeader+int64(indexHeaderSize),
			r.offset < prev.offset+prev.length, r.offset > limit-r.length,
			prev.first != "" && comparePaths(prev.first, r.first) >= 0,
			checkPath(r.first) != nil:
			return fmt.Errorf("%w: the directory names an index block that cannot be", ErrCorrupt)
		}
		total += r.count
		d.blocks = append(d.blocks, r)
		prev = r
	}
	if total != d.entries {
		return fmt.Errorf("%w: the directory's counts differ", ErrCorrupt)
	}
	return nil
}

// find gives the number of the one block that can hold path, or -1.
func (d *directory) find(path string) int {
	return sort.Search(len(d.blocks), func(i int) bool {
		return comparePaths(d.blocks[i].first, path) > 0
	}) - 1
}
