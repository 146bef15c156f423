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
	// each as texts; NULL is an empty one. More than MaxRows are an error. Errors are
	// *job.Error or the cause of the context.
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
		rows, err := srv.rows(ctx, statement)
		if err != nil {
			return nil, s.lookError(ctx, err)
		}
		all = append(all, rows)
	}
	return all, nil
}

func (s *server) rows(ctx context.Context, statement string) (all [][]string, err error) {
	rows, err := s.db.QueryContext(ctx, statement)
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
		if len(all) >= MaxRows {
			return nil, job.Errorf(job.ConfigInvalid, "the database answers with more than %d rows where few are expected", MaxRows)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			row[i] = v.String
		}
		all = append(all, row)
	}
	return all, rows.Err()
}

// QuoteName writes a name as SQL.
func QuoteName(name string) string { return quoteName(name) }
