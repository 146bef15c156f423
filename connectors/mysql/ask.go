package mysql

import (
	"context"
	"database/sql"
	"errors"

	"xvault/internal/job"
)

// Asker is a source whose server can be asked beside its reading, for a connector that
// has to know something of a database. The sources of New have it.
type Asker interface {
	// Ask runs statements that change nothing, on one connection, and gives the rows of
	// each as texts. They see to it that there is no NULL, which may come as an empty
	// text or as the word. More than MaxRows are an error. Errors are *job.Error or the
	// cause of the context.
	Ask(ctx context.Context, statements ...string) ([][][]string, error)
}

// MaxRows bounds an answer.
const MaxRows = 5000

// Ask implements Asker.
func (s *source) Ask(ctx context.Context, statements ...string) ([][][]string, error) {
	srv, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer srv.close()
	var all [][][]string
	for _, statement := range statements {
		rows, err := srv.ask(ctx, statement, MaxRows)
		if err != nil {
			return nil, s.lookError(ctx, err)
		}
		all = append(all, rows)
	}
	return all, nil
}

// asker answers questions about a server.
type asker interface {
	// ask runs a statement that changes nothing and gives its rows as texts, at most so
	// many. NULL must not be among them: not every way to ask tells it from a text.
	ask(ctx context.Context, statement string, limit int) ([][]string, error)
	close()
}

// maxNames bounds how many things a server may name in one answer.
const maxNames = 1_000_000

// straight asks over a connection of the connector's own, one at a time.
type straight struct{ db *sql.DB }

func (s straight) close() { _ = s.db.Close() } // what counts was answered

func (s straight) ask(ctx context.Context, statement string, limit int) ([][]string, error) {
	return rowsOf(ctx, s.db, limit, statement)
}

// querier is what answers questions: a pool of connections, or one.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func rowsOf(ctx context.Context, at querier, limit int, question string, args ...any) (all [][]string, err error) {
	rows, err := at.QueryContext(ctx, question, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		if len(all) >= limit {
			return nil, tooMany(limit)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = v.String
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

func tooMany(limit int) error {
	return job.Errorf(job.ConfigInvalid, "the database answers with more than %d rows where few are expected", limit)
}

// one asks for a single row of so many columns.
func (s *server) one(ctx context.Context, statement string, columns int) ([]string, error) {
	rows, err := s.ask(ctx, statement, 1)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) != columns {
		return nil, job.Errorf(job.DumpFailed, "the server answers a question about itself with %d rows", len(rows))
	}
	return rows[0], nil
}

// texts gives the first column of every row.
func (s *server) texts(ctx context.Context, statement string) ([]string, error) {
	rows, err := s.ask(ctx, statement, maxNames)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, row := range rows {
		if len(row) > 0 {
			all = append(all, row[0])
		}
	}
	return all, nil
}

// QuoteName writes a name as SQL.
func QuoteName(name string) string { return quoteName(name) }
