package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"xvault/internal/job"
)

// # Changing texts in a database
//
// Rows are looked for by a text in them, page by page in the order of the table's key, and
// changed one by one, in one transaction for each table. What is in memory is bounded. An
// edit may make texts that it would change again, so it is never run twice on the same
// rows: an attempt that comes after one that broke loads the dump anew.

const (
	// editPage is how many rows are looked for at once, editBatch how many bytes of them
	// are read at once.
	editPage  = 500
	editBatch = 4 << 20
	// editRow bounds the texts of one row; a larger row is left and told of.
	editRow = 32 << 20
)

// Edit says what to change in the texts of a database.
type Edit struct {
	// Prefix begins the names of the tables that are gone through.
	Prefix string
	// Charset is that of the connection by which the database's own program reads texts.
	Charset string
	// Holding are texts of which a value holds one, in upper or lower case, if anything
	// in it is to be changed.
	Holding []string
	// Change changes a value, and tells how many places in it are others now, and how many
	// should be but could not. It must not keep what it is given.
	Change func(value []byte) (changed []byte, places, left int)
	// Skip leaves a column alone.
	Skip func(table, column string) bool
	Log  *slog.Logger
}

// TableChange is what became of one table.
type TableChange struct {
	Name         string
	Rows, Values int64    // changed
	Left         int64    // values, or rows of a table without a key, that should be changed and are not
	Places       []string // the first of those values
	NoKey        bool     // no key tells the table's rows apart, so none was changed
}

// editor does an edit on one connection.
type editor struct {
	Edit
	conn    *sql.Conn
	allowed func() error
	largest int64
	charset string      // of the connection
	made    *madeTables // which tables are gone through
}

// Edit changes texts in the tables that were loaded, and tells of the tables in which
// something was to be changed.
func (l *Loader) Edit(ctx context.Context, e Edit) (changes []TableChange, err error) {
	if len(e.Holding) == 0 {
		return nil, job.Errorf(job.Internal, "an edit has nothing to look for")
	}
	if l.made != nil && l.made.many {
		return nil, job.Errorf(job.ConfigInvalid, "the dump has more than %d tables, too many to tell them from others in the database", maxMade)
	}
	err = l.with(ctx, true, func(c *sql.Conn) error {
		changes, err = (&editor{Edit: e, conn: c, allowed: l.t.allowed, made: l.made}).run(ctx)
		return err
	})
	return changes, err
}

var charsetName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// prepare sets the connection up so that it sees bytes as the database's own program
// does, and cuts nothing off.
func (e *editor) prepare(ctx context.Context) error {
	charset := strings.ToLower(e.Charset)
	if charset == "" || charset == "utf8" || charset == "utf8mb3" || !charsetName.MatchString(charset) {
		charset = "utf8mb4"
	}
	e.charset = charset
	for _, statement := range []string{"SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'", "SET NAMES " + charset} {
		if _, err := e.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	var packet int64
	if err := e.conn.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&packet); err != nil {
		return err
	}
	e.largest = min(editRow, packet/2)
	return nil
}

// run goes through all tables.
func (e *editor) run(ctx context.Context) (changes []TableChange, err error) {
	if err := e.prepare(ctx); err != nil {
		return nil, err
	}
	tables, err := e.tables(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if len(t.texts) == 0 && len(t.textKeys) == 0 {
			continue
		}
		change, err := e.table(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("table %q: %w", t.name, err)
		}
		if change.Values > 0 || change.Left > 0 {
			changes = append(changes, change)
			e.Log.Info("texts were changed in a table", slog.String("table", t.name), slog.Int64("rows", change.Rows), slog.Int64("values", change.Values), slog.Int64("left", change.Left))
		}
	}
	return changes, nil
}

// table changes one table, in one transaction.
func (e *editor) table(ctx context.Context, t editTable) (change TableChange, err error) {
	change.Name = t.name
	if len(t.key) == 0 {
		change.NoKey = true
		where, args := e.holds(t.texts)
		return change, e.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+quoteName(t.name)+" WHERE "+where, args...).Scan(&change.Left)
	}
	tx, err := e.conn.BeginTx(ctx, nil)
	if err != nil {
		return change, err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the reason counts
		}
	}()
	if lost, err := e.lostKeys(ctx, tx, t, &change); err != nil || lost {
		return change, errors.Join(err, tx.Rollback())
	}
	var last []any
	for {
		found, err := e.page(ctx, tx, t, last)
		if err != nil {
			return change, err
		}
		if err := e.pageRows(ctx, tx, t, found, &change); err != nil {
			return change, err
		}
		if len(found) < editPage {
			break
		}
		last = found[len(found)-1].key
	}
	if err := e.allowed(); err != nil {
		return change, err
	}
	return change, tx.Commit()
}

// lostKeys reports whether keys of rows that are to be changed do not come through the
// connection as they are: then no row can be named by them, nor the next page. All
// rows of the table are left, and noted.
func (e *editor) lostKeys(ctx context.Context, tx *sql.Tx, t editTable, change *TableChange) (bool, error) {
	if len(t.textKeys) == 0 || e.charset == "utf8mb4" {
		return false, nil
	}
	where, args := e.holds(slices.Concat(t.texts, t.textKeys))
	var all, lost int64
	err := tx.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(NOT ("+strings.Join(e.whole(t.textKeys), " AND ")+")), 0) FROM "+quoteName(t.name)+" WHERE "+where, args...).Scan(&all, &lost)
	if err != nil || lost == 0 {
		return false, err
	}
	change.Left = all
	change.Places = append(change.Places, "all rows, for some keys have characters that "+e.charset+" does not have")
	return true, nil
}

// pageRows changes the rows of a page, some at a time.
func (e *editor) pageRows(ctx context.Context, tx *sql.Tx, t editTable, found []foundRow, change *TableChange) error {
	for len(found) > 0 {
		n, total := 0, int64(0)
		for n < len(found) && (n == 0 || total+found[n].size <= min(editBatch, e.largest)) {
			total += found[n].size
			n++
		}
		some := found[:n]
		found = found[n:]
		if total > e.largest { // then it is one row
			change.leave(t, some[0].key, "a row that is too large to be changed")
			continue
		}
		if err := e.rows(ctx, tx, t, some, change); err != nil {
			return err
		}
	}
	return nil
}

// foundRow is a row that holds one of the texts.
type foundRow struct {
	key  []any
	size int64 // of its texts, in bytes
}

// holds is the condition that one of some columns holds one of the texts that are looked for.
func (e *editor) holds(columns []string) (where string, args []any) {
	var each []string
	for _, column := range columns {
		for _, text := range e.Holding {
			each = append(each, "LOCATE(?, CONVERT("+quoteName(column)+" USING utf8mb4) COLLATE utf8mb4_general_ci) > 0")
			args = append(args, text)
		}
	}
	return "(" + strings.Join(each, " OR ") + ")", args
}

// page finds the next rows after a key.
func (e *editor) page(ctx context.Context, tx *sql.Tx, t editTable, last []any) (found []foundRow, err error) {
	where, args := e.holds(append(append([]string{}, t.texts...), t.textKeys...))
	keys := quotedList(t.key)
	if last != nil {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(last)), ", ")
		where += " AND " + quoteName(t.key[0]) + " >= ? AND (" + keys + ") > (" + marks + ")"
		args = append(append(args, last[0]), last...)
	}
	sizes := []string{"0"}
	for _, column := range t.texts {
		sizes = append(sizes, "COALESCE(OCTET_LENGTH("+quoteName(column)+"), 0)")
	}
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT %s, CAST(%s AS SIGNED) FROM %s WHERE %s ORDER BY %s LIMIT %d FOR UPDATE",
		keys, strings.Join(sizes, " + "), quoteName(t.name), where, keys, editPage), args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		row := foundRow{key: make([]any, len(t.key))}
		if err := rows.Scan(append(pointers(row.key), &row.size)...); err != nil {
			return nil, err
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

func pointers(values []any) []any {
	into := make([]any, len(values))
	for i := range values {
		into[i] = &values[i]
	}
	return into
}

func quotedList(names []string) string { return strings.Join(quotedNames(names), ", ") }

func quotedNames(names []string) (list []string) {
	for _, name := range names {
		list = append(list, quoteName(name))
	}
	return list
}

// changedRow is a row with other texts.
type changedRow struct {
	key     []any
	columns []string
	values  []any
}

// rows reads some rows and changes them.
func (e *editor) rows(ctx context.Context, tx *sql.Tx, t editTable, found []foundRow, change *TableChange) error {
	changed, err := e.read(ctx, tx, t, found, change)
	if err != nil {
		return err
	}
	for _, row := range changed {
		if err := e.allowed(); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, t.update(row.columns), append(append([]any{}, row.values...), row.key...)...)
		switch {
		case err == nil:
			change.Rows++
			change.Values += int64(len(row.columns))
		case refusesValue(err):
			change.leave(t, row.key, strings.Join(row.columns, ", ")+", which the table takes no longer value for")
		default:
			return err
		}
	}
	return nil
}

// read gives the rows of some keys that are to be changed.
func (e *editor) read(ctx context.Context, tx *sql.Tx, t editTable, found []foundRow, change *TableChange) (changed []changedRow, err error) {
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(t.key)), ", ") + ")"
	var args []any
	for _, row := range found {
		args = append(args, row.key...)
	}
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE (%s) IN (%s)", strings.Join(slices.Concat(quotedNames(t.key), quotedNames(t.texts), e.whole(t.texts)), ", "), quoteName(t.name),
		quotedList(t.key), strings.TrimSuffix(strings.Repeat(one+", ", len(found)), ", ")), args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		key, texts, whole := make([]any, len(t.key)), make([]sql.RawBytes, len(t.texts)), make([]bool, len(t.texts))
		into := pointers(key)
		for i := range texts {
			into = append(into, &texts[i])
		}
		for i := range whole {
			into = append(into, &whole[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if ctx.Err() != nil { // a row may be large
			return nil, context.Cause(ctx)
		}
		if row := e.changeRow(t, key, texts, whole, change); len(row.columns) > 0 {
			changed = append(changed, row)
		}
	}
	return changed, rows.Err()
}

// whole tells of each column whether its text comes through the connection as it is:
// where that has fewer characters than the column, others become question marks, which
// must not be written back.
func (e *editor) whole(columns []string) (each []string) {
	for _, column := range columns {
		if e.charset == "utf8mb4" {
			each = append(each, "1")
			continue
		}
		name := quoteName(column)
		each = append(each, "IF("+name+" IS NULL OR CHARSET("+name+") = 'binary', 1, "+
			"CAST(CONVERT(CONVERT("+name+" USING "+e.charset+") USING utf8mb4) AS BINARY) = CAST(CONVERT("+name+" USING utf8mb4) AS BINARY))")
	}
	return each
}

// changeRow changes the texts of one row.
func (e *editor) changeRow(t editTable, key []any, texts []sql.RawBytes, whole []bool, change *TableChange) changedRow {
	row := changedRow{key: key}
	for i, text := range texts {
		if !whole[i] {
			change.leave(t, key, t.texts[i]+", which has characters that "+e.charset+" does not have")
			continue
		}
		changed, places, left := e.Change(text)
		if left > 0 {
			change.leave(t, key, t.texts[i])
		}
		if places > 0 {
			row.columns = append(row.columns, t.texts[i])
			row.values = append(row.values, changed)
		}
	}
	for i, name := range t.key {
		if text, ok := key[i].([]byte); ok {
			if _, places, left := e.Change(text); places+left > 0 {
				change.leave(t, key, name+", which is part of the key")
			}
		}
	}
	return row
}

// maxPlaces is how many values that were left are named for each table.
const maxPlaces = 5

// leave notes a value that should have been changed. Keys that are texts are not
// told: they may be anything.
func (c *TableChange) leave(t editTable, key []any, what string) {
	c.Left++
	if len(c.Places) >= maxPlaces {
		return
	}
	var where []string
	for i, name := range t.key {
		switch n := key[i].(type) {
		case int64, uint64:
			where = append(where, fmt.Sprintf("%s %d", name, n))
		}
	}
	if len(where) > 0 {
		what += " (" + strings.Join(where, ", ") + ")"
	}
	c.Places = append(c.Places, what)
}
