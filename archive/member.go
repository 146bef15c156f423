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
	tar   *tar.Reader // nil: the content is next in the span, and all of it
	owner ownership
	parts int
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
		return m, nil
	}
	m.tar = tar.NewReader(span)
	hdr, err := m.nextHeader()
	if err != nil {
		return nil, err
	}
	m.owner = ownershipOf(hdr)
	return m, nil
}

// nextHeader reads the member's next tar header and checks it.
func (m *member) nextHeader() (*tar.Header, error) {
	hdr, err := m.tar.Next()
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
	for {
		if m.left == 0 {
			return 0, m.end()
		}
		n, err := m.piece(p)
		if n > 0 {
			if m.sum != nil {
				m.sum.Write(p[:n])
			}
			m.left -= int64(n)
			return n, nil
		}
		if errors.Is(err, io.EOF) && m.e.Flags&entry.Parts != 0 {
			_, err = m.nextHeader()
		} else if err != nil {
			err = m.streamError(err)
		}
		if err != nil {
			return 0, err
		}
		if len(p) == 0 {
			return 0, nil
		}
	}
}

// piece reads some content, of the part at hand where there are several.
func (m *member) piece(p []byte) (int, error) {
	if m.tar != nil {
		return m.tar.Read(p)
	}
	n, err := m.span.Read(p[:min(int64(len(p)), m.left)])
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// take gives all of the content, unchecked and without a copy, if it is in one
// frame. It must be given back with that.
func (m *member) take() (content []byte, frame *decoding) {
	if m.e.Flags&entry.Parts != 0 {
		return nil, nil
	}
	content, frame = m.span.take(int(m.left))
	if frame != nil {
		m.left = 0
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
