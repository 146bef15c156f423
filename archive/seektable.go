package archive

import (
	"encoding/binary"
	"fmt"
	"io"
)

// seekTable is what the zstd seekable format calls by that name: the sizes of
// all frames, in order. Eight bytes for every four megabytes.
type seekTable struct{ frames []seekFrame }

type seekFrame struct {
	length uint32 // compressed
	plain  uint32 // decompressed; 0 for skippable frames
}

func (t *seekTable) add(length, plain int) {
	t.frames = append(t.frames, seekFrame{uint32(length), uint32(plain)})
}

// size is the length of the table's skippable frame.
func (t *seekTable) size() int64 { return seekTableSize(int64(len(t.frames))) }

func seekTableSize(frames int64) int64 { return skippableHeader + frames*seekEntry + seekFooter }

// writeTo writes the table a piece at a time.
func (t *seekTable) writeTo(w io.Writer) error {
	if len(t.frames) > maxFrames {
		return fmt.Errorf("%d frames are too many for a seek table", len(t.frames))
	}
	b := appendSkippable(nil, magicSeekTable, int(t.size())-skippableHeader)
	for _, f := range t.frames {
		b = binary.LittleEndian.AppendUint32(b, f.length)
		b = binary.LittleEndian.AppendUint32(b, f.plain)
		if len(b) >= 64<<10 {
			if _, err := w.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(t.frames)))
	b = append(b, 0) // descriptor: no checksums
	b = binary.LittleEndian.AppendUint32(b, magicSeekable)
	_, err := w.Write(b)
	return err
}

// tail is what the last bytes of an artifact say.
type tail struct {
	frames    int64 // in the seek table
	table     int64 // the seek table's offset
	directory int64 // the directory's offset
}

// readTail finds directory and seek table from the end, without reading either.
func readTail(r io.ReaderAt, size int64) (tail, error) {
	var b [seekEntry + seekFooter]byte
	if size < seekTableSize(2) {
		return tail{}, fmt.Errorf("%w: too short to be an archive", ErrCorrupt)
	}
	if err := readAtFull(r, b[:], size-int64(len(b))); err != nil {
		return tail{}, err
	}
	footer := b[seekEntry:]
	if binary.LittleEndian.Uint32(footer[5:]) != magicSeekable || footer[4] != 0 {
		return tail{}, fmt.Errorf("%w: it does not end with a seek table", ErrCorrupt)
	}
	t := tail{frames: int64(binary.LittleEndian.Uint32(footer))}
	length := int64(binary.LittleEndian.Uint32(b[:]))
	t.table = size - seekTableSize(t.frames)
	t.directory = t.table - length
	if t.frames < 2 || t.frames > maxFrames || t.directory <= 0 || binary.LittleEndian.Uint32(b[4:]) != 0 {
		return tail{}, fmt.Errorf("%w: the seek table contradicts the artifact's size", ErrCorrupt)
	}
	var header [skippableHeader]byte
	if err := readAtFull(r, header[:], t.table); err != nil {
		return tail{}, err
	}
	want := appendSkippable(nil, magicSeekTable, int(size-t.table)-skippableHeader)
	if string(header[:]) != string(want) {
		return tail{}, fmt.Errorf("%w: no seek table where it should begin", ErrCorrupt)
	}
	return t, nil
}

// seekTableReader gives the table's entries one by one.
type seekTableReader struct {
	r    io.Reader
	left int64
}

func newSeekTableReader(plain io.ReaderAt, t tail) *seekTableReader {
	section := io.NewSectionReader(plain, t.table+skippableHeader, t.frames*seekEntry)
	return &seekTableReader{r: newBuffered(section), left: t.frames}
}

// next fails with io.EOF behind the last entry.
func (r *seekTableReader) next() (seekFrame, error) {
	if r.left == 0 {
		return seekFrame{}, io.EOF
	}
	r.left--
	var b [seekEntry]byte
	if _, err := io.ReadFull(r.r, b[:]); err != nil {
		return seekFrame{}, fmt.Errorf("read seek table: %w", err)
	}
	return seekFrame{binary.LittleEndian.Uint32(b[:]), binary.LittleEndian.Uint32(b[4:])}, nil
}
