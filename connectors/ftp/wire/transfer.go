package wire

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// Transfer is a data connection with what it is for. Finish or Abort ends it, and
// only then the connection takes other commands.
type Transfer struct {
	c     *Conn
	verb  string
	line  *patient
	data  net.Conn // line, or TLS over it
	end   error    // of reading
	clean bool     // the end was said, not just seen
	over  bool
	sends bool // data goes to the server
}

// Start begins a transfer: RETR, MLSD, LIST, STOR. An offset other than 0 is asked
// for with REST. A reply that refuses it is a *ReplyError, and leaves the connection
// as it was.
func (c *Conn) Start(ctx context.Context, verb, arg string, offset int64) (*Transfer, error) {
	if !Sendable(arg) {
		return nil, ErrName
	}
	if err := c.askTelnet(arg); err != nil {
		return nil, err
	}
	line, err := c.connectData(ctx)
	if err != nil {
		return nil, err
	}
	t := &Transfer{c: c, verb: verb, line: line, data: line, sends: verb == "STOR"}
	if err := c.announce(verb, arg, offset); err != nil {
		_ = t.shut() // err says what is wrong
		return nil, err
	}
	if err := t.secure(ctx); err != nil {
		return nil, err
	}
	return t, nil
}

// announce sends the command and waits until the server begins.
func (c *Conn) announce(verb, arg string, offset int64) error {
	if offset > 0 {
		if _, err := c.expect(3, "REST", strconv.FormatInt(offset, 10)); err != nil {
			return &NoRestError{err}
		}
	}
	if err := c.send(verb, arg); err != nil {
		return err
	}
	r, err := c.read(verb)
	if err != nil {
		return err
	}
	if r.Code/100 == 1 {
		return nil
	}
	if offset > 0 {
		_, err = c.Do("REST", "0") // so that the next transfer does not begin there
	}
	return errors.Join(&ReplyError{verb, r}, err)
}

// NoRestError says that the server cannot begin in the middle of a file.
type NoRestError struct{ err error }

func (e *NoRestError) Error() string { return e.err.Error() }

// Unwrap gives the server's reply.
func (e *NoRestError) Unwrap() error { return e.err }

// secure begins TLS on the data connection: after the reply, for servers wait with
// theirs until then.
func (t *Transfer) secure(ctx context.Context) error {
	if t.c.tls == nil {
		return nil
	}
	secure := tls.Client(t.line, t.c.tls)
	t.data = secure
	handshake, cancel := context.WithTimeout(ctx, t.c.cfg.Patience)
	defer cancel()
	err := secure.HandshakeContext(handshake)
	if err == nil {
		return nil
	}
	_ = t.shut() // err says what is wrong
	// The server's reply knows more: that it wanted a session to go on, for example.
	if r, replyErr := t.c.final(t.verb); replyErr != nil {
		return replyErr
	} else if r.Code/100 != 2 {
		err = fmt.Errorf("%w (%w)", &ReplyError{t.verb, r}, err)
		return &DataError{&TLSError{err}}
	}
	return &DataError{&TLSError{err}}
}

// Resumed reports whether the data connection goes on with the TLS session of the
// control connection.
func (t *Transfer) Resumed() bool {
	secure, ok := t.data.(*tls.Conn)
	return ok && secure.ConnectionState().DidResume
}

// Read implements io.Reader. The end is one in good order only if Finish says so.
func (t *Transfer) Read(p []byte) (int, error) {
	if t.end != nil {
		return 0, t.end
	}
	n, err := t.data.Read(p)
	if err != nil {
		t.end = err
		if !errors.Is(err, io.EOF) {
			t.end = &DataError{err}
		}
		// TLS takes the end of the connection for its own end, which a stranger in
		// between can bring about.
		t.clean = t.c.tls == nil || !t.line.ended.Load()
	}
	return n, t.end
}

// Write implements io.Writer.
func (t *Transfer) Write(p []byte) (int, error) {
	n, err := t.data.Write(p)
	if err != nil {
		err = &DataError{err}
	}
	return n, err
}

// Clean reports, after the end, that the server said that it is one. Without TLS
// there is no telling.
func (t *Transfer) Clean() bool { return t.clean }

// Broke ends a transfer in which writing failed, and gives the server's word for why
// where it has one: that its disk is full, say.
func (t *Transfer) Broke(err error) error {
	if t.over {
		return err
	}
	_ = t.shut() // err says what is wrong
	r, replyErr := t.c.final(t.verb)
	if replyErr == nil && r.Code/100 != 2 {
		return &ReplyError{t.verb, r}
	}
	return err
}

// farewell is how long the server may take to close a connection after it was told
// that nothing more comes.
const farewell = 10 * time.Second

// part says that nothing more comes, and waits until the server closes too. What it
// sent unasked, as TLS does, must be read: a connection that is closed over unread
// data is reset, which may destroy what the server has not read yet.
func (t *Transfer) part() error {
	secure, ok := t.data.(*tls.Conn)
	if !t.sends || !ok {
		return nil
	}
	if err := secure.CloseWrite(); err != nil {
		return err
	}
	if half, ok := t.line.Conn.(interface{ CloseWrite() error }); ok {
		if err := half.CloseWrite(); err != nil {
			return err
		}
	}
	t.line.patience = min(t.line.patience, farewell)
	_, _ = io.CopyN(io.Discard, secure, maxReply) // however it ends, the server's reply counts
	return nil
}

// Finish closes the data connection and requires the server's word that the
// transfer is complete.
func (t *Transfer) Finish() (Reply, error) {
	if t.over {
		return Reply{}, errors.New("the transfer is over")
	}
	closeErr := errors.Join(t.part(), t.shut())
	r, err := t.c.final(t.verb)
	switch {
	case err != nil:
		return r, err
	case r.Code/100 != 2:
		return r, &ReplyError{t.verb, r}
	case closeErr != nil:
		return r, &DataError{closeErr}
	}
	return r, nil
}

// Abort ends a transfer of which nothing more is wanted, and leaves the connection
// usable where it can.
func (t *Transfer) Abort() {
	if t.over {
		return
	}
	_ = t.shut()             // whatever it says, nothing of it counts
	_, _ = t.c.final(t.verb) // an error breaks the connection, which is noted
}

func (t *Transfer) shut() error {
	t.over = true
	err := t.data.Close()
	if lineErr := t.line.Close(); err == nil && !errors.Is(lineErr, net.ErrClosed) {
		err = lineErr
	}
	return errors.Join(err, t.c.keep(nil))
}

// ErrCut says that a data connection ended without TLS being ended first, as when
// somebody in between cuts it.
var ErrCut error = &DataError{errors.New("it ended without the server's word within TLS")}
