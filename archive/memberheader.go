package archive

import (
	"archive/tar"
	"bytes"

	"xvault/internal/entry"
)

// ownership is what a header tells that the index does not.
type ownership struct {
	uid, gid    int64
	user, group string
	xattrs      map[string]string
}

func ownershipOf(hdr *tar.Header) ownership {
	return ownership{int64(hdr.Uid), int64(hdr.Gid), hdr.Uname, hdr.Gname, xattrsOf(hdr)}
}

// header is what tar header and index say of a member.
func (m *member) header() entry.Header {
	e, o := m.e, &m.owner
	return entry.Header{
		Path: e.Path, Kind: e.Kind, Size: e.Size, Mode: e.Mode, UID: int(o.uid), GID: int(o.gid), User: o.user, Group: o.group,
		ModTime: e.ModTime, LinkTarget: e.LinkTarget, Xattrs: o.xattrs,
	}
}

// foretold passes over the header of e if it is, byte by byte, the one that a
// writer makes of what the index says and of these owners. That costs a fifth of
// reading it, and says as much. Anything else is left to be read.
func (s *tarSpan) foretold(e *Entry) (ownership, bool) {
	if e.Flags&entry.Parts != 0 || e.ModTime.IsZero() || s.more() != nil {
		return ownership{}, false
	}
	for range 2 {
		b := s.headers.header(s.expected(e), e.Path, e.Size)
		if len(b) > len(s.rest) {
			return ownership{}, false
		}
		if bytes.Equal(b, s.rest[:len(b)]) {
			s.rest = s.rest[len(b):]
			s.offset += int64(len(b))
			return s.owners, true
		}
		// Most likely the owners are others than those before.
		if !s.readOwners(s.rest[len(b)-tarBlock : len(b)]) {
			break
		}
	}
	return ownership{}, false
}

// expected is the header that the owners before would have.
func (s *tarSpan) expected(e *Entry) *entry.Header {
	s.header = entry.Header{
		Path: e.Path, Kind: e.Kind, Size: e.Size, Mode: e.Mode, ModTime: e.ModTime, LinkTarget: e.LinkTarget,
		UID: int(s.owners.uid), GID: int(s.owners.gid), User: s.owners.user, Group: s.owners.group,
	}
	return &s.header
}

// readOwners takes the owners out of a block, and tells whether they are others
// than before.
func (s *tarSpan) readOwners(block []byte) bool {
	before := s.owners
	s.owners = ownership{
		uid: octal(block[tarUID : tarUID+7]), gid: octal(block[tarGID : tarGID+7]),
		user:  upToZero(block[tarUser : tarUser+tarUserLen]),
		group: upToZero(block[tarGroup : tarGroup+tarGroupLen]),
	}
	after := s.owners
	return before.uid != after.uid || before.gid != after.gid || before.user != after.user || before.group != after.group
}

// octal reads digits; what else is there makes a number that no header has.
func octal(digits []byte) int64 {
	var n int64
	for _, c := range digits {
		n = n<<3 | int64(c-'0')
	}
	return n
}

func upToZero(field []byte) string {
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i]
	}
	return string(field)
}
