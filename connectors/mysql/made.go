package mysql

import (
	"bytes"
	"io"
	"strings"
)

// madeTables are the tables that a dump makes, as it was read: over a database that holds
// others those are told apart by them. Each begins a line of the dump, and no value of a
// row can, for the programs escape ends of lines. The body of a routine can; a name too
// many does no more than that a table counts as restored.
type madeTables struct {
	r     io.Reader
	names map[string]bool // in lower case, as some servers have them
	many  bool            // there were more than are remembered
	head  []byte          // the beginning of a line
	rest  bool            // of a line is of no interest
}

const (
	// maxMade bounds how many tables are remembered.
	maxMade = 100_000
	// maxMadeHead is more than a statement takes until behind the table's name.
	maxMadeHead = 1 << 10
)

// makesTable is how statements begin that make a table.
var makesTable = []string{"CREATE TABLE `", "CREATE TABLE IF NOT EXISTS `", "CREATE OR REPLACE TABLE `"}

// has reports whether the dump made a table. Nil: it made all that there are.
func (m *madeTables) has(table string) bool {
	return m == nil || m.names[strings.ToLower(table)]
}

// Read implements io.Reader.
func (m *madeTables) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.look(p[:n])
	if err != nil {
		m.line()
	}
	return n, err
}

func (m *madeTables) look(text []byte) {
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n')
		line := text
		if end >= 0 {
			line = text[:end]
		}
		if !m.rest {
			m.head = append(m.head, line[:min(len(line), maxMadeHead-len(m.head))]...)
		}
		if m.rest = m.rest || len(m.head) == maxMadeHead; end < 0 {
			return
		}
		m.line()
		text = text[end+1:]
	}
}

// line understands a line, of which the head is known.
func (m *madeTables) line() {
	head := string(m.head)
	m.head, m.rest = m.head[:0], false
	for _, begin := range makesTable {
		name, ok := strings.CutPrefix(head, begin)
		if !ok {
			continue
		}
		if name, ok = unquoted(name); !ok {
			return
		}
		if m.many = m.many || len(m.names) >= maxMade; !m.many {
			m.names[strings.ToLower(name)] = true
		}
		return
	}
}

// unquoted takes a name from behind its first quote.
func unquoted(text string) (name string, ok bool) {
	for {
		part, after, found := strings.Cut(text, "`")
		if name += part; !found {
			return "", false
		}
		if !strings.HasPrefix(after, "`") {
			return name, true
		}
		name, text = name+"`", after[1:]
	}
}
