package ftp

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"xvault/connectors/ftp/lines"
	"xvault/connectors/ftp/wire"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// listing is the content of one folder, sorted by name as bytes. A million names
// must fit, so it is flat: fixed records, and names in an arena.
type listing struct {
	self    lines.Line // of the folder itself, where the server told
	hasSelf bool
	records []record
	names   []byte
	owners  []string // names of users and groups; a record's number is one more
	seen    map[string]uint16
	mlsd    bool
	count   int // lines
	dots    int // those of the folder itself and the one above
	// flaw says why it is not, or may not be, all that is in the folder.
	flaw *job.Error
}

// record is one name. It holds no pointer, so that the garbage collector need not
// look at a million of them.
type record struct {
	size        int64
	mtime       int64 // seconds
	nsec        uint32
	offset      uint32 // of the name, in the arena
	uid, gid    uint32
	user, group uint16 // of owners, 0: not told
	length      uint16
	target      uint16 // length of a link's target, which follows the name
	mode        uint16
	kind        entry.Kind // 0: not told
	has         uint8
}

const (
	hasSize = 1 << iota
	hasTime
	isPrecise
	hasMode
)

const (
	recordSize = 48
	maxName    = 1024
	maxTarget  = 4095
	maxArena   = 1 << 31
)

// add takes a line that tells of an entry.
func (l *listing) add(dir string, line *lines.Line) error {
	switch {
	case line.Parent:
		return nil
	case line.Self:
		l.self, l.hasSelf = *line, true
		return nil
	}
	if err := checkName(dir, line.Name); err != nil {
		return err
	}
	if len(line.Target) > maxTarget || len(l.names) > maxArena {
		return job.Errorf(job.Internal, "the server lists more in %q than can be", dir)
	}
	r := record{size: line.Size, kind: line.Kind, mode: uint16(line.Mode), uid: uint32(line.UID), gid: uint32(line.GID)}
	r.user, r.group = l.owner(line.User), l.owner(line.Group)
	if line.HasTime {
		r.mtime, r.nsec = line.ModTime.Unix(), uint32(line.ModTime.Nanosecond())
	}
	for bit, set := range map[uint8]bool{hasSize: line.HasSize, hasTime: line.HasTime, isPrecise: line.Precise, hasMode: line.HasMode} {
		if set {
			r.has |= bit
		}
	}
	r.offset, r.length, r.target = uint32(len(l.names)), uint16(len(line.Name)), uint16(len(line.Target))
	l.names = append(append(l.names, line.Name...), line.Target...)
	l.records = append(l.records, r)
	return nil
}

// checkName refuses what no folder can hold.
func checkName(dir, name string) error {
	if name == "" || name == "." || name == ".." || len(name) > maxName || bytes.ContainsAny([]byte(name), "/\x00") {
		return job.Errorf(job.Internal, "the server lists an impossible name in %q: %.300q; it is broken or hostile, and nothing it says can be relied on", dir, name)
	}
	return nil
}

// maxOwners bounds the names of users and groups in one folder.
const maxOwners = 10_000

func (l *listing) owner(name string) uint16 {
	if name == "" {
		return 0
	}
	if i, ok := l.seen[name]; ok {
		return i
	}
	if len(l.owners) == maxOwners || len(name) > 255 {
		return 0
	}
	if l.seen == nil {
		l.seen = map[string]uint16{}
	}
	l.owners = append(l.owners, name)
	l.seen[name] = uint16(len(l.owners))
	return uint16(len(l.owners))
}

// settle sorts. Of one name twice, the first stays.
func (l *listing) settle() {
	slices.SortStableFunc(l.records, func(a, b record) int { return bytes.Compare(l.name(&a), l.name(&b)) })
	l.records = slices.CompactFunc(l.records, func(a, b record) bool { return bytes.Equal(l.name(&a), l.name(&b)) })
	l.seen = nil
}

func (l *listing) name(r *record) []byte { return l.names[r.offset:][:r.length] }

func (l *listing) targetOf(r *record) string {
	return string(l.names[r.offset+uint32(r.length):][:r.target])
}

// bytes is what the listing takes in memory.
func (l *listing) bytes() int64 {
	return int64(cap(l.records))*recordSize + int64(cap(l.names)) + 300
}

// find looks for a name.
func (l *listing) find(name string) (*record, bool) {
	i, ok := slices.BinarySearchFunc(l.records, name, func(r record, name string) int { return bytes.Compare(l.name(&r), []byte(name)) })
	if !ok {
		return nil, false
	}
	return &l.records[i], true
}

// line gives a record's facts.
func (l *listing) line(r *record) lines.Line {
	line := lines.Line{
		Name: string(l.name(r)), Kind: r.kind, Size: r.size, HasSize: r.has&hasSize != 0, HasTime: r.has&hasTime != 0, Precise: r.has&isPrecise != 0,
		Mode: uint32(r.mode), HasMode: r.has&hasMode != 0, UID: int(r.uid), GID: int(r.gid), Target: l.targetOf(r),
	}
	if line.HasTime {
		line.ModTime = time.Unix(r.mtime, int64(r.nsec)).UTC()
	}
	if r.user > 0 {
		line.User = l.owners[r.user-1]
	}
	if r.group > 0 {
		line.Group = l.owners[r.group-1]
	}
	return line
}

// header is the entry of a line; modes that the server does not tell are those that
// people expect.
func header(path string, line *lines.Line) entry.Header {
	h := entry.Header{
		Path: path[1:], Kind: line.Kind, Mode: line.Mode, UID: line.UID, GID: line.GID, User: line.User, Group: line.Group, ModTime: line.ModTime,
	}
	switch line.Kind {
	case entry.File:
		h.Size = line.Size
	case entry.Symlink:
		h.LinkTarget = line.Target
	}
	if !line.HasMode {
		h.Mode = map[entry.Kind]uint32{entry.Dir: 0o755, entry.Symlink: 0o777}[line.Kind]
		if h.Mode == 0 {
			h.Mode = 0o644
		}
	}
	return h
}

// unsendable: no command can hold the name.
func unsendable(path string) *job.Error {
	if wire.Sendable(path) {
		return nil
	}
	return job.Errorf(job.PermissionDenied, "%q cannot be read over FTP, whose commands cannot hold a line break; rename it, or back it up over SFTP", path)
}

func flaw(format string, args ...any) *job.Error {
	return job.Errorf(job.PermissionDenied, "%s", fmt.Sprintf(format, args...))
}
