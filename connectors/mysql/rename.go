package mysql

import (
	"bufio"
	"errors"
	"io"
)

// renamed has a dump that is loaded under another name mean that one where it names
// its database after all: the programs write an ALTER DATABASE around routines,
// triggers and events that were made while the database had another collation. Each
// is a line of its own, and no value of a row can begin one, for the programs escape
// ends of lines.
func renamed(dump *bufio.Reader, from, to string) io.Reader {
	if from == to {
		return dump
	}
	const statement, rest = "ALTER DATABASE ", " CHARACTER SET "
	return &renaming{r: dump, from: statement + quoteName(from) + rest, to: statement + quoteName(to) + rest, atStart: true}
}

type renaming struct {
	r        *bufio.Reader
	from, to string
	atStart  bool   // of a line
	pending  []byte // was read, and is to be given out
	buf      []byte
	err      error // comes after that
}

// Read implements io.Reader.
func (n *renaming) Read(p []byte) (int, error) {
	for len(n.pending) == 0 {
		if n.err != nil {
			return 0, n.err
		}
		n.next()
	}
	c := copy(p, n.pending)
	n.pending = n.pending[c:]
	return c, nil
}

// next takes a line, or a piece of a long one.
func (n *renaming) next() {
	n.buf = n.buf[:0]
	if n.atStart {
		// An error, or the end, shows with the line itself.
		if begin, _ := n.r.Peek(len(n.from)); string(begin) == n.from {
			if _, n.err = n.r.Discard(len(begin)); n.err != nil {
				return
			}
			n.buf = append(n.buf, n.to...)
		}
	}
	piece, err := n.r.ReadSlice('\n')
	n.buf = append(n.buf, piece...)
	n.atStart = err == nil
	if !errors.Is(err, bufio.ErrBufferFull) {
		n.err = err
	}
	n.pending = n.buf
}
