package mysql

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	driver "github.com/go-sql-driver/mysql"

	"xvault/connectors"
)

// editTable is a table in which texts are changed.
type editTable struct {
	name     string
	key      []string // columns that tell rows apart; none: there is no such key
	textKeys []string // those of them that are texts
	texts    []string // columns of texts, without those of the key
	stamps   []string // columns that change by themselves when a row does
}

// textTypes are the types of texts, and of bytes that may be some.
var textTypes = []string{"char", "varchar", "tinytext", "text", "mediumtext", "longtext", "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "json"}

// tables lists the tables of the dump whose names begin with the prefix.
func (e *editor) tables(ctx context.Context) ([]editTable, error) {
	names, err := column(ctx, e.conn, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_NAME")
	if err != nil {
		return nil, err
	}
	var tables []editTable
	for _, name := range names {
		if !strings.HasPrefix(name, e.Prefix) || strings.HasPrefix(name, connectors.TempPrefix) || !e.made.has(name) {
			continue
		}
		t, err := e.describe(ctx, name)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

func column(ctx context.Context, c *sql.Conn, question string, args ...any) (all []string, err error) {
	rows, err := c.QueryContext(ctx, question, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// describe finds out what a table is made of.
func (e *editor) describe(ctx context.Context, name string) (editTable, error) {
	t := editTable{name: name}
	kinds, err := t.columns(ctx, e.conn)
	if err != nil {
		return t, err
	}
	for _, unique := range []string{"PRIMARY", ""} {
		if t.key, err = t.findKey(ctx, e.conn, unique, kinds); err != nil {
			return t, err
		}
		if len(t.key) > 0 {
			break
		}
	}
	for _, key := range t.key {
		if slices.Contains(t.texts, key) {
			t.textKeys = append(t.textKeys, key)
		}
	}
	t.texts = slices.DeleteFunc(t.texts, func(column string) bool {
		return slices.Contains(t.key, column) || e.Skip != nil && e.Skip(name, column)
	})
	return t, nil
}

// columns takes note of columns, and gives the types of those that are never NULL.
func (t *editTable) columns(ctx context.Context, c *sql.Conn) (kinds map[string]string, err error) {
	rows, err := c.QueryContext(ctx, "SELECT COLUMN_NAME, LOWER(DATA_TYPE), LOWER(EXTRA), IS_NULLABLE FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? ORDER BY ORDINAL_POSITION", t.name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	kinds = map[string]string{}
	for rows.Next() {
		var name, kind, extra, nullable string
		if err := rows.Scan(&name, &kind, &extra, &nullable); err != nil {
			return nil, err
		}
		generated := strings.Contains(extra, "generated") && !strings.Contains(extra, "default_generated") || strings.Contains(extra, "virtual") || strings.Contains(extra, "persistent")
		if slices.Contains(textTypes, kind) && !generated {
			t.texts = append(t.texts, name)
		}
		if strings.Contains(extra, "on update") {
			t.stamps = append(t.stamps, name)
		}
		if nullable == "NO" {
			kinds[name] = kind
		}
	}
	return kinds, rows.Err()
}

// findKey gives the columns of the primary key, or of the first other one that tells rows
// apart as well. Keys of numbers that are not exact, or of beginnings of texts, do not.
func (t *editTable) findKey(ctx context.Context, c *sql.Conn, name string, kinds map[string]string) (key []string, err error) {
	rows, err := c.QueryContext(ctx, "SELECT INDEX_NAME, COALESCE(COLUMN_NAME, ''), SUB_PART IS NOT NULL FROM information_schema.STATISTICS "+
		"WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = ? AND NON_UNIQUE = 0 AND (INDEX_NAME = ? OR ? = '') ORDER BY INDEX_NAME, SEQ_IN_INDEX", t.name, name, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	var names []string
	keys, bad := map[string][]string{}, map[string]bool{}
	for rows.Next() {
		var index, column string
		var part bool
		if err := rows.Scan(&index, &column, &part); err != nil {
			return nil, err
		}
		if len(keys[index]) == 0 {
			names = append(names, index)
		}
		keys[index] = append(keys[index], column)
		kind, ok := kinds[column]
		bad[index] = bad[index] || part || !ok || kind == "float" || kind == "double"
	}
	for _, index := range names {
		if !bad[index] {
			return keys[index], rows.Err()
		}
	}
	return nil, rows.Err()
}

// update is the statement that sets columns of one row: first their values, then its key.
func (t *editTable) update(columns []string) string {
	var set, where []string
	for _, column := range columns {
		set = append(set, quoteName(column)+" = ?")
	}
	for _, stamp := range t.stamps {
		if !slices.Contains(columns, stamp) {
			set = append(set, quoteName(stamp)+" = "+quoteName(stamp))
		}
	}
	for _, key := range t.key {
		where = append(where, quoteName(key)+" = ?")
	}
	return "UPDATE " + quoteName(t.name) + " SET " + strings.Join(set, ", ") + " WHERE " + strings.Join(where, " AND ")
}

// refusesValue reports whether the server takes this one value not: it is too long, or
// there already where each has to be another.
func refusesValue(err error) bool {
	e, ok := errors.AsType[*driver.MySQLError](err)
	if !ok {
		return false
	}
	switch e.Number {
	case 1062, 1264, 1366, 1406, 3140, 3819, 4025:
		return true
	}
	return false
}
