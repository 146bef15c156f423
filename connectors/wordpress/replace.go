package wordpress

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"

	"xvault/connectors/mysql"
	"xvault/connectors/wordpress/phpdata"
)

// # Changing addresses in a database
//
// Rows are looked for by the host in them, page by page in the order of the table's key,
// and changed one by one, in one transaction for each table. What is in memory is bounded.
// An address can be changed in a way that holds the old one again, so this is never run
// twice on the same rows: an attempt that comes after one that broke loads the dump anew.

const (
	// replacePage is how many rows are looked for at once, replaceBatch how many bytes of
	// them are read at once.
	replacePage  = 500
	replaceBatch = 4 << 20
	// replaceValue bounds the texts of one row; a larger row is left and told of.
	replaceValue = 32 << 20
)

// replacer changes what a mover changes, in all tables of a site.
type replacer struct {
	conn    *sql.Conn
	prefix  string
	charset string // of the site's connection: lengths in serialized texts count its bytes
	mover   *mover
	allowed func() error
	log     *slog.Logger
	largest int64
	tables  []tableChange
}

// tableChange is what became of one table.
type tableChange struct {
	name         string
	rows, values int64
	left         int64    // values that mention an old address still
	places       []string // the first of them
	noKey        bool
}

var charsetName = regexp.MustCompile(`^[a-z0-9]{1,32}$`)

// prepare sets the connection up so that it sees bytes as the site does, and cuts nothing
// off.
func (r *replacer) prepare(ctx context.Context) error {
	charset := strings.ToLower(r.charset)
	if charset == "" || charset == "utf8" || charset == "utf8mb3" || !charsetName.MatchString(charset) {
		charset = "utf8mb4" // what WordPress takes for it
	}
	for _, statement := range []string{"SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION'", "SET NAMES " + charset} {
		if _, err := r.conn.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	var packet int64
	if err := r.conn.QueryRowContext(ctx, "SELECT @@max_allowed_packet").Scan(&packet); err != nil {
		return err
	}
	r.largest = min(replaceValue, packet/2)
	return nil
}

// run goes through all tables.
func (r *replacer) run(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	tables, err := siteTables(ctx, r.conn, r.prefix)
	if err != nil {
		return err
	}
	for _, t := range tables {
		if len(t.texts) == 0 {
			continue
		}
		change, err := r.table(ctx, t)
		if err != nil {
			return fmt.Errorf("table %q: %w", t.name, err)
		}
		if change.values > 0 || change.left > 0 {
			r.tables = append(r.tables, change)
			r.log.Info("addresses were changed in a table", slog.String("table", t.name), slog.Int64("rows", change.rows), slog.Int64("values", change.values), slog.Int64("left", change.left))
		}
	}
	return nil
}

// table changes one table, in one transaction.
func (r *replacer) table(ctx context.Context, t siteTable) (change tableChange, err error) {
	change.name = t.name
	if len(t.key) == 0 {
		change.noKey = true
		where, args := r.mentions(t.texts)
		return change, r.conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM "+mysql.QuoteName(t.name)+" WHERE "+where, args...).Scan(&change.left)
	}
	tx, err := r.conn.BeginTx(ctx, nil)
	if err != nil {
		return change, err
	}
	defer func() {
		if err != nil {
			_ = tx.Rollback() // the reason counts
		}
	}()
	var last []any
	for {
		found, err := r.page(ctx, tx, t, last)
		if err != nil {
			return change, err
		}
		if err := r.pageRows(ctx, tx, t, found, &change); err != nil {
			return change, err
		}
		if len(found) < replacePage {
			break
		}
		last = found[len(found)-1].key
	}
	if err := r.allowed(); err != nil {
		return change, err
	}
	return change, tx.Commit()
}

// pageRows changes the rows of a page, some at a time.
func (r *replacer) pageRows(ctx context.Context, tx *sql.Tx, t siteTable, found []foundRow, change *tableChange) error {
	for len(found) > 0 {
		n, total := 0, int64(0)
		for n < len(found) && (n == 0 || total+found[n].size <= min(replaceBatch, r.largest)) {
			total += found[n].size
			n++
		}
		some := found[:n]
		found = found[n:]
		if total > r.largest { // then it is one row
			change.leave(t, some[0].key, "a row that is too large to be changed")
			continue
		}
		if err := r.rows(ctx, tx, t, some, change); err != nil {
			return err
		}
	}
	return nil
}

// foundRow is a row that mentions a host.
type foundRow struct {
	key  []any
	size int64 // of its texts, in bytes
}

// mentions is the condition that one of some columns holds one of the hosts.
func (r *replacer) mentions(columns []string) (where string, args []any) {
	var each []string
	for _, column := range columns {
		for _, host := range r.mover.hosts() {
			each = append(each, "LOCATE(?, CONVERT("+mysql.QuoteName(column)+" USING utf8mb4) COLLATE utf8mb4_general_ci) > 0")
			args = append(args, host)
		}
	}
	return "(" + strings.Join(each, " OR ") + ")", args
}

// page finds the next rows after a key.
func (r *replacer) page(ctx context.Context, tx *sql.Tx, t siteTable, last []any) (found []foundRow, err error) {
	where, args := r.mentions(append(append([]string{}, t.texts...), t.textKeys...))
	keys := quotedList(t.key)
	if last != nil {
		marks := strings.TrimSuffix(strings.Repeat("?, ", len(last)), ", ")
		where += " AND " + mysql.QuoteName(t.key[0]) + " >= ? AND (" + keys + ") > (" + marks + ")"
		args = append(append(args, last[0]), last...)
	}
	var sizes []string
	for _, column := range t.texts {
		sizes = append(sizes, "COALESCE(OCTET_LENGTH("+mysql.QuoteName(column)+"), 0)")
	}
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT %s, CAST(%s AS SIGNED) FROM %s WHERE %s ORDER BY %s LIMIT %d FOR UPDATE",
		keys, strings.Join(sizes, " + "), mysql.QuoteName(t.name), where, keys, replacePage), args...)
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

func quotedList(names []string) string {
	var list []string
	for _, name := range names {
		list = append(list, mysql.QuoteName(name))
	}
	return strings.Join(list, ", ")
}

// changedRow is a row with other texts.
type changedRow struct {
	key     []any
	columns []string
	values  []any
}

// rows reads some rows and changes them.
func (r *replacer) rows(ctx context.Context, tx *sql.Tx, t siteTable, found []foundRow, change *tableChange) error {
	changed, err := r.read(ctx, tx, t, found, change)
	if err != nil {
		return err
	}
	for _, row := range changed {
		if err := r.allowed(); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, t.update(row.columns), append(append([]any{}, row.values...), row.key...)...)
		switch {
		case err == nil:
			change.rows++
			change.values += int64(len(row.columns))
		case refusesValue(err):
			change.leave(t, row.key, strings.Join(row.columns, ", ")+", which the table takes no longer value for")
		default:
			return err
		}
	}
	return nil
}

// read gives the rows of some keys that are to be changed.
func (r *replacer) read(ctx context.Context, tx *sql.Tx, t siteTable, found []foundRow, change *tableChange) (changed []changedRow, err error) {
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(t.key)), ", ") + ")"
	var args []any
	for _, row := range found {
		args = append(args, row.key...)
	}
	rows, err := tx.QueryContext(ctx, fmt.Sprintf("SELECT %s, %s FROM %s WHERE (%s) IN (%s)", quotedList(t.key), quotedList(t.texts), mysql.QuoteName(t.name),
		quotedList(t.key), strings.TrimSuffix(strings.Repeat(one+", ", len(found)), ", ")), args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		key, texts := make([]any, len(t.key)), make([]sql.RawBytes, len(t.texts))
		into := pointers(key)
		for i := range texts {
			into = append(into, &texts[i])
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if row := r.changeRow(t, key, texts, change); len(row.columns) > 0 {
			changed = append(changed, row)
		}
	}
	return changed, rows.Err()
}

// changeRow changes the texts of one row.
func (r *replacer) changeRow(t siteTable, key []any, texts []sql.RawBytes, change *tableChange) changedRow {
	row := changedRow{key: key}
	for i, text := range texts {
		result := phpdata.Rewrite(text, r.mover.change)
		if result.Left > 0 {
			change.leave(t, key, t.texts[i])
		}
		if result.Changed > 0 {
			row.columns = append(row.columns, t.texts[i])
			row.values = append(row.values, result.Value)
		}
	}
	for i, name := range t.key {
		if text, ok := key[i].([]byte); ok {
			if _, places := r.mover.change(text); places > 0 {
				change.leave(t, key, name+", which is part of the key")
			}
		}
	}
	return row
}

// maxPlaces is how many values that were left are named for each table.
const maxPlaces = 5

// leave notes a value that mentions an old address still. Keys that are texts are not
// told: they may be anything.
func (c *tableChange) leave(t siteTable, key []any, what string) {
	c.left++
	if len(c.places) >= maxPlaces {
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
	c.places = append(c.places, what)
}
