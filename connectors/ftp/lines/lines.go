// Package lines reads the lines of FTP listings: those of MLSD (RFC 3659), and of
// LIST as Unix servers and Windows servers write them. A line that is not understood
// is an error, never left out. Names are bytes, and may hold anything but the end of
// a line; whoever uses them checks them.
package lines

import (
	"errors"
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
}

// ErrLine says that a line is not understood.
var ErrLine = errors.New("a line of the listing is not understood")

// Split cuts a listing into lines. Where lines end in CR LF, as they should, an LF
// alone is part of a name.
func Split(data []byte) func(yield func(string) bool) {
	end := "\n"
	if strings.Contains(string(data[:min(len(data), 64<<10)]), "\r\n") {
		end = "\r\n"
	}
	return func(yield func(string) bool) {
		rest := data
		for len(rest) > 0 {
			line := rest
			if i := indexOf(rest, end); i >= 0 {
				line, rest = rest[:i], rest[i+len(end):]
			} else {
				rest = nil
			}
			if !yield(string(line)) {
				return
			}
		}
	}
}

func indexOf(b []byte, end string) int {
	if end == "\n" {
		for i, c := range b {
			if c == '\n' {
				return i
			}
		}
		return -1
	}
	for i := 1; i < len(b); i++ {
		if b[i] == '\n' && b[i-1] == '\r' {
			return i - 1
		}
	}
	return -1
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
