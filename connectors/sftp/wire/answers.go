package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Status codes.
const (
	statusOK               = 0
	statusEOF              = 1
	statusNoSuchFile       = 2
	statusPermissionDenied = 3
)

// Errors that a server's status stands for.
var (
	ErrNotExist   = errors.New("no such file or directory")
	ErrPermission = errors.New("permission denied")
)

// StatusError is a request that the server refused for another reason.
type StatusError struct {
	Code    uint32
	Message string // the server's own words
}

func (e *StatusError) Error() string {
	if e.Message == "" {
		return fmt.Sprintf("the server answered with status %d", e.Code)
	}
	return fmt.Sprintf("the server answered %q (status %d)", e.Message, e.Code)
}

// IsStatus reports whether err is the server's answer to one request, as
// opposed to a connection that ended.
func IsStatus(err error) bool {
	var s *StatusError
	return errors.Is(err, ErrNotExist) || errors.Is(err, ErrPermission) || errors.Is(err, io.EOF) || errors.As(err, &s)
}

// maxStatusText bounds how much of a server's words is kept.
const maxStatusText = 200

// expect waits and gives the payload of an answer of the type; a status in its
// place is an error.
func (call *Call) expect(typ byte) (decoder, error) {
	if err := call.wait(); err != nil {
		return decoder{}, err
	}
	if call.typ == typ {
		return decoder{b: call.payload}, nil
	}
	if call.typ != typeStatus {
		return decoder{}, broken("an answer of type %d instead of %d", call.typ, typ)
	}
	if err := status(call.payload); err != nil {
		return decoder{}, err
	}
	return decoder{}, broken("success without an answer of type %d", typ)
}

func status(payload []byte) error {
	d := decoder{b: payload}
	code := d.u32()
	if d.err != nil {
		return d.err
	}
	switch code {
	case statusOK:
		return nil
	case statusEOF:
		return io.EOF
	case statusNoSuchFile:
		return ErrNotExist
	case statusPermissionDenied:
		return ErrPermission
	}
	// The words are missing in answers of very old servers.
	message := d.text()
	if d.err != nil {
		message = ""
	}
	return &StatusError{code, message[:min(len(message), maxStatusText)]}
}

// Status waits for success or failure.
func (call *Call) Status() error {
	if err := call.wait(); err != nil {
		return err
	}
	if call.typ != typeStatus {
		return broken("an answer of type %d instead of a status", call.typ)
	}
	return status(call.payload)
}

// Handle waits for the handle of what was opened.
func (call *Call) Handle() (string, error) {
	d, err := call.expect(typeHandle)
	if err != nil {
		return "", err
	}
	h := d.text()
	if d.err == nil && len(h) > maxHandle {
		return "", broken("a handle of %d bytes", len(h))
	}
	return h, d.err
}

// Data waits for how many bytes a read brought. It is at least one, or an error:
// io.EOF at or behind the end of the file. Fewer than asked for means nothing by
// itself.
func (call *Call) Data() (int, error) {
	if err := call.wait(); err != nil {
		return 0, err
	}
	if call.typ == typeData && call.into != nil {
		if call.n == 0 {
			return 0, broken("data without a byte")
		}
		return call.n, nil
	}
	_, err := call.expect(typeData)
	return 0, err
}

// Attrs waits for what is known of a file.
func (call *Call) Attrs() (Attrs, error) {
	d, err := call.expect(typeAttrs)
	if err != nil {
		return Attrs{}, err
	}
	return d.attrs(), d.err
}

// Target waits for the path that a link or another path leads to.
func (call *Call) Target() (string, error) {
	d, err := call.expect(typeName)
	if err != nil {
		return "", err
	}
	count := d.u32()
	if d.err == nil && count != 1 {
		return "", broken("%d names where one was asked for", count)
	}
	return d.text(), d.err
}

// Names waits for a batch of a directory and visits each name with what is known
// of it; the bytes are valid only during the visit. io.EOF means that there are
// no more. "." and ".." come too.
func (call *Call) Names(visit func(name, long []byte, attrs Attrs) error) error {
	d, err := call.expect(typeName)
	if err != nil {
		return err
	}
	count := d.u32()
	if d.err == nil && count == 0 {
		// It would be asked for ever.
		return broken("a batch of no names")
	}
	for range count {
		name, long, attrs := d.bytes(), d.bytes(), d.attrs()
		if d.err != nil {
			break
		}
		if err := visit(name, long, attrs); err != nil {
			return err
		}
	}
	return d.err
}

// Limits tells the server's limits, made sane: what every server must do where it
// does not say. After a lost connection they mean nothing.
func (c *Client) Limits() Limits {
	l := Limits{ReadLength: safeRead}
	if c.limits == nil {
		return l
	}
	d, err := c.limits.expect(typeExtendedReply)
	if err != nil {
		return l
	}
	_, read, _, handles := d.u64(), d.u64(), d.u64(), d.u64()
	if d.err != nil {
		return l
	}
	if read > 0 {
		l.ReadLength = int(min(read, maxRead))
	}
	l.OpenHandles = int(min(handles, 1<<20))
	return l
}

// OwnerNames waits for the names that were asked for, in the same order; a name
// that the server does not know is empty.
func (call *Call) OwnerNames() (users, groups []string, err error) {
	d, err := call.expect(typeExtendedReply)
	if err != nil {
		return nil, nil, err
	}
	list := func() (names []string) {
		in := decoder{b: d.bytes()}
		for len(in.b) > 0 && in.err == nil {
			names = append(names, in.text())
		}
		d.err = errors.Join(d.err, in.err)
		return names
	}
	users, groups = list(), list()
	return users, groups, d.err
}

// decoder reads a payload; after its first error it gives zero values.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) take(n uint64) []byte {
	if d.err == nil && n > uint64(len(d.b)) {
		d.err = broken("an answer ends early")
	}
	if d.err != nil {
		return nil
	}
	b := d.b[:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return be32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) bytes() []byte { return d.take(uint64(d.u32())) }

func (d *decoder) text() string { return string(d.bytes()) }
