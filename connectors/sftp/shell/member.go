package shell

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// members reads the stream that tar makes: the POSIX format, of which only what
// this package asks tar for is understood. Anything else is an error.
type members struct {
	in    *bufio.Reader
	name  []byte // of the member that was read last, valid until the next
	typ   byte
	size  int64
	mtime int64
	rest  int64 // of its content and padding, not read yet
	head  [block]byte
	pax   []byte
}

const (
	typeFile   = '0'
	typeDir    = '5'
	typePax    = 'x'
	maxPax     = 1 << 20
	maxContent = 1 << 53
)

var errStream = errors.New("tar's output is not what it should be")

// next reads the header of the next member, past the rest of the last one; io.EOF
// at the end of the archive.
func (m *members) next() error {
	if _, err := io.CopyN(io.Discard, m.in, m.rest); err != nil {
		return noEOF(err)
	}
	m.rest = 0
	var long []byte
	size := int64(-1)
	for {
		if _, err := io.ReadFull(m.in, m.head[:]); err != nil {
			return noEOF(err)
		}
		if isZero(m.head[:]) {
			return io.EOF
		}
		if err := m.parse(); err != nil {
			return err
		}
		if m.typ != typePax {
			break
		}
		var err error
		if long, size, err = m.extended(); err != nil {
			return err
		}
	}
	if long != nil {
		m.name = append(m.name[:0], long...)
	}
	if size >= 0 {
		m.size = size
	}
	if m.typ == typeFile {
		m.rest = padded(m.size)
	} else {
		m.size = 0
	}
	return nil
}

// content reads the member's content, which is as long as to.
func (m *members) content(to []byte) error {
	if _, err := io.ReadFull(m.in, to); err != nil {
		return noEOF(err)
	}
	m.rest -= int64(len(to))
	n := int(m.rest)
	if n >= block {
		return errStream // the caller's length is another
	}
	m.rest = 0
	_, err := m.in.Discard(n)
	return noEOF(err)
}

func padded(n int64) int64 { return (n + block - 1) &^ (block - 1) }

func isZero(b []byte) bool { return b[0] == 0 && len(bytes.Trim(b, "\x00")) == 0 }

// parse reads the header's fields.
func (m *members) parse() error {
	h := m.head[:]
	if string(h[257:263]) != "ustar\x00" {
		return fmt.Errorf("%w: no header where one was due", errStream)
	}
	sum, ok := octal(h[148:156])
	if !ok || sum != checksum(h) {
		return fmt.Errorf("%w: a header's sum is wrong", errStream)
	}
	m.typ = h[156]
	m.name = m.name[:0]
	if prefix := upToZero(h[345:500]); len(prefix) > 0 {
		m.name = append(append(m.name, prefix...), '/')
	}
	m.name = append(m.name, upToZero(h[:100])...)
	// A number too large for its field stands in base 256, or in an extended
	// header, and a time before 1970 as well.
	if m.size, ok = number(h[124:136]); !ok || m.size < 0 || m.size > maxContent {
		return fmt.Errorf("%w: a size of %q", errStream, h[124:136])
	}
	if m.mtime, ok = number(h[136:148]); !ok {
		return fmt.Errorf("%w: a time of %q", errStream, h[136:148])
	}
	return nil
}

func upToZero(b []byte) []byte {
	before, _, _ := bytes.Cut(b, []byte{0})
	return before
}

// checksum adds the bytes up, those of the sum itself as spaces.
func checksum(h []byte) int64 {
	var sum int64
	for _, c := range h {
		sum += int64(c)
	}
	for _, c := range h[148:156] {
		sum += ' ' - int64(c)
	}
	return sum
}

// octal reads a number that spaces or zero bytes surround.
func octal(b []byte) (int64, bool) {
	b = bytes.Trim(b, " \x00")
	var v int64
	for _, c := range b {
		if c < '0' || c > '7' || v > 1<<59 {
			return 0, false
		}
		v = v<<3 | int64(c-'0')
	}
	return v, true
}

// number reads octal digits, or a signed number of base 256.
func number(b []byte) (int64, bool) {
	if b[0] != 0x80 && b[0] != 0xff {
		return octal(b)
	}
	sign := byte(0)
	if b[0] == 0xff {
		sign = 0xff
	}
	for _, c := range b[1 : len(b)-8] {
		if c != sign {
			return 0, false
		}
	}
	var v uint64
	for _, c := range b[len(b)-8:] {
		v = v<<8 | uint64(c)
	}
	return int64(v), (int64(v) < 0) == (sign == 0xff)
}

// extended reads an extended header: the path and the size, where they are in it.
func (m *members) extended() (path []byte, size int64, err error) {
	if m.size > maxPax {
		return nil, 0, fmt.Errorf("%w: an extended header of %d bytes", errStream, m.size)
	}
	n := int(padded(m.size))
	if cap(m.pax) < n {
		m.pax = make([]byte, n)
	}
	b := m.pax[:n]
	if _, err := io.ReadFull(m.in, b); err != nil {
		return nil, 0, noEOF(err)
	}
	b, size = b[:m.size], -1
	for len(b) > 0 {
		key, value, rest, ok := paxRecord(b)
		if !ok {
			return nil, 0, fmt.Errorf("%w: an extended header with %.100q", errStream, b)
		}
		b = rest
		switch string(key) {
		case "path":
			path = value
		case "size":
			v := numbers{b: value}
			if size = v.upTo(10, maxContent); v.bad || len(v.b) > 0 {
				return nil, 0, fmt.Errorf("%w: a size of %.100q", errStream, value)
			}
		case "mtime":
			return nil, 0, fmt.Errorf("%w: a time that was not asked for", errStream)
		}
	}
	return path, size, nil
}

// paxRecord reads "17 path=some/name\n".
func paxRecord(b []byte) (key, value, rest []byte, ok bool) {
	space := bytes.IndexByte(b[:min(len(b), 9)], ' ')
	if space < 0 {
		return nil, nil, nil, false
	}
	v := numbers{b: b[:space]}
	n := int(v.upTo(10, maxPax))
	if v.bad || n <= space+1 || n > len(b) || b[n-1] != '\n' {
		return nil, nil, nil, false
	}
	key, value, ok = bytes.Cut(b[space+1:n-1], []byte{'='})
	return key, value, b[n:], ok
}
