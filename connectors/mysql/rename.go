package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"xvault/internal/job"
)

// # Loading a dump under another name
//
// A dump names its database in four places after all, which are made to mean the new
// name; left alone they would go on using the old database, or not load once that is gone:
//
//   - an ALTER DATABASE around routines, triggers and events that were made while the
//     database had another collation;
//   - a column's default that takes from a sequence;
//   - a view that refers to another database as well: then all names in it have theirs;
//   - the names of a trigger and its table, where whoever made it wrote the database's.
//
// All else that the programs write is without the name: routines and events are, however
// they were made. What people wrote into the bodies of routines, triggers and events is
// theirs, and left as it is.
//
// The places begin lines, which no value of a row can, for the programs escape ends of
// lines; and the bodies stand between changes of the delimiter.

// maxRenamed bounds what is changed at once: it is held in memory.
const maxRenamed = 4 << 20

// renamed gives a dump that is loaded under another name. The reader has room for any
// beginning of a line.
func renamed(dump *bufio.Reader, from, to string) io.Reader {
	if from == to {
		return dump
	}
	const statement, rest = "ALTER DATABASE ", " CHARACTER SET "
	return &renaming{
		r: dump, atStart: true, name: from, from: quoteName(from), to: quoteName(to),
		alter: []byte(statement + quoteName(from) + rest), altered: []byte(statement + quoteName(to) + rest),
	}
}

type renaming struct {
	r              *bufio.Reader
	name           string // of the old database
	from, to       string // quoted
	alter, altered []byte // the beginning of a line, and what takes its place
	atStart        bool   // of a line
	body           bool   // of a routine, trigger or event: another delimiter is set
	fresh          bool   // a delimiter ended the line before
	table          bool   // among the columns of a CREATE TABLE
	pending        []byte // was read, and is to be given out
	buf            []byte
	err            error // comes after that
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
		switch in := n.look(); in {
		case nowhere:
		case inStatement:
			n.statement()
			n.pending = n.buf
			return
		default:
			n.line(in)
			n.pending = n.buf
			return
		}
	}
	if n.err != nil {
		return
	}
	piece, err := n.r.ReadSlice('\n')
	n.buf = append(n.buf, piece...)
	n.atStart = err == nil
	n.fresh = n.atStart && bytes.HasSuffix(piece, []byte(statementEnd))
	if !errors.Is(err, bufio.ErrBufferFull) {
		n.err = err
	}
	n.pending = n.buf
}

// How lines begin that matter.
const (
	viewLine      = "/*!50001 VIEW `"
	columnLine    = "  `"
	delimiterLine = "DELIMITER "
	usualLine     = "DELIMITER ;\n"
	hiddenCreate  = "/*!"
	plainCreate   = "CREATE "
)

// statementEnd ends the statements that hold bodies.
const statementEnd = ";;\n"

// look understands the beginning of a line, and gives where it is if names in it are to
// be changed. An error, or the end, shows with the line itself.
func (n *renaming) look() place {
	head, _ := n.r.Peek(max(len(n.alter), len(viewLine), len(makesTable[1]), len(usualLine)))
	begins := func(with string) bool { return bytes.HasPrefix(head, []byte(with)) }
	switch {
	case begins(delimiterLine):
		n.body, n.table = !begins(usualLine), false
	case bytes.HasPrefix(head, n.alter): // among events with another delimiter
		if _, n.err = n.r.Discard(len(n.alter)); n.err == nil {
			n.buf = append(n.buf, n.altered...)
		}
	case n.body:
		if n.fresh && (begins(hiddenCreate) || begins(plainCreate)) {
			return inStatement
		}
	case begins(viewLine):
		return inView
	case n.table && begins(columnLine):
		return inColumn
	case begins("  "): // keys come after columns
	default:
		if n.table = begins(makesTable[0]) || begins(makesTable[1]) || begins(makesTable[2]); n.table {
			return inColumn // its name may go on in the next line
		}
	}
	return nowhere
}

// line reads a whole line, with those that a name or a text goes on in, and changes it.
func (n *renaming) line(in place) {
	var line []byte
	var quote byte // is open
	for begin := 0; ; {
		piece, err := n.r.ReadSlice('\n')
		line = append(line, piece...)
		if len(line) > maxRenamed {
			n.err = job.Errorf(job.ConfigInvalid, "a view or a column in the dump takes more than %d MiB to define, too much to have the new database's name put in; restore the dump under its own name", maxRenamed>>20)
			return
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		quote = openQuote(line[begin:], quote)
		begin = len(line)
		if n.err = err; err != nil || quote == 0 {
			break
		}
	}
	n.buf = (&qualified{text: line, from: n.from, to: n.to, in: in}).renamed(n.buf)
}

// openQuote gives the quote that is open after a line, if one is, or none, was before it.
// Two quotes that stand for one close it and open it again.
func openQuote(line []byte, open byte) byte {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case open == 0 && (c == '`' || c == '\''):
			open = c
		case open == '\'' && c == '\\':
			i++
		case c == open:
			open = 0
		}
	}
	return open
}
