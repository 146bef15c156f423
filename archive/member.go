package archive

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"xvault/internal/entry"
)

// member reads one stored entry from the tar stream: its header, which must say
// what the index says, and its content, parts put together. The content's last
// byte is followed by io.EOF only if length and hash are right.
type member struct {
	e     *Entry
	span  *tarSpan
	owner ownership
	parts int
	size  int64 // of the part at hand, which mostly is all of it
	part  int64 // what is left of that
	left  int64 // of the whole content
	sum   hash.Hash
}

// openMember reads the header of e, which the span has next.
func openMember(span *tarSpan, e *Entry) (*member, error) {
	m := &member{e: e, span: span, left: e.Size}
	if e.hasSum() {
		m.sum = sha256.New()
	}
	var plain bool
	if m.owner, plain = span.foretold(e); plain {
		m.part = e.Size
		return m, nil
	}
	hdr, err := m.nextHeader()
	if err != nil {
		return nil, err
	}
	m.owner = ownershipOf(hdr)
	return m, nil
}

// nextHeader reads the member's next tar header and checks it.
func (m *member) nextHeader() (*tar.Header, error) {
	if err := m.span.skip(padding(m.size)); err != nil {
		return nil, m.streamError(err)
	}
	hdr, err := tar.NewReader(m.span).Next()
	if err != nil {
		return nil, m.streamError(err)
	}
	m.parts++
	name := m.e.Path
	if m.e.Flags&entry.Parts != 0 {
		name = partName(name, m.parts)
	}
	if what := m.differs(hdr, name); what != "" {
		return nil, fmt.Errorf("%w: %s: index and tar differ in the %s", ErrCorrupt, Escape(m.e.Path), what)
	}
	m.size, m.part = hdr.Size, hdr.Size
	return hdr, nil
}

// differs names what in a header is not as the index has it.
func (m *member) differs(hdr *tar.Header, name string) string {
	e := m.e
	if e.Kind == entry.Dir {
		name += "/"
	}
	link := ""
	if e.Kind == entry.Symlink || e.Kind == entry.Hardlink {
		link = e.LinkTarget
	}
	switch {
	case hdr.Typeflag != tarTypeOf(e.Kind) || isSparse(hdr):
		return "type"
	case hdr.Name != name:
		return "name"
	case hdr.Linkname != link:
		return "link"
	case hdr.Mode != int64(e.Mode):
		return "mode"
	case !hdr.ModTime.Equal(e.ModTime):
		return "time"
	case e.Flags&entry.Parts == 0 && hdr.Size != e.Size:
		return "size"
	case hdr.Size > m.left || (e.Flags&entry.Parts != 0 && (hdr.Size == 0 || hdr.Size > MaxPart)):
		return "size of a part"
	}
	return ""
}

// isSparse finds the records with which a header claims more content than it
// has; no archive of ours has any.
func isSparse(hdr *tar.Header) bool {
	for key := range hdr.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// Read implements io.Reader.
func (m *member) Read(p []byte) (int, error) {
	if m.left == 0 {
		return 0, m.end()
	}
	b, err := m.piece(len(p))
	if m.sum != nil {
		m.sum.Write(b)
	}
	return copy(p, b), err
}

// piece gives the next bytes of the content, unchecked and no more than most,
// valid until the next call. Behind the last: io.EOF.
func (m *member) piece(most int) ([]byte, error) {
	if m.left == 0 {
		return nil, io.EOF
	}
	if m.part == 0 {
		if _, err := m.nextHeader(); err != nil {
			return nil, err
		}
	}
	b, err := m.span.piece(int(min(m.part, int64(most))))
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, m.streamError(err)
	}
	m.part -= int64(len(b))
	m.left -= int64(len(b))
	return b, nil
}

// take gives all of the content, unchecked and without a copy, if it is in one
// frame. It must be given back with that.
func (m *member) take() (content []byte, frame *decoding) {
	if m.part != m.left {
		return nil, nil
	}
	content, frame = m.span.take(int(m.left))
	if frame != nil {
		m.part, m.left = 0, 0
	}
	return content, frame
}

// end tells whether the content was what the index promised.
func (m *member) end() error {
	if m.sum != nil && [sha256.Size]byte(m.sum.Sum(nil)) != m.e.SHA256 {
		return m.e.wrongHash()
	}
	return io.EOF
}

func (e *Entry) wrongHash() error {
	return fmt.Errorf("%w: %s: the content does not have its hash", ErrCorrupt, Escape(e.Path))
}

// streamError tells a tar stream that is broken from one that cannot be read.
func (m *member) streamError(err error) error {
	if m.span.err != nil {
		return fmt.Errorf("read %s: %w", Escape(m.e.Path), m.span.err)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, Escape(m.e.Path), err)
}
