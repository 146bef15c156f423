package postgres

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"

	"xvault/internal/job"
)

// tableName is a table by its names.
type tableName struct{ schema, table string }

// copied are the rows of a dump, by table, as pg_restore writes them: a COPY, a line for
// each row, and a line that ends it. Neither can begin within a row, for ends of lines
// in values are escaped.
type copied struct {
	order   []tableName
	rows    map[tableName]int64
	objects int64 // large ones
}

func newCopied() *copied { return &copied{rows: map[tableName]int64{}} }

const (
	maxTables    = 200_000
	maxStatement = 1 << 20 // of a COPY, which names all columns
)

var (
	copyBegin = []byte("COPY ")
	copyEnd   = []byte(" FROM stdin;\n")
	dataEnd   = []byte("\\.\n")
	openLarge = []byte("SELECT pg_catalog.lo_open('")
)

// read counts to the end of the text.
func (c *copied) read(sql io.Reader) error {
	r := bufio.NewReaderSize(sql, 256<<10)
	begin := true
	for {
		line, err := r.ReadSlice('\n')
		switch {
		case begin && bytes.HasPrefix(line, copyBegin):
			if err := c.table(r, bytes.Clone(line), err); err != nil {
				return err
			}
			err = nil
		case begin && bytes.HasPrefix(line, openLarge):
			c.objects++
		}
		switch {
		case err == nil:
			begin = true
		case errors.Is(err, bufio.ErrBufferFull):
			begin = false
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// table reads one COPY, of which there is the beginning.
func (c *copied) table(r *bufio.Reader, statement []byte, err error) error {
	for !bytes.HasSuffix(statement, copyEnd) || bytes.Count(statement, []byte{'"'})%2 != 0 {
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) || len(statement) > maxStatement {
			return unreadable(err)
		}
		var more []byte
		more, err = r.ReadSlice('\n')
		statement = append(statement, more...)
	}
	name, ok := copyTarget(string(statement[len(copyBegin):]))
	if !ok {
		return unreadable(nil)
	}
	if _, there := c.rows[name]; !there {
		if len(c.order) == maxTables {
			return job.Errorf(job.Unprovable, "it has more than %d tables, which is too much for a drill", maxTables)
		}
		c.order = append(c.order, name)
		c.rows[name] = 0
	}
	n, err := countRows(r)
	c.rows[name] += n
	return err
}

func unreadable(err error) error {
	return &job.Error{Code: job.Unprovable, Err: err, Message: "its rows cannot be counted: what pg_restore writes of it is not understood"}
}

// countRows counts lines up to the one that ends the rows.
func countRows(r *bufio.Reader) (int64, error) {
	var n int64
	for begin := true; ; {
		line, err := r.ReadSlice('\n')
		switch {
		case err == nil && begin && bytes.Equal(line, dataEnd):
			return n, nil
		case err == nil:
			n++
			begin = true
		case errors.Is(err, bufio.ErrBufferFull):
			begin = false
		case errors.Is(err, io.EOF):
			return n, unreadable(io.ErrUnexpectedEOF)
		default:
			return n, err
		}
	}
}

// copyTarget reads the names that a COPY begins with.
func copyTarget(text string) (tableName, bool) {
	schema, text, ok := ident(text)
	if !ok || !strings.HasPrefix(text, ".") {
		return tableName{}, false
	}
	table, text, ok := ident(text[1:])
	return tableName{schema, table}, ok && strings.HasPrefix(text, " ")
}

// ident reads a name at the beginning of SQL.
func ident(text string) (name, rest string, ok bool) {
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, ". (")
		if end <= 0 {
			return "", text, false
		}
		return text[:end], text[end:], true
	}
	for i := 1; i < len(text); i++ {
		if text[i] != '"' {
			continue
		}
		if i+1 < len(text) && text[i+1] == '"' {
			i++
			continue
		}
		return unquoteIdent(text[:i+1]), text[i+1:], true
	}
	return "", text, false
}
