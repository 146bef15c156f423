package mysql

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"xvault/connectors"
	"xvault/connectors/scratch"
	"xvault/internal/job"
)

// # Drills
//
// A drill loads every dump into a server that is made for it, as an account that may do
// anything with the databases of the drill, and nothing else; no account that may do
// more is left on that server. So a hostile dump can neither read or write files nor load
// code: the server has no plugins, either.
//
// What is expected is what the dump itself says: it is read once before, and its rows are
// counted. So the figures do not depend on the server that loads it, and old snapshots
// have them too.

// drillPhases are told while it goes on.
const (
	phaseReading  = "reading the dumps"
	phaseStarting = "starting a scratch server"
	phaseLoading  = "loading"
	phaseCounting = "counting"
)

// drillPatience is how long the scratch server may be silent: it builds indexes, and
// counts.
const drillPatience = 6 * time.Hour

// dropPatience is how long a database may take to go.
const dropPatience = 5 * time.Minute

// drill implements connectors.Drill.
func (o Options) drill(ctx context.Context, env connectors.DrillEnv) (job.DrillResult, error) {
	if env.Log == nil {
		env.Log = slog.New(slog.DiscardHandler)
	}
	o.Patience = drillPatience
	d := &drill{options: o, env: env}
	err := d.run(ctx)
	if err != nil && ctx.Err() != nil {
		return d.result, context.Cause(ctx)
	}
	if err != nil {
		err = d.givenUp(err)
	}
	return d.result, err
}

// givenUp is what a drill comes to that an error ended: what it has shown of the dumps
// before stays shown, unless the snapshot itself is damaged.
func (d *drill) givenUp(why error) error {
	disproved := func(dump *dumped) bool { return dump.result.Code.Disproves() }
	if job.CodeOf(why).ProvesDamage() || !slices.ContainsFunc(d.dumps, disproved) {
		return why
	}
	for _, dump := range d.dumps {
		if !dump.result.OK && dump.result.Code == "" {
			dump.fail(&job.Error{Code: job.Unprovable, Message: fmt.Sprintf("nothing can be said about it, for the drill was given up before: %.600s", why)})
		}
	}
	return d.report().Verdict()
}

// drill is one run of it.
type drill struct {
	options Options
	env     connectors.DrillEnv
	result  job.DrillResult
	dumps   []*dumped
	largest int64 // of the dumps, in bytes: one is loaded at a time
}

// dumped is the dump of one database.
type dumped struct {
	member string
	into   string // the database that it is loaded into
	about  *dumpAbout
	result job.DrillDatabase
}

func (d *dumped) fail(e *job.Error) {
	d.result.OK, d.result.Code, d.result.Problem = false, e.Code, strings.TrimSpace(e.Message)
}

func (d *drill) run(ctx context.Context) (err error) {
	defer func() { d.report() }()
	d.env.Phase(phaseReading)
	if err := d.plan(ctx); err != nil {
		return err
	}
	if err := d.report().Undecided(); err != nil {
		return err
	}
	d.env.Phase(phaseStarting)
	room, err := scratch.Open(scratch.Config{TempDir: d.env.TempDir, User: d.env.User, Needs: d.largest + d.largest/2 + emptyServer, Log: d.env.Log})
	if err != nil {
		return err
	}
	defer func() {
		d.result.Notes = append(room.Notes(), d.result.Notes...)
		if closeErr := room.Close(); err == nil && closeErr != nil {
			err = &job.Error{Code: job.Internal, Err: closeErr, Message: "The scratch server could not be removed; see WORKER_TEMP_DIR."}
		}
	}()
	ctx, done := room.Watch(ctx)
	defer done()
	s, err := d.start(ctx, room)
	if err == nil {
		err = d.loadAll(ctx, s)
		s.close()
	}
	if ctx.Err() != nil {
		return context.Cause(ctx) // the disk is full, or the job is over
	}
	return err
}

func (d *drill) loadAll(ctx context.Context, s *scratchServer) error {
	for _, dump := range d.dumps {
		if dump.result.Code != "" {
			continue
		}
		err := d.tryDump(ctx, s, dump)
		e, ok := errors.AsType[*job.Error](err)
		switch {
		case err == nil:
			dump.result.OK = true
		case ctx.Err() == nil && ok && (e.Code.Disproves() || e.Code == job.Unprovable):
			dump.fail(e)
		default:
			return err
		}
	}
	return d.report().Verdict()
}

// tryDump loads one, and removes what there is of it, so that the next has the room.
func (d *drill) tryDump(ctx context.Context, s *scratchServer, dump *dumped) error {
	err := d.loadDump(ctx, s, dump)
	if ctx.Err() != nil {
		return err
	}
	dropping, cancel := context.WithTimeout(ctx, dropPatience)
	defer cancel()
	if _, dropErr := s.target.server.db.ExecContext(dropping, "DROP DATABASE "+quoteName(dump.into)); err == nil && dropErr != nil {
		return s.broken(dropErr)
	}
	return err
}

// loadDump loads one, and counts.
func (d *drill) loadDump(ctx context.Context, s *scratchServer, dump *dumped) error {
	if err := s.hasEngines(ctx, dump.about); err != nil {
		return err
	}
	d.env.Phase(phaseLoading)
	err := d.env.Visit(ctx, []string{dump.member}, func(item connectors.TargetItem) error {
		if item.Path != dump.member || item.Body == nil {
			return nil
		}
		content := bufio.NewReaderSize(item.Body, 4<<10)
		return s.load(ctx, dump, renamed(content, dump.result.Name, dump.into))
	})
	if err != nil {
		return err
	}
	d.env.Phase(phaseCounting)
	return s.compare(ctx, dump)
}

// plan reads all dumps, before there is a server.
func (d *drill) plan(ctx context.Context) error {
	return d.env.Visit(ctx, []string{"mysql"}, func(item connectors.TargetItem) error {
		if item.Body == nil {
			return nil
		}
		dump := &dumped{member: item.Path, into: fmt.Sprintf("drill_%d", len(d.dumps)+1), about: newDumpAbout()}
		d.dumps = append(d.dumps, dump)
		d.largest = max(d.largest, item.Size)
		name, err := databaseOf(item)
		if err != nil {
			dump.result.Name = item.Path
			dump.fail(&job.Error{Code: job.Unprovable, Message: fmt.Sprintf("%q is no dump of a database", item.Path)})
			return nil //nolint:nilerr // it stands in the result
		}
		dump.result.Name = name
		if !isSystem(name) && !strings.ContainsFunc(name, isControl) {
			dump.into = name
		}
		return d.planDump(dump, item.Body)
	})
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func (d *drill) planDump(dump *dumped, body io.Reader) error {
	err := dump.about.read(body)
	if e, ok := errors.AsType[*job.Error](err); ok && e.Code == job.Unprovable {
		dump.fail(e)
		return nil
	}
	if err != nil {
		return err
	}
	switch v := dump.about.server; {
	case v.major == 0:
		dump.fail(&job.Error{Code: job.Unprovable, Message: "the dump does not say of which server it is"})
	case v.flavor != mariaDB:
		dump.fail(&job.Error{Code: job.Unprovable, Message: fmt.Sprintf("it is of %s, and drills load dumps of MariaDB only: what another server makes of it proves nothing", v)})
	case !dump.about.complete:
		dump.fail(&job.Error{Code: job.DumpFailed, Message: "the dump's last line does not say that it is complete"})
	}
	return nil
}

// report completes the result.
func (d *drill) report() job.DrillResult {
	d.result.Databases = []job.DrillDatabase{}
	for _, dump := range d.dumps {
		d.result.Databases = append(d.result.Databases, dump.result)
	}
	return d.result
}
