package sftp

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"xvault/connectors/sftp/wire"
)

// modes is a server that knows of modes only. What it is asked comes out of asked,
// and waits until an answer goes into answers.
type modes struct {
	asked   chan struct{}
	answers chan uint32
}

func (m modes) serve(conn net.Conn) {
	for {
		var head [9]byte // of the greeting, too: its version stands where an id does
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head[:]))-5); err != nil {
			return
		}
		answer := []byte{0, 0, 0, 5, 2, 0, 0, 0, 3}
		if head[4] != 1 {
			m.asked <- struct{}{}
			answer = append([]byte{0, 0, 0, 13, 105}, head[5:]...)
			answer = binary.BigEndian.AppendUint32(append(answer, 0, 0, 0, 4), <-m.answers)
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

func TestGlancesAreSharedByThoseWhoComeBeforeTheQuestion(t *testing.T) {
	t.Parallel()
	near, far := net.Pipe()
	m := modes{make(chan struct{}), make(chan uint32)}
	go m.serve(far)
	c, err := wire.New(near, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	g := newGlances(c.Lstat)
	expect := func(look looked, mode uint32) {
		t.Helper()
		if a, err := look.Attrs(); err != nil || a.Mode != mode {
			t.Errorf("mode %o, error %v; want %o", a.Mode, err, mode)
		}
	}

	first := g.look("/a")
	<-m.asked
	// What is on its way tells them of a time before they came.
	second, third := g.look("/a"), g.look("/a")
	if second == first || third != second {
		t.Error("later looks are not one of their own")
	}
	m.answers <- wire.ModeDir
	expect(first, wire.ModeDir)
	<-m.asked
	m.answers <- wire.ModeSymlink
	expect(second, wire.ModeSymlink)
	g.wait()

	fourth := g.look("/a")
	<-m.asked
	m.answers <- wire.ModeDir
	expect(fourth, wire.ModeDir)
	g.wait()
	if len(g.last) > 0 {
		t.Errorf("%d looks are remembered", len(g.last))
	}
}
