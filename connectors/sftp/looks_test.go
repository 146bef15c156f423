package sftp

import (
	"encoding/binary"
	"io"
	"net"
	"testing"

	"xvault/connectors/sftp/wire"
)

// heldServer answers each question about a path when it is told to, with how many it
// had been asked by then as the size.
type heldServer struct {
	asked  chan string
	answer chan struct{}
	stop   chan struct{}
}

func (h *heldServer) serve(t *testing.T, conn io.ReadWriter) {
	t.Helper()
	for n := uint64(0); ; {
		var length [4]byte
		if _, err := io.ReadFull(conn, length[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err := io.ReadFull(conn, body); err != nil {
			return
		}
		reply := []byte{0, 0, 0, 5, 2, 0, 0, 0, 3} // the version
		if body[0] != 1 {
			n++
			h.asked <- string(body[9:])
			select {
			case <-h.answer:
			case <-h.stop:
				return
			}
			reply = append([]byte{0, 0, 0, 17, 105}, body[1:5]...)
			reply = binary.BigEndian.AppendUint64(append(reply, 0, 0, 0, 1), n)
		}
		if _, err := conn.Write(reply); err != nil {
			return
		}
	}
}

func startHeld(t *testing.T) (*heldServer, *wire.Client) {
	t.Helper()
	ours, theirs := net.Pipe()
	h := &heldServer{asked: make(chan string, 16), answer: make(chan struct{}, 16), stop: make(chan struct{})}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		h.serve(t, theirs)
	}()
	c := wire.Start(ours, nil)
	if err := c.Greeted(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		close(h.stop)
		_ = c.Close()
		_ = theirs.Close()
		<-ended
	})
	return h, c
}

func sizeOf(t *testing.T, k *look) uint64 {
	t.Helper()
	a, err := k.answer()
	if err != nil {
		t.Fatal(err)
	}
	return a.Size
}

// Who asks while an answer is on its way gets the next one, and with everybody else.
func TestLooksAreShared(t *testing.T) {
	t.Parallel()
	h, c := startHeld(t)
	l := newLooks(c, func() bool { return true })
	first := l.at("/d", false)
	if path := <-h.asked; path != "/d" {
		t.Fatal("asked about", path)
	}
	second, third, other := l.at("/d", false), l.at("/d", false), l.at("/e", false)
	for range 4 { // one is for whoever asks later, or for a question that should not be
		h.answer <- struct{}{}
	}
	// The last of them first: it must not wait for somebody else to ask for it.
	if n := sizeOf(t, third); n != 3 {
		t.Errorf("the shared answer is that to question %d", n)
	}
	if a, b, e := sizeOf(t, first), sizeOf(t, second), sizeOf(t, other); a != 1 || b != 3 || e != 2 {
		t.Errorf("answers to the questions %d, %d and, about another path, %d", a, b, e)
	}
	if n := sizeOf(t, l.at("/d", false)); n != 4 {
		t.Errorf("who asks later got the answer to question %d", n)
	}
	if len(l.last) > 0 {
		t.Errorf("%d paths are remembered", len(l.last))
	}
}

// Far away nobody waits for the answer to another's question.
func TestLooksFarAwayAreNotShared(t *testing.T) {
	t.Parallel()
	h, c := startHeld(t)
	l := newLooks(c, func() bool { return false })
	looks := []*look{l.at("/d", false), l.at("/d", false), l.at("/d", false)}
	for i, k := range looks {
		h.answer <- struct{}{}
		if n := sizeOf(t, k); n != uint64(i+1) {
			t.Errorf("look %d got the answer to question %d", i+1, n)
		}
	}
}
