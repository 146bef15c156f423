package system

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Catalog looks into the hub's database behind the hub's back.
type Catalog struct{ URL string }

const sqlTimeout = 30 * time.Second

// Rows runs a query and gives its rows as text.
func (c Catalog) Rows(t testing.TB, sql string, args ...any) [][]string {
	t.Helper()
	rows, err := c.rows(sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return rows
}

func (c Catalog) rows(sql string, args ...any) (found [][]string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, c.URL)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	// Text, as psql shows it: one format for all columns.
	rows, err := conn.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]string, error) {
		var texts []string
		for _, v := range row.RawValues() {
			texts = append(texts, string(v)) // copies; NULL is ""
		}
		return texts, nil
	})
}

// One gives the single value of a query.
func (c Catalog) One(t testing.TB, sql string, args ...any) string {
	t.Helper()
	rows := c.Rows(t, sql, args...)
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: want one value, got %v", sql, rows)
	}
	return rows[0][0]
}

// Exec runs a statement.
func (c Catalog) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	c.Rows(t, sql, args...)
}

// MoveClock sets the database's clock ahead of the real one, in total by d.
func (c Catalog) MoveClock(t testing.TB, d time.Duration) {
	t.Helper()
	c.Exec(t, fmt.Sprintf(`CREATE OR REPLACE FUNCTION xvault_now() RETURNS timestamptz
		LANGUAGE sql STABLE AS $$ SELECT statement_timestamp() + interval '%d milliseconds' $$`, d.Milliseconds()))
}

// Look is Rows for a catalog that may be away.
func (c Catalog) Look(sql string, args ...any) ([][]string, error) { return c.rows(sql, args...) }
