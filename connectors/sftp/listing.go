package sftp

import (
	"bytes"
	"fmt"
	"slices"

	"xvault/connectors/sftp/wire"
	"xvault/internal/job"
)

// listing is the content of one directory, sorted by name as bytes. A million
// names must fit, so it is flat: fixed records in blocks that are never copied,
// and names in an arena.
type listing struct {
	self    wire.Attrs // of the directory itself, after it was opened
	fine    precise    // the same, where find told it
	blind   bool       // there may be names in it that the server does not show
	flat    []record   // in place of records, in the order of names
	records [][]record
	arena   [][]byte
	order   []uint32 // indices of records, sorted
	count   int
	size    int64 // bytes of memory, as charged
}

// record is one name of a listing. It holds no pointer, so that the garbage
// collector need not look at a million of them.
type record struct {
	size   int64
	mtime  int64 // seconds
	inode  uint64
	nsec   uint32
	uid    uint32
	gid    uint32
	mode   uint32
	block  uint32 // where the name is: block of the arena, offset, length
	offset uint32
	length uint16
	target uint16 // length of a link's target, which follows the name
	device uint16 // of the inode; 0 where it is not known
	has    uint8  // which of the above the server told
	longID byte   // first letter of the long name, as of ls -l
}

const (
	hasSize = 1 << iota
	hasOwner
	hasMode
	hasTimes
	hasFine   // the time is precise, of a link the target is known
	hasOthers // the file has other names
)

const (
	recordSize  = 56 // and 4 for its place in the order
	firstBlock  = 16
	firstArena  = 256
	blockLength = 4096
	arenaBlock  = 64 << 10
	maxSize     = 1 << 53 // no file system has larger files
)

// attrs gives back what the server told.
func (r *record) attrs() wire.Attrs {
	return wire.Attrs{
		HasSize: r.has&hasSize != 0, HasOwner: r.has&hasOwner != 0, HasMode: r.has&hasMode != 0, HasTimes: r.has&hasTimes != 0,
		Size: uint64(r.size), UID: r.uid, GID: r.gid, Mode: r.mode, ModTime: uint32(r.mtime),
	}
}

// has tells which fields of the attributes count.
func has(a wire.Attrs) uint8 {
	var h uint8
	if a.HasSize {
		h |= hasSize
	}
	if a.HasOwner {
		h |= hasOwner
	}
	if a.HasMode {
		h |= hasMode
	}
	if a.HasTimes {
		h |= hasTimes
	}
	return h
}

// add takes one name of a batch; it passed checkName.
func (l *listing) add(name, long []byte, a wire.Attrs) {
	r := record{uid: a.UID, gid: a.GID, mode: a.Mode, mtime: int64(a.ModTime), has: has(a)}
	r.size = int64(min(a.Size, maxSize+1))
	if len(long) > 0 {
		r.longID = long[0]
	}
	l.keep(&r, name, nil)
	l.append(r)
}

// append takes a record whose name is kept.
func (l *listing) append(r record) {
	last := len(l.records) - 1
	if last < 0 || len(l.records[last]) == cap(l.records[last]) {
		length := blockLength
		if last < 1 {
			length = firstBlock << (4 * (last + 1)) // most directories are small
		}
		l.records = append(l.records, make([]record, 0, length))
		l.size += int64(length) * (recordSize + 4)
		last++
	}
	l.records[last] = append(l.records[last], r)
	l.count++
}

// keep copies a name, and the target of a link, into the arena.
func (l *listing) keep(r *record, name, target []byte) {
	last := len(l.arena) - 1
	need := len(name) + len(target)
	if last < 0 || cap(l.arena[last])-len(l.arena[last]) < need {
		length := max(arenaBlock, need)
		if last < 1 {
			length = max(firstArena<<(4*(last+1)), need)
		}
		l.arena = append(l.arena, make([]byte, 0, length))
		l.size += int64(length)
		last++
	}
	r.block, r.offset, r.length = uint32(last), uint32(len(l.arena[last])), uint16(len(name))
	r.target = uint16(len(target))
	l.arena[last] = append(append(l.arena[last], name...), target...)
}

// name gives a record's name, valid as long as the listing.
func (l *listing) name(r *record) []byte {
	return l.arena[r.block][r.offset:][:r.length:r.length]
}

// at gives a record by its place of arrival.
func (l *listing) at(i uint32) *record {
	switch {
	case i < firstBlock:
		return &l.records[0][i]
	case i < firstBlock+firstBlock<<4:
		return &l.records[1][i-firstBlock]
	default:
		i -= firstBlock + firstBlock<<4
		return &l.records[2+i/blockLength][i%blockLength]
	}
}

// entry gives a record in the order of names.
func (l *listing) entry(i int) *record {
	if l.flat != nil {
		return &l.flat[i]
	}
	return l.at(l.order[i])
}

// sort puts the names in order and drops the second of two equal ones, as a
// directory that changes while it is read can show.
func (l *listing) sort() {
	l.order = make([]uint32, l.count)
	for i := range l.order {
		l.order[i] = uint32(i)
	}
	slices.SortFunc(l.order, func(a, b uint32) int { return bytes.Compare(l.nameAt(a), l.nameAt(b)) })
	l.order = slices.CompactFunc(l.order, func(a, b uint32) bool { return bytes.Equal(l.nameAt(a), l.nameAt(b)) })
	l.count = len(l.order)
}

func (l *listing) nameAt(i uint32) []byte { return l.name(l.at(i)) }

// maxName is more than any file system takes as one name.
const maxName = 4095

// checkName refuses what no directory can hold and what would lead elsewhere.
func checkName(dir string, name []byte) error {
	if len(name) == 0 || len(name) > maxName || bytes.IndexByte(name, '/') >= 0 || bytes.IndexByte(name, 0) >= 0 {
		return job.Errorf(job.Internal, "the server lists an impossible name in %q: %s; it is broken or hostile, and nothing it says can be relied on",
			dir, fmt.Sprintf("%.300q", name))
	}
	return nil
}

func isDots(name []byte) bool { return string(name) == "." || string(name) == ".." }
