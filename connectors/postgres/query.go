package postgres

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// maxRows bounds what one question about the server may answer.
const maxRows = 100_000

// inspector asks one database about itself. It is used by one goroutine.
type inspector struct {
	asker
	database string
}

// asker answers questions about one database.
type asker interface {
	// ask gives the rows that answer a question, as texts; NULL is empty. Errors are
	// *job.Error, or the cause of the context.
	ask(sql string, args ...string) ([][]string, error)
	// tls is the version of TLS, empty without.
	tls() string
	// close ends it; nothing depends on how.
	close()
}

// straight asks over a connection of the connector's own.
type straight struct {
	*session
	database string
	ctx      context.Context //nolint:containedctx // bounds all that it is asked
	end      func()
}

// inspect connects with a database, for not longer than the patience. Nothing that its
// owner can set leads the questions to anything but PostgreSQL's own catalog.
func (s *server) inspect(ctx context.Context, database string, patience time.Duration) (*inspector, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, job.Errorf(job.Timeout,
		"the database %q did not answer questions about itself within %v; check the server's load and the network in between", database, patience))
	found, err := s.connect(ctx, login{database: database, params: map[string]string{"application_name": "xvault", "client_encoding": "UTF8"}})
	if err != nil {
		cancel()
		return nil, err
	}
	stop := found.raw.closeWith(ctx)
	in := &inspector{database: database, asker: &straight{session: found, database: database, ctx: ctx, end: func() { stop(); cancel() }}}
	const prepare = `SELECT pg_catalog.set_config('search_path', '', false), pg_catalog.set_config('default_transaction_read_only', 'on', false)`
	if _, err := in.ask(prepare); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *straight) close() {
	in.end()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	stop := in.raw.closeWith(ctx)
	defer stop()
	_ = in.Close(ctx)
	_ = in.raw.Close()
}

func (in *straight) tls() string {
	if in.secure == nil {
		return ""
	}
	return tls.VersionName(in.secure.Version)
}

func (in *straight) ask(sql string, args ...string) ([][]string, error) {
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	answer := in.ExecParams(in.ctx, sql, values, nil, nil, nil)
	var rows [][]string
	for answer.NextRow() {
		if len(rows) == maxRows {
			return nil, errors.Join(in.raw.Close(), tooMany())
		}
		row := make([]string, len(answer.Values()))
		for i, v := range answer.Values() {
			row[i] = string(v)
		}
		rows = append(rows, row)
	}
	if _, err := answer.Close(); err != nil {
		if in.ctx.Err() != nil {
			return nil, context.Cause(in.ctx)
		}
		return nil, in.explain(err)
	}
	return rows, nil
}

func tooMany() error {
	return job.Errorf(job.DumpFailed, "the server names more than %d things in one answer", maxRows)
}

func (in *straight) explain(err error) error {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		code := job.DumpFailed
		if e.Code == noPrivilege {
			code = job.PermissionDenied
		}
		return &job.Error{Code: code, Err: err, Message: fmt.Sprintf("the database %q does not answer a question about itself: %s", in.database, words(e))}
	}
	return job.Errorf(job.ConnectFailed, "the connection with the server broke: %w", sshconn.Quoted(innermost(err)))
}

// one is ask for a single row.
func (in *inspector) one(columns int, sql string, args ...string) ([]string, error) {
	rows, err := in.ask(sql, args...)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) != columns {
		return nil, job.Errorf(job.DumpFailed, "the database %q answers a question about itself with %d rows", in.database, len(rows))
	}
	return rows[0], nil
}
