package connectortest

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/testenv"
)

// Content is what is read of a server that serves no tree: its databases, say.
type Content struct {
	// Kind is what a probe calls it: "database".
	Kind string
	// Make makes some of so many bytes at least, and gives its name, which Config takes in
	// place of a path. It is not changed, and gone when the test is over, or with the server.
	Make func(t *testing.T, bytes int) (name string)
	// Missing is the name of what is not there.
	Missing string
	// Idle reports whether nobody who reads or restores is logged in any more.
	Idle func(t *testing.T) bool
}

// Sizes of what is read: that it is there; that it comes in many pieces; and that more is
// to come than lies in buffers on the way, when some of it was read.
const (
	little = 0
	some   = 3 << 20
	much   = 24 << 20
)

// early is how much of that was read when something happens in the middle of it.
const early = 1 << 20

// fill makes something to read, and gives the path or name of it.
func (s *Server) fill(t *testing.T, bytes int) string {
	t.Helper()
	tr := tree{t, s.Root}
	switch {
	case s.Content != nil:
		return s.Content.Make(t, bytes)
	case bytes == little:
		tr.file("file", 5)
	case bytes == some:
		mixed(tr)
	default:
		ballast(tr)
	}
	return s.Root
}

// visits keeps the numbers of visits that there are.
func (s *Server) visits(numbers ...int) []int {
	if s.Content == nil {
		return numbers
	}
	var few []int
	for _, n := range numbers {
		if n <= 1 {
			few = append(few, n)
		}
	}
	return few
}

// idle checks that nothing goes on at a server for which nobody waits.
func (s *Server) idle(t *testing.T) {
	t.Helper()
	if s.Content != nil && s.Content.Idle != nil {
		testenv.Eventually(t, 2*time.Minute, func() bool { return s.Content.Idle(t) }, "somebody is still logged in")
	}
}

// placed is a source whose entries are called as they are on the disk.
type placed struct {
	connectors.Source
	place func(name string) (path string, ok bool)
}

// Read implements connectors.Source.
func (p placed) Read(ctx context.Context, visit func(connectors.Item) error) error {
	return p.Source.Read(ctx, func(item connectors.Item) error {
		path, ok := p.place(item.Path)
		if !ok {
			if item.Body == nil {
				return nil
			}
			_, err := io.Copy(io.Discard, item.Body)
			return err
		}
		item.Path = path
		if item.Kind == entry.Hardlink {
			item.LinkTarget, _ = p.place(item.LinkTarget)
		}
		return visit(item)
	})
}

// halfway is a source of which something is done to the world once so many bytes of
// content were read.
type halfway struct {
	connectors.Source
	after int64
	do    func()
}

// Read implements connectors.Source.
func (h *halfway) Read(ctx context.Context, visit func(connectors.Item) error) error {
	m := &meanwhile{h.after, h.do}
	return h.Source.Read(ctx, func(item connectors.Item) error {
		if item.Body != nil {
			item.Body = io.TeeReader(item.Body, m)
		}
		return visit(item)
	})
}

// meanwhile does something once, when so many bytes were written to it.
type meanwhile struct {
	after int64
	do    func()
}

// Write implements io.Writer.
func (m *meanwhile) Write(p []byte) (int, error) {
	m.after -= int64(len(p))
	if m.after <= 0 && m.do != nil {
		do := m.do
		m.do = nil
		do()
	}
	return len(p), nil
}

// ofEntry reports whether the end of a body concerns that entry alone: an archive goes on
// with the next. It ends with every other error.
func ofEntry(err error) bool {
	_, ok := errors.AsType[*entry.ContentError](err)
	return ok || errors.Is(err, entry.ErrChanged)
}
