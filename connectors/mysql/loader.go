package mysql

import (
	"bufio"
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"

	"xvault/connectors"
	"xvault/connectors/sshtunnel"
	"xvault/internal/job"
)

// Loader loads one dump for a connector that has something to do with the database
// before it counts as whole. What target.go and load.go say holds for it. It is used by
// one goroutine; Close may be called at any time.
type Loader struct {
	t     *target
	name  string
	over  bool
	state loaderState
	// unsure says that all is done, and perhaps the mark is gone.
	unsure bool
	made   *madeTables // nil: the database holds what the dump made, and no more
}

type loaderState uint8

const (
	loaderIdle loaderState = iota
	loaderReserved
	loaderLoaded
	loaderDone
)

// LoaderOptions say where a dump goes.
type LoaderOptions struct {
	// Database is what it is loaded into.
	Database string
	// Own says that the name was made for this job, so that a database that is there
	// and not marked as begun was made by an earlier attempt, and is whole.
	Own bool
	// Over loads over what is there; otherwise a database that holds anything is refused.
	Over bool
	// JobID, Again and Allowed are those of connectors.TargetOptions.
	JobID   string
	Again   bool
	Allowed func() error
}

// NewLoader makes one. It does not connect yet.
func NewLoader(config Config, env connectors.Env, o Options, l LoaderOptions) (*Loader, error) {
	if err := checkName(l.Database, maxName); err != nil || isSystem(l.Database) {
		return nil, job.Errorf(job.ConfigInvalid, "%.100q is no name that a database to restore to can have", l.Database)
	}
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, job.Errorf(job.Internal, "the configuration of a database cannot be written: %w", err)
	}
	r, err := newReach(raw, env, o.withDefaults())
	if err != nil {
		return nil, err
	}
	if r.config.SSH != nil {
		r.config.SSH.Dump = sshtunnel.DumpTunnel
	}
	opts := connectors.TargetOptions{JobID: l.JobID, Again: l.Again, Allowed: l.Allowed, Folder: "/" + l.Database}
	return &Loader{t: &target{reach: r, opts: opts, own: l.Own, named: "database"}, name: l.Database, over: l.Over}, nil
}

// Reserve shows that the dump can be loaded, by making the database, marked as not
// whole. Without it Load does so.
func (l *Loader) Reserve(ctx context.Context) error {
	if l.state != loaderIdle {
		return nil
	}
	if err := l.t.start(ctx); err != nil {
		return err
	}
	if l.over {
		l.state = loaderReserved
		return nil
	}
	whole, err := l.t.reserve(ctx, l.name, "")
	switch {
	case err != nil:
		return err
	case whole:
		l.state = loaderDone
	default:
		l.state = loaderReserved
	}
	return nil
}

// Load loads the dump of a database. A new one stays marked until Finish.
func (l *Loader) Load(ctx context.Context, item connectors.TargetItem) error {
	from, err := databaseOf(item)
	if err != nil {
		return err
	}
	if err := l.Reserve(ctx); err != nil {
		return err
	}
	switch l.state {
	case loaderDone:
		return nil // by an earlier attempt
	case loaderLoaded:
		return job.Errorf(job.ConfigInvalid, "another dump went into the database %q already; restore one at a time", l.name)
	}
	content := bufio.NewReaderSize(item.Body, 4<<10)
	made, err := madeWith(content)
	if err != nil {
		return err
	}
	dump := renamed(content, from, l.name)
	if l.over {
		l.made = &madeTables{r: dump, names: map[string]bool{}}
		dump = l.made
		err = l.t.putOver(ctx, l.name, made, item.Size, dump)
	} else {
		if made != "" {
			err = l.t.run(ctx, "ALTER DATABASE "+quoteName(l.name)+made)
		}
		if err == nil {
			err = l.t.load(ctx, l.name, dump)
		}
		if err == nil {
			l.t.done(item.Size, false, fmt.Sprintf("the dump was loaded into the new database %q", l.name))
		}
	}
	if err == nil {
		l.state = loaderLoaded
	}
	return err
}

// Made reports whether a table is of the dump that was loaded, and not one that was there
// beside it.
func (l *Loader) Made(table string) bool { return l.made.has(table) }

// Database is what it is loaded into.
func (l *Loader) Database() string { return l.name }

// Done reports whether the database is loaded, and by an earlier attempt.
func (l *Loader) Done() (loaded, before bool) {
	return l.state == loaderLoaded || l.state == loaderDone, l.state == loaderDone
}

// with does something on a connection whose default is the database. One on which
// anything is set is not used again.
func (l *Loader) with(ctx context.Context, sets bool, do func(*sql.Conn) error) (err error) {
	if err := l.t.start(ctx); err != nil {
		return err
	}
	c, err := l.t.server.db.Conn(ctx)
	if err != nil {
		return l.t.askError(ctx, err)
	}
	defer func() {
		if sets {
			_ = c.Raw(func(any) error { return driver.ErrBadConn }) // which ends it
		}
		_ = c.Close() // what counts was answered
	}()
	if _, err = c.ExecContext(ctx, "USE "+quoteName(l.name)); err == nil {
		err = do(c)
	}
	if err == nil {
		return nil
	}
	return l.t.askError(ctx, err)
}

// Ask asks the database, and gives rows of texts; NULL is an empty one. More than MaxRows
// are an error.
func (l *Loader) Ask(ctx context.Context, question string, args ...any) (all [][]string, err error) {
	err = l.with(ctx, false, func(c *sql.Conn) error {
		all, err = rowsOf(ctx, c, MaxRows, question, args...)
		return err
	})
	return all, err
}

// Do changes something in the database.
func (l *Loader) Do(ctx context.Context, statement string, args ...any) error {
	return l.with(ctx, false, func(c *sql.Conn) error {
		if err := l.t.allowed(); err != nil {
			return err
		}
		_, err := c.ExecContext(ctx, statement, args...)
		return err
	})
}

// Finish says that all that was to be done is done. It takes the mark away.
func (l *Loader) Finish(ctx context.Context) error {
	if l.over || l.state != loaderLoaded {
		return nil
	}
	if err := l.t.unmark(ctx, l.name); err != nil {
		l.unsure = true
		return err
	}
	l.state = loaderDone
	return nil
}

// Abandon removes a new database that is not whole, also where the context is over.
func (l *Loader) Abandon(ctx context.Context) {
	if l.over || l.state != loaderReserved && l.state != loaderLoaded {
		return
	}
	if l.unsure {
		l.t.dropUnsure(ctx, l.name)
	} else {
		l.t.dropHalf(ctx, l.name)
	}
	l.state, l.unsure = loaderIdle, false
}

// Report tells what was done.
func (l *Loader) Report() connectors.TargetReport { return l.t.Report() }

// Close ends the connections.
func (l *Loader) Close() error { return l.t.Close() }
