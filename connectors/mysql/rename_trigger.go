package mysql

import (
	"bufio"
	"bytes"
	"errors"
	"slices"
	"strings"

	"xvault/internal/job"
)

// # Triggers
//
// The programs write a trigger's header, up to FOR EACH ROW, as its author typed it: in any
// case, over any lines, with comments, and with the database before the trigger's name and
// the table's if they stood there. Both can be in the dump's database only, so they are cut
// out, whatever they look like: the header is in the characters of its author's client, in
// which a new name would have to be written. The new database is the one that is in use.

// headerToken is a part of a header that means something.
type headerToken struct {
	kind       byte // wordToken, nameToken, a character that is neither, or 0 at the end
	begin, end int
}

const (
	wordToken = 'w'
	nameToken = '`' // in any quotes
)

// triggerHeader reads the beginning of a statement, and no more of it than is needed.
type triggerHeader struct {
	r     *bufio.Reader
	text  []byte // was read
	names []qualifiedName
	full  bool // more than may be held
}

// qualifiedName is a name with another and a dot before it.
type qualifiedName struct{ database, dot, name headerToken }

// statement reads the beginning of a statement between other delimiters, and cuts the
// database's name out of it if it makes a trigger. A trigger that cannot be understood and
// may name the old database must not be loaded: it would be made there.
func (n *renaming) statement() {
	h := &triggerHeader{r: n.r}
	if h.makesTrigger() {
		switch {
		case h.header():
			h.cut()
		case !h.rest() || mayName(h.text, n.name):
			n.err = job.Errorf(job.ConfigInvalid, "a trigger in the dump is defined in a way in which its database's name %q cannot be told from others, so that the trigger would be made there; restore the dump under its own name", n.name)
			return
		}
	}
	n.buf = append(n.buf, h.text...)
	n.atStart = bytes.HasSuffix(h.text, []byte("\n"))
	n.fresh = bytes.HasSuffix(h.text, []byte(statementEnd))
}

// mayName reports whether a database's name may be in a text, in any case.
func mayName(text []byte, name string) bool {
	for i := range len(name) {
		if c := name[i]; c >= 0x80 || c == '`' || c == '"' {
			return true // it is written in other ways as well
		}
	}
	return bytes.Contains(bytes.ToLower(text), bytes.ToLower([]byte(name)))
}

// makesTrigger reads until the word that says what is made.
func (h *triggerHeader) makesTrigger() bool {
	if !h.is(h.next(), "create") {
		return false
	}
	for {
		switch t := h.next(); {
		case h.is(t, "trigger"):
			return true
		case t.kind == nameToken, t.kind == '=', h.is(t, "or"), h.is(t, "replace"), h.is(t, "definer"), h.is(t, "@"):
		default:
			return false
		}
	}
}

// header reads what follows up to FOR EACH ROW, and reports whether it was understood.
func (h *triggerHeader) header() bool {
	t := h.next()
	if h.is(t, "if") {
		if !h.is(h.next(), "not") || !h.is(h.next(), "exists") {
			return false
		}
		t = h.next()
	}
	t, ok := h.name(t)
	for ok && !h.is(t, "on") {
		ok = t.kind == wordToken || t.kind == nameToken || t.kind == ','
		t = h.next()
	}
	if !ok {
		return false
	}
	t, ok = h.name(h.next())
	return ok && h.is(t, "for") && h.is(h.next(), "each") && h.is(h.next(), "row")
}

// name takes a name that begins with a token, and gives the token after it.
func (h *triggerHeader) name(first headerToken) (after headerToken, ok bool) {
	isName := func(t headerToken) bool { return t.kind == wordToken || t.kind == nameToken }
	if !isName(first) {
		return first, false
	}
	dot := h.next()
	if dot.kind != '.' {
		return dot, true
	}
	name := h.next()
	if !isName(name) {
		return name, false
	}
	h.names = append(h.names, qualifiedName{first, dot, name})
	return h.next(), true
}

// cut takes the databases' names out. What stood behind a dot may be a word that is a name
// in quotes only where there is none.
func (h *triggerHeader) cut() {
	for _, q := range slices.Backward(h.names) {
		if q.name.kind == wordToken {
			h.text = slices.Insert(h.text, q.name.end, '`')
			h.text = slices.Insert(h.text, q.name.begin, '`')
		}
		h.text = slices.Delete(h.text, q.dot.begin, q.dot.end)
		h.text = slices.Delete(h.text, q.database.begin, q.database.end)
	}
}

// rest reads the statement to its end, and reports whether it can be held.
func (h *triggerHeader) rest() bool {
	for !h.full && !bytes.HasSuffix(h.text, []byte(statementEnd)) {
		if bytes.HasSuffix(h.text, []byte("\n")) && h.begins(delimiterLine) {
			break
		}
		piece, err := h.r.ReadSlice('\n')
		h.text = append(h.text, piece...)
		h.full = len(h.text) > maxRenamed
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			break // shows again with what comes next
		}
	}
	return !h.full
}

// is reports whether a token is a word.
func (h *triggerHeader) is(t headerToken, word string) bool {
	return t.kind == wordToken && strings.EqualFold(string(h.text[t.begin:t.end]), word)
}

// next reads a token, and what stands before it and means nothing: spaces, comments, and
// what opens and closes the comments that a server obeys.
func (h *triggerHeader) next() headerToken {
	for {
		c, ok := h.peek()
		switch {
		case !ok:
			return headerToken{begin: len(h.text), end: len(h.text)}
		case c <= ' ':
			h.take(1)
		case h.begins("/*!"), h.begins("/*M!"):
			h.takeWhile(func(c byte) bool { return c != '!' })
			h.take(1)
			h.takeWhile(func(c byte) bool { return c >= '0' && c <= '9' })
		case h.begins("*/"):
			h.take(2)
		case h.begins("/*"):
			for h.take(2); !h.begins("*/"); {
				if !h.take(1) {
					break
				}
			}
			h.take(2)
		case c == '#', h.begins("-- "), h.begins("--\t"), h.begins("--\n"):
			h.takeWhile(func(c byte) bool { return c != '\n' })
		default:
			return h.token(c)
		}
	}
}

// token reads a token that begins with a character.
func (h *triggerHeader) token(c byte) headerToken {
	t := headerToken{kind: c, begin: len(h.text)}
	switch {
	case c == '`' || c == '"':
		t.kind = nameToken
		for closed := true; closed && h.begins(string(c)); {
			h.take(1)
			h.takeWhile(func(in byte) bool { return in != c })
			if closed = h.take(1); !closed {
				t.kind = 0
			}
		}
	case isWord(c):
		t.kind = wordToken
		h.takeWhile(isWord)
	default:
		h.take(1)
	}
	t.end = len(h.text)
	return t
}

func (h *triggerHeader) begins(with string) bool {
	head, _ := h.r.Peek(len(with)) // an error shows with what comes next
	return string(head) == with
}

// peek gives the next character, unless too many were read.
func (h *triggerHeader) peek() (c byte, ok bool) {
	head, _ := h.r.Peek(1)
	h.full = h.full || len(h.text) > maxRenamed
	if len(head) == 0 || h.full {
		return 0, false
	}
	return head[0], true
}

// take reads some characters, and reports whether they were there.
func (h *triggerHeader) take(count int) bool {
	for range count {
		c, ok := h.peek()
		if !ok {
			return false
		}
		_, _ = h.r.Discard(1) // it was seen
		h.text = append(h.text, c)
	}
	return true
}

func (h *triggerHeader) takeWhile(holds func(byte) bool) {
	for {
		c, ok := h.peek()
		if !ok || !holds(c) {
			return
		}
		h.take(1)
	}
}
