package wire

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var helloReply = []byte{0, 0, 0, 5, typeVersion, 0, 0, 0, version}

// scripted gives a client whose server sends one reply after its hello, and
// takes whatever comes.
func scripted(t testing.TB, reply []byte) *Client {
	t.Helper()
	here, there := net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() {
		buf := make([]byte, 4096)
		n, err := there.Read(buf)
		if err != nil || n != 9 {
			t.Errorf("hello of %d bytes, error %v", n, err)
		}
		serving.Go(func() { _, _ = io.Copy(io.Discard, there) }) // ends with the client
		_, _ = there.Write(append(slices.Clone(helloReply), reply...))
	})
	c := Start(here, nil)
	if err := c.Greeted(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if err := there.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
	return c
}

func TestCloseAnswersOpenCalls(t *testing.T) {
	c := scripted(t, nil)
	calls := []*Call{c.Open("/a"), c.Lstat("/b"), c.ReadDir("h"), c.Read("h", 0, make([]byte, 10))}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for i, call := range append(calls, c.Open("/late")) {
		if err := call.wait(); !errors.Is(err, ErrClosed) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	if !errors.Is(c.Err(), ErrClosed) {
		t.Errorf("the session ended with %v", c.Err())
	}
	select {
	case <-c.Done():
	default:
		t.Error("a closed session is not done")
	}
}

// What goes out with the hello is answered after it, or fails with it.
func TestEarlyCalls(t *testing.T) {
	for _, c := range []struct {
		what, reply string
		fails       bool
	}{
		{"a good hello", string(helloReply) + "\x00\x00\x00\x09\x65\x00\x00\x00\x00\x00\x00\x00\x08" + "\x00\x00\x00\x09\x69\x00\x00\x00\x01\x00\x00\x00\x00", false},
		{"words in its place", "Welcome to this server!\n", true},
		{"nothing", "", true},
	} {
		here, there := net.Pipe()
		var serving sync.WaitGroup
		serving.Go(func() {
			_, _ = io.ReadFull(there, make([]byte, 9+31+15))
			_, _ = io.WriteString(there, c.reply)
			if c.fails {
				_ = there.Close()
			}
		})
		var early *Call
		client := Start(here, func(client *Client) { early = client.Lstat("/a") })
		err := client.Greeted()
		_, callErr := early.Attrs()
		if (err != nil) != c.fails || (callErr != nil) != c.fails {
			t.Errorf("%s: errors %v, %v of the call", c.what, err, callErr)
		}
		if err == nil {
			if l := client.Limits(); l.ReadLength != safeRead {
				t.Errorf("%s: limits of %+v from a server that has none", c.what, l)
			}
			_ = client.Close()
		}
		_ = there.Close()
		serving.Wait()
	}
}

func TestStalledCountsOnlyWhileSomethingIsOwed(t *testing.T) {
	c := scripted(t, nil)
	if d := c.Stalled(); d != 0 {
		t.Errorf("stalled for %v while nothing is owed", d)
	}
	c.Open("/a")
	deadline := time.After(time.Minute)
	for c.Stalled() < 10*time.Millisecond {
		select {
		case <-deadline:
			t.Fatal("an answer that never comes does not count")
		case <-time.After(time.Millisecond):
		}
	}
}

// FuzzAnswers feeds a server's bytes to every kind of call: none may hang, panic
// or write past its buffer.
func FuzzAnswers(f *testing.F) {
	f.Add([]byte{0, 0, 0, 9, typeStatus, 0, 0, 0, 0, 0, 0, 0, 2})
	f.Add([]byte{0, 0, 0, 10, typeHandle, 0, 0, 0, 0, 0, 0, 0, 1, 'h'})
	f.Add([]byte{0, 0, 0, 11, typeData, 0, 0, 0, 1, 0, 0, 0, 2, 'a', 'b'})
	f.Add([]byte{0, 0, 0, 22, typeName, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 1, 'n', 0, 0, 0, 0, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 9, typeAttrs, 0, 0, 0, 3, 0x80, 0, 0, 1})
	f.Fuzz(func(t *testing.T, reply []byte) {
		here, there := net.Pipe()
		buf := make([]byte, 16)
		var serving sync.WaitGroup
		ready := make(chan struct{})
		serving.Go(func() {
			_, _ = there.Read(make([]byte, 9))
			_, _ = there.Write(helloReply)
			<-ready
			_, _ = there.Write(reply)
			_ = there.Close()
		})
		c := Start(here, nil)
		if err := c.Greeted(); err != nil {
			t.Fatal(err)
		}
		calls := []*Call{c.Open("/a"), c.Read("h", 0, buf[:8]), c.ReadDir("h"), c.Lstat("/a"), c.ReadLink("/l"), c.CloseHandle("h")}
		// What a server sends before it was asked answers nothing: the calls
		// stand already.
		close(ready)
		_, _ = calls[0].Handle()
		if n, err := calls[1].Data(); err == nil && (n < 1 || n > 8) {
			t.Errorf("%d bytes in a buffer of 8", n)
		}
		_ = calls[2].Names(func(_, _ []byte, _ Attrs) error { return nil })
		_, _ = calls[3].Attrs()
		_, _ = calls[4].Target()
		_ = calls[5].Status()
		if !slices.Equal(buf[8:], make([]byte, 8)) {
			t.Error("written past the buffer")
		}
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		serving.Wait()
	})
}

func TestDecoder(t *testing.T) {
	d := decoder{b: []byte{0, 0, 0, 2, 'a', 'b', 0, 0, 0, 9}}
	if s := d.text(); s != "ab" || d.err != nil {
		t.Errorf("%q, %v", s, d.err)
	}
	if n := d.u32(); n != 9 || d.err != nil {
		t.Errorf("%d, %v", n, d.err)
	}
	if d.u64(); d.err == nil {
		t.Error("reads past the end")
	}
	if _, ok := errors.AsType[*ProtocolError](d.err); !ok {
		t.Errorf("%v is no protocol error", d.err)
	}
}
