// Package wire is a client of SFTP version 3, made for one purpose: to keep
// hundreds of requests on their way at once, over a link whose round trips are
// long, within a memory that the caller sets. What changes something on the server
// stands in changes.go; a source that is read never comes there.
//
// Every request is sent at once and answered later: a method returns a *Call,
// whose own methods wait for the answer and decode it. Requests reach the server
// in the order in which they were made, so that a close may be sent right after
// a read. The caller owns what is bounded: how many calls are open, and the
// buffers that they read into.
//
// The server is not trusted. A packet that is too long, that answers nothing, or
// that does not decode ends the connection with a *ProtocolError.
//
// github.com/pkg/sftp is not used here because its listing of a directory waits
// for each batch of names before it asks for the next, keeps every name as a
// structure of its own, and has no bound.
package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Packet types.
const (
	typeInit          = 1
	typeVersion       = 2
	typeOpen          = 3
	typeClose         = 4
	typeRead          = 5
	typeLstat         = 7
	typeFstat         = 8
	typeOpendir       = 11
	typeReaddir       = 12
	typeRealpath      = 16
	typeStat          = 17
	typeReadlink      = 19
	typeStatus        = 101
	typeHandle        = 102
	typeData          = 103
	typeName          = 104
	typeAttrs         = 105
	typeExtended      = 200
	typeExtendedReply = 201
)

const (
	version = 3
	// maxPacket is what OpenSSH sends at most, with room to spare.
	maxPacket = 256<<10 + 4<<10
	// maxAnswer bounds what is neither content nor a list: handles, attributes, a
	// link's target, words. Thousands of them are held at once.
	maxAnswer = 16 << 10
	// maxHandle is what the protocol allows.
	maxHandle = 256
	// safeRead is the length of a read that every server must serve whole.
	safeRead = 32 << 10
	// maxRead bounds the length of a read whatever the server offers.
	maxRead = 255 << 10
)

// ErrClosed is the error of every call of a client that was closed.
var ErrClosed = errors.New("sftp connection closed")

// ProtocolError says that the server does not speak SFTP as it must.
type ProtocolError struct{ What string }

func (e *ProtocolError) Error() string { return "sftp protocol: " + e.What }

func broken(format string, args ...any) error { return &ProtocolError{fmt.Sprintf(format, args...)} }

// Client is one SFTP session. Its methods may be called from many goroutines.
type Client struct {
	rw io.ReadWriteCloser
	in *bufio.Reader

	greeted    chan struct{} // closed with what follows, which does not change any more
	extensions map[string]string
	limits     *Call // answered when needed; nil where the server has none
	helloErr   error

	mu      sync.Mutex
	calls   map[uint32]*Call
	nextID  uint32
	opened  bool  // something was
	failure error // set once; no call is taken after it

	out  outbox
	done chan struct{} // closed when both goroutines have ended

	since    time.Time    // when the session began, by a clock that nobody sets
	progress atomic.Int64 // how long after that the server was last heard, or last had nothing to do
	received atomic.Int64 // bytes that came
}

// Start says hello over rw and starts the session, which owns rw from then on, also
// when that fails.
//
// early, where it is not nil, makes calls that go out together with the hello, which
// saves them a round trip. That is for servers which are known to read on, and to
// have limits or refuse them: OpenSSH. The same goes for calls before Greeted has
// returned. Where the hello fails, so do they.
func Start(rw io.ReadWriteCloser, early func(*Client)) *Client {
	c := &Client{
		rw: rw, calls: map[uint32]*Call{}, extensions: map[string]string{}, done: make(chan struct{}),
		greeted: make(chan struct{}),
		since:   time.Now(), //nolint:forbidigo // measures silence, decides nothing else
	}
	c.in = bufio.NewReaderSize(watched{c}, 64<<10)
	c.touch()
	c.out.wake = make(chan struct{}, 1)
	c.out.add(func(b []byte) []byte { return append(b, 0, 0, 0, 5, typeInit, 0, 0, 0, version) })
	if early != nil {
		c.limits = c.sendText(typeExtended, limitsExtension)
		early(c)
	}
	var running sync.WaitGroup
	stop := make(chan struct{})
	running.Go(func() {
		defer close(stop)
		c.finish(c.converse())
	})
	running.Go(func() { c.out.run(rw, stop) })
	go func() {
		running.Wait()
		close(c.done)
	}()
	return c
}

// Greeted waits for the server's hello. Where that fails, the session has ended.
func (c *Client) Greeted() error {
	if <-c.greeted; c.helloErr != nil {
		<-c.done
	}
	return c.helloErr
}

// Hello is closed when the server has said hello, or failed to.
func (c *Client) Hello() <-chan struct{} { return c.greeted }

// Speaks reports whether the server has said hello by now.
func (c *Client) Speaks() bool {
	select {
	case <-c.greeted:
		return c.helloErr == nil
	default:
		return false
	}
}

// converse says hello and then answers calls until the connection ends.
func (c *Client) converse() error {
	c.helloErr = c.hello()
	if v := c.extensions[limitsExtension]; v == "1" && c.limits == nil {
		c.limits = c.sendText(typeExtended, limitsExtension)
	}
	close(c.greeted)
	if c.helloErr != nil {
		return c.helloErr
	}
	return c.receive()
}

// watched notes every time that bytes arrive.
type watched struct{ c *Client }

func (w watched) Read(p []byte) (int, error) {
	n, err := w.c.rw.Read(p)
	if n > 0 {
		w.c.received.Add(int64(n))
		w.c.touch()
	}
	return n, err
}

func (c *Client) touch() {
	c.progress.Store(int64(time.Since(c.since)))
}

// Stalled says for how long the server has owed answers without sending a byte;
// 0 where it owes none.
func (c *Client) Stalled() time.Duration {
	c.mu.Lock()
	owed := len(c.calls)
	c.mu.Unlock()
	if owed == 0 {
		return 0
	}
	return time.Since(c.since) - time.Duration(c.progress.Load())
}

// Received is how many bytes came from the server.
func (c *Client) Received() int64 { return c.received.Load() }

func (c *Client) hello() error {
	head, err := c.in.Peek(1)
	if err == nil && head[0] != 0 {
		// Text where SFTP was due: a packet's length starts with a zero.
		return broken("the server's answer is %q", c.glimpse())
	}
	if err == nil {
		head, err = c.in.Peek(9)
	}
	if err != nil {
		return fmt.Errorf("greet the sftp server: %w", err)
	}
	length := be32(head)
	if head[4] != typeVersion || length < 5 || length > maxPacket {
		return broken("the server's answer starts with %q", c.glimpse())
	}
	packet := make([]byte, 4+length)
	if _, err := io.ReadFull(c.in, packet); err != nil {
		return fmt.Errorf("greet the sftp server: %w", err)
	}
	if v := be32(packet[5:]); v != version {
		return broken("the server speaks version %d, not %d", v, version)
	}
	d := decoder{b: packet[9:]}
	for len(d.b) > 0 && d.err == nil {
		name, data := d.text(), d.text()
		c.extensions[name] = data
	}
	return d.err
}

// glimpse is the start of what came in place of an answer: mostly the words of
// a shell's start file.
func (c *Client) glimpse() []byte {
	b, err := c.in.Peek(min(c.in.Buffered(), 80))
	if err != nil {
		return nil
	}
	return b
}

// Extension tells the data of an extension that the server announced.
func (c *Client) Extension(name string) (string, bool) {
	data, ok := c.extensions[name]
	return data, ok
}

// Close ends the session and waits until nothing of it runs. Calls that are
// still open fail with ErrClosed. It may be called twice.
func (c *Client) Close() error {
	c.fail(ErrClosed)
	err := ignoreEOF(c.rw.Close())
	<-c.done
	return err
}

// Done is closed when the session has ended, for whatever reason.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err is why the session ended.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failure == nil {
		c.failure = err
	}
}

// finish answers every open call with the failure. Only the receiving goroutine
// comes here, so that no buffer is written to after its call was answered.
func (c *Client) finish(err error) {
	c.fail(err)
	_ = c.rw.Close() // the failure counts, and it unblocks the sender
	c.mu.Lock()
	open := c.calls
	c.calls, err = nil, c.failure
	c.mu.Unlock()
	for _, call := range open {
		call.err = err
		call.finish()
	}
}

// ignoreEOF: a channel that the other side closed already says EOF.
func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}
