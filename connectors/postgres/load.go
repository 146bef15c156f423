package postgres

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// loading is a dump on its way into a database.
type loading struct {
	server *server
	client client
	dir    string // for the program's socket
	into   string // the database
	what   string // in messages
	args   []string
	files  []*os.File // see dumptool.Command
	body   io.Reader
	// patience is how long the server may be silent; 0: for ever.
	patience time.Duration
	explain  func(f dumptool.Failure, said *pgconn.PgError) *job.Error
}

// run has pg_restore read the dump, which runs no command and no meta-command of
// psql's: all that it does with what is in it is to send it to the server. The handover
// tells what the server said.
func (l loading) run(ctx context.Context) (h *handover, err error) {
	h = &handover{server: l.server}
	relay, err := h.relay(ctx, l.dir)
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, relay.Close()) }()
	args := slices.Concat([]string{"--no-password"}, l.args, []string{"--dbname=" + l.server.connString(relay, l.into)})
	_, err = dumptool.Run(ctx, dumptool.Command{
		Path: l.client.program("pg_restore"), Args: args, Files: l.files, What: l.what, Stdin: l.body, Relay: relay, Patience: l.patience,
		Explain: func(f dumptool.Failure) *job.Error { return l.explain(f, h.last()) },
	})
	return h, err
}
