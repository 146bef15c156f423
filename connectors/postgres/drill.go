package postgres

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"xvault/connectors"
	"xvault/connectors/scratch"
	"xvault/internal/job"
)

// # Drills
//
// A drill loads every dump into a server that is made for it, as a role that may do
// nothing but fill its own database, and counts. What is expected is what the dump
// itself says: pg_restore writes its rows out as text a second time, while it loads
// them, and each line of that is a row. So the figures of a dump do not depend on the
// server that loads it, and old snapshots have them too.
//
// The role is no superuser, so that a hostile dump can neither run programs nor read or
// write files (COPY ... PROGRAM, untrusted languages, file_fdw). Extensions, which only
// a superuser may make, are made before, if they are installed; what else only a
// superuser may do makes the drill unprovable.

// drillPhases are told while it goes on.
const (
	phaseStarting = "starting a scratch server"
	phaseLoading  = "loading"
	phaseCounting = "counting"
)

// drill implements connectors.Drill.
func (o Options) drill(ctx context.Context, env connectors.DrillEnv) (result job.DrillResult, err error) {
	d := &drill{options: o, env: env}
	if d.env.Log == nil {
		d.env.Log = slog.New(slog.DiscardHandler)
	}
	err = d.run(ctx)
	return d.result, err
}

// drill is one run of it.
type drill struct {
	options Options
	env     connectors.DrillEnv
	result  job.DrillResult
	dumps   []*dumped
	roles   []string // that the server had which the dumps are of
	largest int64    // of the dumps, in bytes
	server  *scratchServer
}

func (d *drill) run(ctx context.Context) (err error) {
	defer func() { d.report() }()
	if err := d.plan(ctx); err != nil {
		return err
	}
	if err := d.report().Undecided(); err != nil {
		return err
	}
	d.env.Phase(phaseStarting)
	room, err := scratch.Open(scratch.Config{TempDir: d.env.TempDir, User: d.env.User, Needs: d.needs(), Log: d.env.Log})
	if err != nil {
		return err
	}
	defer func() {
		d.result.Notes = append(room.Notes(), d.result.Notes...)
		if closeErr := room.Close(); err == nil && closeErr != nil {
			err = &job.Error{Code: job.Internal, Err: closeErr, Message: "The scratch server could not be removed; see WORKER_TEMP_DIR."}
		}
	}()
	watched, done := room.Watch(ctx)
	defer done()
	if d.server, err = d.start(watched, room); err != nil {
		if watched.Err() != nil {
			return context.Cause(watched)
		}
		return err
	}
	for _, dump := range d.dumps {
		if err := d.tryDump(watched, dump); err != nil {
			return d.givenUp(ctx, err)
		}
	}
	return d.report().Verdict()
}

// needs is how much room a database takes, of which there is one at a time: as much as
// its dump, the indexes, and the log that is written meanwhile.
func (d *drill) needs() int64 { return d.largest + d.largest/2 + emptyServer }

// givenUp is what a drill comes to that an error ended: what it has shown of the dumps
// before stays shown, unless it was told to stop or the snapshot itself is damaged.
func (d *drill) givenUp(ctx context.Context, why error) error {
	disproved := func(dump *dumped) bool { return dump.result.Code.Disproves() }
	if ctx.Err() != nil || job.CodeOf(why).ProvesDamage() || !slices.ContainsFunc(d.dumps, disproved) {
		return why
	}
	for _, dump := range d.dumps {
		if dump.result.Code == "" && !dump.result.OK {
			dump.fail(&job.Error{Code: job.Unprovable, Message: fmt.Sprintf("nothing can be said about it, for the drill was given up before: %.600s", why)})
		}
	}
	return d.report().Verdict()
}

// tryDump loads one. What is wrong with it is its own; an error ends the drill.
func (d *drill) tryDump(ctx context.Context, dump *dumped) error {
	err := d.loadDump(ctx, dump)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e := asJobError(err)
	switch {
	case err == nil:
		dump.result.OK = true
		return nil
	case e != nil && (e.Code.Disproves() || e.Code == job.Unprovable):
		dump.fail(e)
		return nil
	case e != nil && e.Code == job.Timeout: // of the scratch server
		dump.fail(&job.Error{Code: job.Unprovable, Message: "nothing can be said about it: " + e.Message})
		return nil
	default:
		return err
	}
}

// loadDump loads one, counts, and removes it, also where that failed: the next one needs
// the room.
func (d *drill) loadDump(ctx context.Context, dump *dumped) error {
	if dump.result.Code != "" {
		return &job.Error{Code: dump.result.Code, Message: dump.result.Problem}
	}
	d.env.Phase(phaseLoading)
	into, err := d.server.makeDatabase(ctx, dump)
	if err == nil {
		err = d.fill(ctx, dump, into)
	}
	if into != "" && ctx.Err() == nil {
		err = closed(err, d.server.dropDatabase(ctx, into))
	}
	return err
}

// fill loads a dump into a database, and counts what is there then.
func (d *drill) fill(ctx context.Context, dump *dumped, into string) error {
	rows, err := d.load(ctx, dump, into)
	if err != nil {
		return err
	}
	if dump.otherLocale {
		d.note("the database %q was loaded with the sort order C: the worker does not have its own, %q", dump.name, dump.about.collate)
	}
	d.env.Phase(phaseCounting)
	return d.server.compare(ctx, dump, into, rows)
}

// report completes the result.
func (d *drill) report() job.DrillResult {
	d.result.Databases = []job.DrillDatabase{}
	for _, dump := range d.dumps {
		d.result.Databases = append(d.result.Databases, dump.result)
	}
	return d.result
}

func (d *drill) note(format string, args ...any) {
	if len(d.result.Notes) < connectors.MaxTargetProblems {
		d.result.Notes = append(d.result.Notes, fmt.Sprintf(format, args...))
	}
}

// dumped is the dump of one database.
type dumped struct {
	member string
	name   string
	about  archiveAbout
	// otherLocale says that it is loaded with the sort order C in place of its own.
	otherLocale bool
	made        []string            // extensions in the scratch server, with versions
	brought     map[tableName]int64 // rows that these have made
	result      job.DrillDatabase
}

func (d *dumped) fail(e *job.Error) {
	d.result.OK, d.result.Code, d.result.Problem = false, e.Code, strings.TrimSpace(e.Message)
}
