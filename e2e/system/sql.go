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
	return query(ctx, conn, sql, args...)
}

func query(ctx context.Context, conn *pgx.Conn, sql string, args ...any) ([][]string, error) {
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

// Session is a look into the catalog on one connection, for tests that look
// often. It is not safe for use by several goroutines.
type Session struct {
	catalog Catalog
	conn    *pgx.Conn
}

// Session opens one when it is first used; it is closed when the test ends.
func (c Catalog) Session(t testing.TB) *Session {
	t.Helper()
	s := &Session{catalog: c}
	t.Cleanup(s.close)
	return s
}

// Look is Rows for a catalog that may be away: the next one connects anew.
func (s *Session) Look(sql string, args ...any) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	if s.conn == nil {
		conn, err := pgx.Connect(ctx, s.catalog.URL)
		if err != nil {
			return nil, err
		}
		s.conn = conn
	}
	found, err := query(ctx, s.conn, sql, args...)
	if err != nil {
		s.close()
	}
	return found, err
}

func (s *Session) close() {
	if s.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.conn.Close(ctx) // it may be broken
	s.conn = nil
}
