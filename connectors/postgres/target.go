package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path"
	"strings"
	"sync"

	"xvault/connectors"
	"xvault/connectors/sshtunnel"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// target implements connectors.Target: it restores databases.
//
// A database is restored under a name that begins with the job's, and gets its own when
// all of it is there, so that nothing half stands under a name that means something. A
// later attempt drops what an earlier one left. Without a word that it may replace the
// database, it becomes a new one; with that, its content is replaced in one transaction.
type target struct {
	*source
	opts connectors.TargetOptions

	mu     sync.Mutex
	report connectors.TargetReport

	survey *survey // of the server; nil until the first entry
}

func openTarget(config []byte, env connectors.Env, o Options, opts connectors.TargetOptions) (connectors.Target, error) {
	switch {
	case opts.Folder != "":
		return nil, job.Errorf(job.ConfigInvalid, "a database has no folder that it could be restored to: leave target_path out; without overwrite it becomes a new database anyway")
	case opts.Existing == job.ExistingNewer:
		return nil, job.Errorf(job.ConfigInvalid, "a database has no time by which it could be newer: choose skip, which makes a new one, or overwrite, which replaces its content")
	}
	s, err := open(config, env, o)
	if err != nil {
		return nil, err
	}
	if s.config.SSH.Remote() {
		return nil, job.Errorf(job.ConfigInvalid, "the source is dumped by the ssh host's own programs (ssh.dump is remote), and nothing is restored that way; set ssh.dump to tunnel for the restore, or download the dump and load it by hand")
	}
	if s.config.SSH != nil {
		s.config.SSH.Dump = sshtunnel.DumpTunnel
	}
	if opts.Allowed == nil {
		opts.Allowed = func() error { return nil }
	}
	return &target{source: s, opts: opts}, nil
}

// Put implements connectors.Target. What cannot be restored does not keep the other
// databases from it, unless the server is gone or the archive is not what it was.
func (t *target) Put(ctx context.Context, item connectors.TargetItem) error {
	if item.Kind != entry.File || item.Body == nil {
		return nil
	}
	ctx, done := t.untilClosed(ctx)
	defer done()
	name, err := restorable(item.Path)
	if err == nil && name == "" {
		t.skipGlobals()
		return nil
	}
	if err == nil {
		err = t.database(ctx, name, item)
	}
	e, ok := errors.AsType[*job.Error](err)
	if ok && ctx.Err() == nil && keepsGoing(e.Code) {
		t.fail(item.Path, e)
		return nil
	}
	return err
}

// keepsGoing reports whether a failure is that of one database alone.
func keepsGoing(code job.Code) bool {
	switch code {
	case job.DumpFailed, job.PermissionDenied, job.ConfigInvalid, job.SourceChanged:
		return true
	default:
		return false
	}
}

// restorable gives the database that a member holds; empty for the globals.
func restorable(member string) (string, error) {
	file, ok := strings.CutPrefix(member, folder)
	if member == globalsName {
		return "", nil
	}
	encoded, custom := strings.CutSuffix(file, ".dump")
	if ok && custom && !strings.Contains(file, "/") {
		name, err := connectors.DecodeName(encoded)
		if _, wrong := cleanName(name); err == nil && wrong == nil {
			return name, nil
		}
	}
	if path.Ext(file) == ".sql" {
		return "", job.Errorf(job.ConfigInvalid, "%q is a dump as SQL, which only psql can load, and psql would also run commands on the worker that the dump names. Download it, look at it, and load it by hand: psql --no-psqlrc --set ON_ERROR_STOP=1 --dbname NEW --file %q",
			member, path.Base(member))
	}
	return "", job.Errorf(job.ConfigInvalid, "%q is no dump of a PostgreSQL database; choose paths that are, or download it", member)
}

func (t *target) skipGlobals() {
	t.tell("roles and tablespaces (%s) were not restored: they belong to the whole server. Download that file and load what is missing with psql", globalsName)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Skipped++
}

func (t *target) tell(format string, args ...any) {
	note := fmt.Sprintf(format, args...)
	t.env.Log.Info("restore to PostgreSQL", slog.String("note", note))
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.report.Notes) < connectors.MaxTargetProblems {
		t.report.Notes = append(t.report.Notes, note)
	}
}

func (t *target) fail(member string, err *job.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Failed++
	if len(t.report.Problems) < connectors.MaxTargetProblems {
		t.report.Problems = append(t.report.Problems, connectors.TargetProblem{Path: "/" + member, Err: err})
	}
}

// done counts a database that was restored.
func (t *target) done(bytes int64, replaced, ownersLost bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Files++
	t.report.Bytes += bytes
	if replaced {
		t.report.Overwritten++
	}
	if ownersLost {
		t.report.OwnersLost++
	}
}

func (t *target) unchanged() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Unchanged++
}

// Finish implements connectors.Target: every database was finished by Put.
func (t *target) Finish(context.Context) error { return nil }

// Report implements connectors.Target.
func (t *target) Report() connectors.TargetReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Problems = append([]connectors.TargetProblem(nil), r.Problems...)
	r.Notes = append([]string(nil), r.Notes...)
	return r
}
