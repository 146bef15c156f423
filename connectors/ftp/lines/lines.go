// Package lines reads the lines of FTP listings: those of MLSD (RFC 3659), and of
// LIST as Unix servers and Windows servers write them. A line that is not understood
// is an error, never left out. Names are bytes, and may hold anything but the end of
// a line; whoever uses them checks them.
package lines

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
	"time"

	"xvault/internal/entry"
)

// Line is what one line tells.
type Line struct {
	Name string
	Kind entry.Kind // 0: the server does not tell
	// Self says that the line is about the folder itself, Parent that it is about
	// the one above. Both have no name of their own.
	Self, Parent bool
	Size         int64
	HasSize      bool
	ModTime      time.Time
	HasTime      bool
	// Precise says that the time is one of UTC, to the second.
	Precise     bool
	Mode        uint32
	HasMode     bool
	UID, GID    int // where the server tells numbers
	User, Group string
	Target      string // of a link, empty where it is not told
	// Perm are the letters for what the user may do with it (RFC 3659, 7.5.5), in
	// lower case.
	Perm    string
	HasPerm bool
}

// ErrLine says that a line is not understood.
var ErrLine = errors.New("a line of the listing is not understood")

// MaxLine bounds a line, in bytes: a name and a link's target, and facts.
const MaxLine = 16 << 10

// ErrTooLong says that a line does not end.
var ErrTooLong = errors.New("a line of the listing is too long")

// Reader takes lines from a listing. Where the first one ends in CR LF, as it should,
// an LF alone is part of a name.
type Reader struct {
	in    *bufio.Reader
	crlf  bool
	first bool
	line  []byte
}

// NewReader reads a listing.
func NewReader(r io.Reader) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, 32<<10), first: true}
}

// Next gives a line without its end; io.EOF after the last. A last line without an
// end is one that was cut: io.ErrUnexpectedEOF.
func (r *Reader) Next() (string, error) {
	r.line = r.line[:0]
	for {
		piece, err := r.in.ReadSlice('\n')
		if len(r.line)+len(piece) > MaxLine {
			return "", ErrTooLong
		}
		r.line = append(r.line, piece...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.line) > 0:
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		ended := bytes.HasSuffix(r.line, []byte("\r\n"))
		if r.first {
			r.crlf, r.first = ended, false
		}
		if !r.crlf {
			return string(bytes.TrimSuffix(r.line, []byte("\n"))), nil
		}
		if ended {
			return string(r.line[:len(r.line)-2]), nil
		}
	}
}

// List reads a line of LIST; ok is false for a line that tells of no entry, such as
// "total 12".
func List(line string, now time.Time) (l Line, ok bool, err error) {
	switch {
	case strings.TrimSpace(line) == "" || isTotal(line):
		return l, false, nil
	case line[0] >= '0' && line[0] <= '9':
		l, err = windows(line)
	default:
		l, err = unix(line, now)
	}
	if err != nil {
		return l, false, err
	}
	l.Self, l.Parent = l.Name == ".", l.Name == ".."
	return l, true, nil
}

func isTotal(line string) bool {
	digits, found := strings.CutPrefix(line, "total ")
	return found && strings.Trim(digits, "0123456789 ") == ""
}
