package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// only visits the body of one dump.
func (*drill) only(dump *dumped, visit func(io.Reader) error) func(connectors.TargetItem) error {
	return func(item connectors.TargetItem) error {
		if item.Path != dump.member || item.Body == nil {
			return nil
		}
		return visit(item.Body)
	}
}

// load has a dump loaded into a database, and gives the rows that it has, counted by a
// second program while the first one loads.
func (d *drill) load(ctx context.Context, dump *dumped, into string) (rows *copied, err error) {
	list, err := d.listFile(ctx, dump)
	if err != nil {
		return nil, err
	}
	if list != nil {
		defer func() { err = closed(err, list.Close()) }()
	}
	dir, err := d.env.TempDir()
	if err != nil {
		return nil, err
	}
	l := loading{
		server: d.server.loader, client: d.server.client, dir: dir, into: into, patience: drillPatience,
		what: fmt.Sprintf("loading the dump of database %q", dump.name),
		args: []string{"--exit-on-error", "--no-owner", "--no-privileges", "--no-tablespaces", "--no-comments", "--no-security-labels", "--no-publications", "--no-subscriptions"},
	}
	l.explain = func(f dumptool.Failure, said *pgconn.PgError) *job.Error { return d.server.explainLoad(f, said, dump) }
	if list != nil {
		l.files, l.args = []*os.File{list}, append(l.args, "--use-list="+dumptool.FilePath(0))
	}
	err = d.env.Visit(ctx, []string{dump.member}, d.only(dump, func(body io.Reader) error {
		count, err := startCount(ctx, d.server.client, dump.name)
		if err != nil {
			return err
		}
		l.body = count.split(body)
		_, err = l.run(ctx)
		counted, countErr := count.end(err)
		if rows = counted; err == nil {
			err = countErr
		}
		return err
	}))
	return rows, judged(err)
}

// explainLoad tells whether a load failed because of the dump, or because of what this
// worker lacks.
func (s *scratchServer) explainLoad(f dumptool.Failure, said *pgconn.PgError, dump *dumped) *job.Error {
	if ended := s.server.Ended(); ended != nil || f.Link != nil {
		if ended == nil {
			ended = f.Link
		}
		return asJobError(s.broken(ended))
	}
	if strings.Contains(f.Stderr, "server closed the connection unexpectedly") {
		return asJobError(s.broken(f.Err))
	}
	if said == nil {
		return explainReading(f)
	}
	ending := f.Ending()
	unprovable := func(why string) *job.Error {
		return &job.Error{Code: job.Unprovable, Err: f.Err, Message: why + " (" + ending + ")"}
	}
	switch {
	case said.Code == "53100":
		return &job.Error{Code: job.StorageFull, Err: f.Err, Message: "The disk of WORKER_TEMP_DIR became full while the dump was loaded. Make room, or set WORKER_TEMP_DIR to a larger disk."}
	case strings.HasPrefix(said.Code, "53"), strings.HasPrefix(said.Code, "57P"):
		return unprovable("the scratch server ran out of what it has, or was ended")
	case said.Code == noPrivilege:
		return unprovable("it holds something that only a superuser may make, and a dump that is not trusted is never loaded as one")
	case said.Code == undefinedObject, said.Code == "0A000", said.Code == "58P01", said.Code == "22023", said.Code == noConfigFile:
		return unprovable("it needs something that the scratch server does not have and that is not in the dump")
	case len(dump.about.extensions) > 0 && slices.Contains(absent, said.Code):
		return unprovable(fmt.Sprintf("it uses something that is not there, which may be because its extensions are of another version than those that the scratch server made, %s; install the version that the source has on the worker",
			strings.Join(dump.made[:min(len(dump.made), 20)], ", ")))
	case dump.otherLocale:
		return unprovable(fmt.Sprintf("it was loaded with the sort order C, for the worker does not have its own, %q, and then this failed; install that locale on the worker", dump.about.collate))
	default:
		return &job.Error{Code: job.DumpFailed, Err: f.Err, Message: "the dump does not load (" + ending + ")"}
	}
}

// noConfigFile is the code of files of text search: dictionaries, stop words.
const noConfigFile = "F0000"

// absent are the codes of functions, columns, tables and schemas that are not there, as
// those are which only another version of an extension has.
var absent = []string{"42883", "42703", undefinedTable, "3F000"}

// explainReading tells why pg_restore could not read a dump.
func explainReading(f dumptool.Failure) *job.Error {
	if strings.Contains(f.Stderr, "unsupported version") {
		return &job.Error{Code: job.Unprovable, Err: f.Err, Message: "it was made by a newer version of PostgreSQL's programs than this worker has; install that (" + f.Ending() + ")"}
	}
	if !f.Exited {
		return f.Plain()
	}
	return &job.Error{Code: job.DumpFailed, Err: f.Err, Message: "pg_restore cannot read the dump (" + f.Ending() + ")"}
}

// count is the program that counts what another one loads.
type count struct {
	to   *io.PipeWriter
	done chan struct{}
	rows *copied // set before done is closed
	err  error
}

var errStopped = errors.New("the load ended before the dump did")

// startCount starts it.
func startCount(ctx context.Context, c client, database string) (*count, error) {
	from, to := io.Pipe()
	run, err := dumptool.Start(ctx, dumptool.Command{
		Path: c.program("pg_restore"), Args: []string{"--data-only", "--file=-"}, Stdin: from, Explain: explainReading,
		What: fmt.Sprintf("counting the rows in the dump of database %q", database),
	})
	if err != nil {
		return nil, errors.Join(err, from.Close())
	}
	n := &count{to: to, done: make(chan struct{}), rows: newCopied()}
	go func() {
		defer close(n.done)
		n.err = n.rows.read(run)
		n.err = closed(n.err, from.CloseWithError(errStopped)) // whoever still writes goes on
		n.err = closed(n.err, run.Close())
	}()
	return n, nil
}

// split gives a body that the counting program gets as well.
func (n *count) split(body io.Reader) io.Reader { return &splitting{body, n.to} }

// end waits for the figures. why is the error of the load; nil: all of it was read.
func (n *count) end(why error) (*copied, error) {
	if why != nil {
		_ = n.to.CloseWithError(errStopped) // it never fails
	}
	<-n.done
	return n.rows, n.err
}

type splitting struct {
	from io.Reader
	to   *io.PipeWriter
}

// Read implements io.Reader. A program that counts no more does not keep the other one
// from its work.
func (s *splitting) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	_, _ = s.to.Write(p[:n]) // how the program ended says more
	if errors.Is(err, io.EOF) {
		_ = s.to.Close()
	} else if err != nil {
		_ = s.to.CloseWithError(err)
	}
	return n, err
}
