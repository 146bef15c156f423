package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"
)

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// outbox gathers requests while the last ones are being written, so that many
// small requests share one SSH packet. What waits in it is bounded by the number
// of calls that the caller keeps open.
type outbox struct {
	mu      sync.Mutex
	pending []byte
	wake    chan struct{}
}

func (o *outbox) add(packet func([]byte) []byte) {
	o.mu.Lock()
	o.pending = packet(o.pending)
	o.mu.Unlock()
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// run writes until stop is closed; after an error it only waits for that, since
// whoever receives learns of the broken connection as well.
func (o *outbox) run(w io.WriteCloser, stop <-chan struct{}) {
	var batch []byte
	for {
		select {
		case <-stop:
			return
		case <-o.wake:
		}
		o.mu.Lock()
		batch, o.pending = o.pending, batch[:0]
		o.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		if _, err := w.Write(batch); err != nil {
			_ = w.Close() // ends the receiving side
			<-stop
			return
		}
	}
}

// Call is a request on its way. Its methods wait for the answer; each call is
// waited for by one goroutine only.
type Call struct {
	mu       sync.Mutex
	answered bool
	done     chan struct{} // closed with the answer; there once somebody waits

	first   bool   // nothing was opened before
	into    []byte // where data goes, for a read
	most    int    // length of an answer
	n       int    // how much came
	typ     byte
	payload []byte // after the id, for everything but data
	small   [48]byte
	err     error
}

// finish says that the answer, or an error in its place, is there.
func (call *Call) finish() {
	call.mu.Lock()
	defer call.mu.Unlock()
	call.answered = true
	if call.done != nil {
		close(call.done)
	}
}

// First reports whether the call opens something, and is the first of its client to do so.
func (call *Call) First() bool { return call.first }

// Answered reports whether the answer can be had without waiting.
func (call *Call) Answered() bool {
	call.mu.Lock()
	defer call.mu.Unlock()
	return call.answered
}

// wanted is what to wait for; nil where the answer is there.
func (call *Call) wanted() <-chan struct{} {
	call.mu.Lock()
	defer call.mu.Unlock()
	if call.answered {
		return nil
	}
	if call.done == nil {
		call.done = make(chan struct{})
	}
	return call.done
}

// AnsweredBy waits for the answer until something else comes; false when that
// was first.
func (call *Call) AnsweredBy(other <-chan time.Time) bool {
	done := call.wanted()
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	case <-other:
		return false
	}
}

func (call *Call) wait() error {
	if done := call.wanted(); done != nil {
		<-done
	}
	return call.err
}

// send makes a call of what body appends after the type and the id.
func (c *Client) send(typ byte, into []byte, body func([]byte) []byte) *Call {
	call := &Call{into: into, most: maxAnswer}
	if typ == typeReaddir || typ == typeExtended {
		call.most = maxPacket
	}
	c.mu.Lock()
	if c.failure != nil || c.calls == nil {
		call.err = c.failure
		c.mu.Unlock()
		call.answered = true
		return call
	}
	id := c.nextID
	c.nextID++
	if len(c.calls) == 0 {
		c.touch()
	}
	c.calls[id] = call
	if typ == typeOpen || typ == typeOpendir {
		call.first, c.opened = !c.opened, true
	}
	// Inside the lock: requests go out in the order of the calls.
	c.out.add(func(b []byte) []byte {
		start := len(b)
		b = append(b, 0, 0, 0, 0, typ)
		b = binary.BigEndian.AppendUint32(b, id)
		b = body(b)
		binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
		return b
	})
	c.mu.Unlock()
	return call
}

// receive answers calls until the connection ends.
func (c *Client) receive() error {
	var head [9]byte
	for {
		if _, err := io.ReadFull(c.in, head[:]); err != nil {
			return fmt.Errorf("sftp connection lost: %w", noEOF(err))
		}
		length := be32(head[:])
		if length < 5 || length > maxPacket {
			return broken("a packet of %d bytes", length)
		}
		call := c.take(be32(head[5:]))
		if call == nil {
			return broken("an answer to no request")
		}
		if err := call.fill(c.in, head[4], int(length)-5); err != nil {
			call.err = err
			call.finish()
			return err
		}
		call.finish()
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (c *Client) take(id uint32) *Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	call := c.calls[id]
	delete(c.calls, id)
	return call
}

// fill reads the rest of a packet.
func (call *Call) fill(in io.Reader, typ byte, rest int) error {
	call.typ = typ
	if typ == typeData && call.into != nil {
		return call.fillData(in, rest)
	}
	if rest > call.most {
		return broken("an answer of %d bytes, of type %d", rest, typ)
	}
	if call.payload = call.small[:min(rest, len(call.small))]; rest > len(call.small) {
		call.payload = make([]byte, rest)
	}
	if _, err := io.ReadFull(in, call.payload); err != nil {
		return fmt.Errorf("sftp connection lost: %w", noEOF(err))
	}
	return nil
}

// fillData reads straight into the caller's buffer.
func (call *Call) fillData(in io.Reader, rest int) error {
	var size [4]byte
	if rest < len(size) {
		return broken("data without a length")
	}
	if _, err := io.ReadFull(in, size[:]); err != nil {
		return fmt.Errorf("sftp connection lost: %w", noEOF(err))
	}
	n := int(be32(size[:]))
	if n != rest-len(size) || n > len(call.into) {
		return broken("%d bytes of data where %d were asked for", n, len(call.into))
	}
	if _, err := io.ReadFull(in, call.into[:n]); err != nil {
		return fmt.Errorf("sftp connection lost: %w", noEOF(err))
	}
	call.n = n
	return nil
}
