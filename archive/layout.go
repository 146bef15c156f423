package archive

import (
	"errors"
	"fmt"
	"io"
)

// layoutCheck holds the frames, as they come by, against seek table and
// directory.
type layoutCheck struct {
	r      *Reader
	table  *seekTableReader
	blocks []blockRef
	ended  bool
}

func newLayoutCheck(r *Reader) *layoutCheck {
	return &layoutCheck{r: r, table: newSeekTableReader(r.plain, r.tail), blocks: r.dir.blocks}
}

func (l *layoutCheck) frame(f frameInfo) error {
	if l.ended {
		return fmt.Errorf("%w: a frame behind the seek table", ErrCorrupt)
	}
	if f.magic == magicSeekTable && f.offset == l.r.tail.table {
		l.ended = true
		return nil
	}
	want, err := l.table.next()
	if errors.Is(err, io.EOF) || (err == nil && want != seekFrame{uint32(f.length), uint32(f.plain)}) {
		return fmt.Errorf("%w: frame at offset %d is not as the seek table has it", ErrCorrupt, f.offset)
	}
	if err != nil {
		return err
	}
	switch f.magic {
	case magicZstd:
		return nil
	case magicIndex:
		return l.index(f)
	case magicDirectory:
		if f.offset == l.r.tail.directory {
			return nil
		}
	}
	return fmt.Errorf("%w: a frame of unknown kind at offset %d", ErrCorrupt, f.offset)
}

func (l *layoutCheck) index(f frameInfo) error {
	if len(l.blocks) == 0 || l.blocks[0].offset != f.offset || l.blocks[0].length != f.length {
		return fmt.Errorf("%w: index block at offset %d is not as the directory has it", ErrCorrupt, f.offset)
	}
	l.blocks = l.blocks[1:]
	return nil
}

func (l *layoutCheck) done() error {
	if !l.ended || len(l.blocks) != 0 || l.table.left != 0 {
		return fmt.Errorf("%w: directory or seek table name what is not there", ErrCorrupt)
	}
	return nil
}

// frameCursor holds what index blocks say of frames against the seek table.
// Entries name frames in ascending order, so that it only ever goes forward.
type frameCursor struct {
	table *seekTableReader
	at    frameMark
	frame seekFrame
}

func (c *frameCursor) verify(ref frameRef) error {
	for c.at.offset < ref.offset || c.frame == (seekFrame{}) {
		c.at = c.at.after(c.frame)
		frame, err := c.table.next()
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err != nil {
			break
		}
		c.frame = frame
	}
	have := frameRef{offset: c.at.offset, tar: c.at.tar, length: int64(c.frame.length), plain: int64(c.frame.plain)}
	if have != ref {
		return fmt.Errorf("%w: an index block and the seek table differ in a frame", ErrCorrupt)
	}
	return nil
}
