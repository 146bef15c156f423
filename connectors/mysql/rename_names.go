package mysql

import (
	"bytes"
	"strings"
)

// place is where names stand in a dump.
type place uint8

const (
	nowhere     place = iota
	inColumn          // the definition of a column, or a table's beginning
	inView            // the statement of a view
	inStatement       // one that may make a trigger
)

// qualified is a text as a server writes it, with every name in backquotes. In it a
// database's name is put in the place of another, where that is what it means: in
// `shop`.`id` it may as well be a table's, or what a view calls one.
type qualified struct {
	text     []byte
	from, to string // quoted
	in       place

	at      int
	written int      // so much of the text
	word    string   // the word, if nothing but spaces came after it
	opened  []string // the words before parentheses that are open
	tables  bool     // a table's name may be next
	called  bool     // a parenthesis was opened just now
}

// sequenceFunctions take a sequence's name, which always has its database's before it.
var sequenceFunctions = map[string]bool{"nextval": true, "lastval": true, "setval": true}

// renamed appends the text with the other name.
func (q *qualified) renamed(out []byte) []byte {
	for q.at < len(q.text) {
		switch c := q.text[q.at]; {
		case c == '\'':
			q.skipText()
			q.other()
		case c == '`':
			out = q.names(out)
			q.other()
		case c == '(':
			q.opened = append(q.opened, q.word)
			q.word, q.called = "", true
			q.at++
		case c == ' ' || c == '\n':
			q.at++
		case isWord(c):
			q.takeWord()
		default:
			if c == ')' && len(q.opened) > 0 {
				q.opened = q.opened[:len(q.opened)-1]
			}
			q.at++
			q.other()
		}
	}
	return append(out, q.text[q.written:]...)
}

// other is told of what is neither a word nor a parenthesis that opens.
func (q *qualified) other() { q.word, q.tables, q.called = "", false, false }

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '@' || c == '$' || c >= 0x80
}

// takeWord reads a word. Tables follow a join, and a from but for those of functions.
func (q *qualified) takeWord() {
	begin := q.at
	for q.at < len(q.text) && isWord(q.text[q.at]) {
		q.at++
	}
	before := q.word
	q.word, q.called = strings.ToLower(string(q.text[begin:q.at])), false
	switch q.word {
	case "join":
		q.tables = true
	case "straight_join":
		q.tables = before != "select" // there it is an option
	case "from":
		within := q.inner()
		q.tables = within != "extract" && !strings.HasPrefix(within, "trim")
	default:
		q.tables = false
	}
}

// inner is the word before the parenthesis that was opened last.
func (q *qualified) inner() string {
	if len(q.opened) == 0 {
		return ""
	}
	return q.opened[len(q.opened)-1]
}

// skipText passes over a text in quotes.
func (q *qualified) skipText() {
	for q.at++; q.at < len(q.text); q.at++ {
		switch q.text[q.at] {
		case '\\':
			q.at++
		case '\'':
			if q.at+1 < len(q.text) && q.text[q.at+1] == '\'' {
				q.at++
				continue
			}
			q.at++
			return
		}
	}
	q.at = min(q.at, len(q.text))
}

// names reads names with dots between them, and changes the first one if it is the
// database's.
func (q *qualified) names(out []byte) []byte {
	begin, count := q.at, 0
	for q.skipName(); ; q.skipName() {
		if count++; !bytes.HasPrefix(q.text[q.at:], []byte(".`")) {
			break
		}
		q.at++
	}
	if !bytes.HasPrefix(q.text[begin:q.at], []byte(q.from+".")) || !q.database(count) {
		return out
	}
	out = append(append(out, q.text[q.written:begin]...), q.to...)
	q.written = begin + len(q.from)
	return out
}

// database reports whether the first of so many names is a database's.
func (q *qualified) database(count int) bool {
	if q.called && sequenceFunctions[q.inner()] {
		return count == 2
	}
	if q.in != inView {
		return false
	}
	function := q.at < len(q.text) && q.text[q.at] == '('
	return count == 3 || count == 2 && (q.tables || function)
}

// skipName passes over a name in backquotes.
func (q *qualified) skipName() {
	for q.at++; q.at < len(q.text); q.at++ {
		if q.text[q.at] != '`' {
			continue
		}
		if q.at+1 == len(q.text) || q.text[q.at+1] != '`' {
			q.at++
			return
		}
		q.at++
	}
	q.at = min(q.at, len(q.text))
}
