package archive

import (
	"encoding/binary"
	"fmt"
	"time"

	"xvault/internal/entry"
	"xvault/internal/job"
)

// Entry is one entry of the index: what an artifact tells of one path.
type Entry struct {
	Path  string
	Kind  entry.Kind
	Flags entry.Flags
	// Size is the stored content's length; a member in parts counts as one.
	Size int64
	Mode uint32
	// ModTime has the precision that the source gave, in UTC.
	ModTime time.Time
	// SHA256 is that of the stored content, for files.
	SHA256 [32]byte
	// LinkTarget is a symlink's text, or a hard link's first path.
	LinkTarget string
	// Code says why an unreadable or padded entry is what it is.
	Code job.Code

	at location
}

// Stored reports whether the tar stream has the entry, and not only the index.
func (e *Entry) Stored() bool { return e.at.stored }

// hasSum reports whether an entry has content to be hashed.
func (e *Entry) hasSum() bool { return e.Kind == entry.File && e.at.stored }

// hasCode reports whether an entry carries a code.
func (e *Entry) hasCode() bool { return e.Flags&(entry.Unreadable|entry.Padded) != 0 }

// location is where an entry's first header byte stands.
type location struct {
	stored bool
	frame  frameRef
	within int64 // offset in the frame's plaintext
}

// frameRef is a data frame as an index block names it.
type frameRef struct {
	offset int64 // of the frame, in the sealed plaintext
	tar    int64 // of its first byte, in the tar stream
	length int64 // compressed
	plain  int64 // its plaintext's length
}

// tarOffset is where the entry's header begins in the tar stream.
func (l location) tarOffset() int64 { return l.frame.tar + l.within }

const frameRefSize = 24

func appendFrameRef(b []byte, f frameRef) []byte {
	b = binary.LittleEndian.AppendUint64(b, uint64(f.offset))
	b = binary.LittleEndian.AppendUint64(b, uint64(f.tar))
	b = binary.LittleEndian.AppendUint32(b, uint32(f.length))
	return binary.LittleEndian.AppendUint32(b, uint32(f.plain))
}

func decodeFrameRef(b []byte) frameRef {
	return frameRef{
		offset: int64(binary.LittleEndian.Uint64(b)),
		tar:    int64(binary.LittleEndian.Uint64(b[8:])),
		length: int64(binary.LittleEndian.Uint32(b[16:])),
		plain:  int64(binary.LittleEndian.Uint32(b[20:])),
	}
}

// appendEntry encodes e without the length that stands before it. prev is the
// path of the entry before, ref 1 + the frame's number in the block's table.
func appendEntry(b []byte, prev string, e *Entry, ref int) []byte {
	shared := commonPrefix(prev, e.Path)
	b = binary.AppendUvarint(b, uint64(shared))
	b = appendString(b, e.Path[shared:])
	b = append(b, byte(e.Kind))
	b = binary.AppendUvarint(b, uint64(e.Flags))
	b = binary.AppendUvarint(b, uint64(e.Mode))
	b = binary.AppendVarint(b, e.ModTime.Unix())
	b = binary.AppendUvarint(b, uint64(e.ModTime.Nanosecond()))
	b = binary.AppendUvarint(b, uint64(e.Size))
	if !e.at.stored {
		b = binary.AppendUvarint(b, 0)
	} else {
		b = binary.AppendUvarint(b, uint64(ref))
		b = binary.AppendUvarint(b, uint64(e.at.within))
	}
	if e.hasSum() {
		b = append(b, e.SHA256[:]...)
	}
	if e.Kind == entry.Symlink || e.Kind == entry.Hardlink {
		b = appendString(b, e.LinkTarget)
	}
	if e.hasCode() {
		b = appendString(b, string(e.Code))
	}
	return b
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decodeEntry reads what appendEntry wrote and refuses what no writer writes.
// Bytes behind the known fields are left for later versions.
func decodeEntry(b []byte, prev string, frames []frameRef) (Entry, error) {
	d := decoder{b: b}
	e := Entry{Path: d.path(prev)}
	e.Kind = entry.Kind(d.byte())
	e.Flags = entry.Flags(d.upTo(0xff))
	e.Mode = uint32(d.upTo(0o7777))
	sec := d.varint()
	e.ModTime = time.Unix(sec, int64(d.upTo(999_999_999))).UTC()
	e.Size = int64(d.upTo(1<<63 - 1))
	e.at = d.location(frames)
	if e.hasSum() {
		copy(e.SHA256[:], d.take(32))
	}
	if e.Kind == entry.Symlink || e.Kind == entry.Hardlink {
		e.LinkTarget = string(d.string(MaxPath))
	}
	if e.hasCode() {
		e.Code = job.Code(d.string(64))
	}
	if d.failed {
		return Entry{}, fmt.Errorf("%w: an index entry does not decode", ErrCorrupt)
	}
	return e, checkEntry(&e)
}

// checkEntry refuses an index entry that contradicts itself.
func checkEntry(e *Entry) error {
	if err := checkPath(e.Path); err != nil {
		return fmt.Errorf("%w: index: %w", ErrCorrupt, err)
	}
	wrong := ""
	switch {
	case e.Kind < entry.File || e.Kind > entry.Socket:
		wrong = "unknown kind"
	case e.Kind != entry.File && e.Size != 0:
		wrong = "a size, but no content"
	case e.at.stored && (e.Kind > entry.Hardlink || e.Flags&entry.Skipped != 0):
		wrong = "skipped and stored at once"
	case !e.at.stored && e.Flags&(entry.Skipped|entry.Unreadable) == 0:
		wrong = "neither stored nor said to be missing"
	case e.Kind != entry.File && e.Flags&entry.Parts != 0:
		wrong = "parts of what is not a file"
	case e.hasCode() && !e.Code.Valid():
		wrong = "unknown error code"
	}
	if wrong == "" && e.at.stored {
		h := entry.Header{Path: e.Path, Kind: e.Kind, LinkTarget: e.LinkTarget}
		if err := checkLink(&h); err != nil {
			wrong = err.Error()
		}
	}
	if wrong != "" {
		return fmt.Errorf("%w: index entry %s: %s", ErrCorrupt, Escape(e.Path), wrong)
	}
	return nil
}

// decoder takes fields off the front of b; after a failure everything it gives
// is zero.
type decoder struct {
	b      []byte
	failed bool
}

func (d *decoder) fail() { d.b, d.failed = nil, true }

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.b) {
		d.fail()
		return nil
	}
	taken := d.b[:n]
	d.b = d.b[n:]
	return taken
}

func (d *decoder) upTo(limit uint64) uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || v > limit {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) string(limit uint64) []byte { return d.take(int(d.upTo(limit))) }

func (d *decoder) path(prev string) string {
	shared := int(d.upTo(uint64(len(prev))))
	suffix := d.string(MaxPath)
	if d.failed {
		return ""
	}
	return prev[:shared] + string(suffix)
}

func (d *decoder) location(frames []frameRef) location {
	ref := d.upTo(uint64(len(frames)))
	if ref == 0 {
		return location{}
	}
	frame := frames[ref-1]
	within := int64(d.upTo(MaxFrame))
	if within >= frame.plain {
		d.fail()
		return location{}
	}
	return location{stored: true, frame: frame, within: within}
}
