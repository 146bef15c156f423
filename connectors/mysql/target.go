package mysql

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/connectors/sshtunnel"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// target implements connectors.Target: each dump is loaded into a database of its
// own, a new one unless the rule is to overwrite. See load.go for how a dump is kept
// from doing anything but SQL.
//
// A new database that is not whole holds a table named by TempPrefix and the job's
// id. It is dropped where the load fails, or by the next attempt.
type target struct {
	*reach
	opts connectors.TargetOptions

	client tool
	taken  map[string]bool // databases that a dump went into
	own    bool            // the name in opts.Folder was made for this job
	named  string          // what that name is given in, to people
	// explain is what a client's failure means, if not what explainLoad says.
	explain func(dumptool.Failure) *job.Error

	mu     sync.Mutex
	server *server // nil before the first dump; set by the one who puts
	report connectors.TargetReport
}

func newTarget(config []byte, env connectors.Env, o Options, opts connectors.TargetOptions) (connectors.Target, error) {
	r, err := newReach(config, env, o)
	if err != nil {
		return nil, err
	}
	if r.config.SSH.Remote() {
		return nil, job.Errorf(job.ConfigInvalid, "the source is dumped by the ssh host's own programs (ssh.dump is remote), and nothing is loaded that way; set ssh.dump to tunnel for the restore, or download the dump and load it by hand")
	}
	if r.config.SSH != nil {
		r.config.SSH.Dump = sshtunnel.DumpTunnel
	}
	if opts.Existing == job.ExistingNewer {
		return nil, job.Errorf(job.ConfigInvalid, `existing: "newer" means nothing for a database; use skip, for a new database, or overwrite`)
	}
	if opts.Folder != "" {
		name := strings.TrimPrefix(opts.Folder, "/")
		if err := checkName(name, maxName); err != nil || strings.Contains(name, "/") || isSystem(name) {
			return nil, job.Errorf(job.ConfigInvalid, "target_path of a database is one name after a slash, the new database's: /shop_copy")
		}
	}
	return &target{reach: r, opts: opts, taken: map[string]bool{}}, nil
}

// Put implements connectors.Target.
func (t *target) Put(ctx context.Context, item connectors.TargetItem) error {
	if item.Kind == entry.Dir {
		return nil
	}
	database, err := databaseOf(item)
	if err != nil {
		return t.settle(item.Path, err)
	}
	if err := t.start(ctx); err != nil {
		return err
	}
	err = t.put(ctx, database, item)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return t.settle(item.Path, err)
}

// databaseOf gives the name of the database that an entry is the dump of.
func databaseOf(item connectors.TargetItem) (string, error) {
	encoded, ok := strings.CutPrefix(item.Path, "mysql/")
	if ok && item.Kind == entry.File {
		if encoded, ok = strings.CutSuffix(encoded, ".sql"); ok && !strings.Contains(encoded, "/") {
			name, err := connectors.DecodeName(encoded)
			if err == nil && checkName(name, maxName) == nil {
				return name, nil
			}
		}
	}
	return "", job.Errorf(job.ConfigInvalid, "it is not the dump of a database")
}

// settle puts what concerns one dump alone into the report, and gives back what ends
// the restore.
func (t *target) settle(path string, err error) error {
	e, ok := errors.AsType[*job.Error](err)
	if !ok || e.Code.Retryable() || e.Code == job.AuthFailed || e.Code == job.Internal {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Failed++
	if len(t.report.Problems) < connectors.MaxTargetProblems {
		t.report.Problems = append(t.report.Problems, connectors.TargetProblem{Path: "/" + path, Err: e})
	}
	return nil
}

// start connects, and finds the client.
func (t *target) start(ctx context.Context) error {
	if t.server != nil {
		return nil
	}
	s, err := t.connect(ctx)
	if err != nil {
		return err
	}
	if t.client, err = t.findClient(ctx); err != nil {
		s.close()
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.server = s
	return nil
}

// put loads one dump.
func (t *target) put(ctx context.Context, database string, item connectors.TargetItem) error {
	content := bufio.NewReaderSize(item.Body, 4<<10)
	made, err := madeWith(content)
	if err != nil {
		return err
	}
	name := t.name(database)
	if t.taken[name] {
		return job.Errorf(job.ConfigInvalid, "another dump went into the database %q already; restore one at a time, or leave target_path out", name)
	}
	t.taken[name] = true
	dump := renamed(content, database, name)
	if t.opts.Existing == job.ExistingOverwrite {
		return t.putOver(ctx, name, made, item.Size, dump)
	}
	return t.putNew(ctx, name, made, item.Size, dump)
}

// name is that of the database that a dump is loaded into.
func (t *target) name(database string) string {
	switch {
	case t.opts.Folder != "":
		return strings.TrimPrefix(t.opts.Folder, "/")
	case t.opts.Existing == job.ExistingOverwrite:
		return database
	}
	suffix := "_restored_" + t.jobMark()
	runes := []rune(database)
	return string(runes[:min(len(runes), maxName-len(suffix))]) + suffix
}

// jobMark is the end of the job's id, which is random.
func (t *target) jobMark() string {
	id := strings.ReplaceAll(t.opts.JobID, "-", "")
	return id[max(0, len(id)-8):]
}

// mark is the table that a database holds until it is whole.
func (t *target) mark() string { return connectors.TempPrefix + t.opts.JobID }

// putNew loads into a database that is not there yet.
func (t *target) putNew(ctx context.Context, name, made string, size int64, content io.Reader) error {
	whole, err := t.reserve(ctx, name, made)
	if err != nil || whole {
		return err
	}
	if err := t.load(ctx, name, content); err != nil {
		t.dropHalf(ctx, name)
		return err
	}
	if err := t.unmark(ctx, name); err != nil {
		t.dropUnsure(ctx, name)
		return err
	}
	t.done(size, false, fmt.Sprintf("the dump was loaded into the new database %q", name))
	return nil
}

// reserve makes a new database, with the mark of one that is not whole. whole: an
// earlier attempt has made and loaded it already.
func (t *target) reserve(ctx context.Context, name, made string) (whole bool, err error) {
	there, whole, err := t.makeRoom(ctx, name)
	if err != nil || whole {
		return whole, err
	}
	if err := t.run(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(name)+made); err != nil {
		if job.CodeOf(err) == job.ConnectFailed { // it may have been made all the same
			t.takeBack(ctx, name, there)
		}
		return false, t.denied(name, err)
	}
	if err := t.run(ctx, "CREATE TABLE "+quoteName(name)+"."+quoteName(t.mark())+" (x INT)"); err != nil {
		t.takeBack(ctx, name, there)
		return false, err
	}
	return false, nil
}

// unmark says that a new database is whole.
func (t *target) unmark(ctx context.Context, name string) error {
	return t.run(ctx, "DROP TABLE "+quoteName(name)+"."+quoteName(t.mark()))
}

// makeRoom sees to it that a new database can be made. there: it is there, and empty.
// whole: an earlier attempt has made it already.
func (t *target) makeRoom(ctx context.Context, name string) (there, whole bool, err error) {
	found, err := t.server.texts(ctx, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "+literal(name))
	if err != nil {
		return false, false, t.askError(ctx, err)
	}
	if len(found) == 0 {
		return false, false, nil
	}
	tables, err := t.server.tables(ctx, name)
	if err != nil {
		return false, false, t.askError(ctx, err)
	}
	for _, table := range tables {
		if table.name == t.mark() {
			return false, false, t.run(ctx, "DROP DATABASE "+quoteName(name))
		}
	}
	switch {
	case len(tables) == 0:
		return true, false, nil
	case t.opts.Again && (t.opts.Folder == "" || t.own):
		t.mu.Lock()
		defer t.mu.Unlock()
		t.report.Unchanged++
		t.note(fmt.Sprintf("the dump was loaded into the new database %q by an earlier attempt", name))
		return false, true, nil
	}
	return false, false, job.Errorf(job.ConfigInvalid, "the database %q is there already and holds tables; name another one in %s, or choose existing: overwrite", name, cmp.Or(t.named, "target_path"))
}

// putOver loads over what is there: what the dump has is replaced, the rest stays.
func (t *target) putOver(ctx context.Context, name, made string, size int64, content io.Reader) error {
	if isSystem(name) {
		return job.Errorf(job.ConfigInvalid, "the server's own database %q is not written over", name)
	}
	if err := t.run(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(name)+made); err != nil {
		return t.denied(name, err)
	}
	if err := t.load(ctx, name, content); err != nil {
		if e, ok := errors.AsType[*job.Error](err); ok {
			return &job.Error{Code: e.Code, Err: e, Message: e.Message + fmt.Sprintf(" The database %q may be half restored now: repeat the restore.", name)}
		}
		return err
	}
	t.done(size, true, fmt.Sprintf("the dump was loaded over the database %q; what is not in the dump was left as it is", name))
	return nil
}

func (t *target) done(size int64, over bool, note string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Files++
	t.report.Bytes += max(0, size)
	if over {
		t.report.Overwritten++
	}
	t.note(note)
}

// note is called with the lock held.
func (t *target) note(text string) {
	if len(t.report.Notes) < connectors.MaxTargetProblems {
		t.report.Notes = append(t.report.Notes, text)
	}
}

// run executes a statement that changes something.
func (t *target) run(ctx context.Context, statement string) error {
	if err := t.allowed(); err != nil {
		return err
	}
	if _, err := t.server.db.ExecContext(ctx, statement); err != nil {
		return t.askError(ctx, err)
	}
	return nil
}

func (t *target) allowed() error {
	if t.opts.Allowed == nil {
		return nil
	}
	return t.opts.Allowed()
}

func (*target) askError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return serverError("preparing the database", err)
}

func (t *target) denied(name string, err error) error {
	if job.CodeOf(err) != job.PermissionDenied {
		return err
	}
	return job.Errorf(job.PermissionDenied, "the account may not make the database %q; for a restore it needs, for as long as that takes: GRANT ALL ON %s.* TO its account: %w", name, quotePattern(name), err)
}

// Finish implements connectors.Target. Every dump was finished when it was put.
func (*target) Finish(context.Context) error { return nil }

// Report implements connectors.Target.
func (t *target) Report() connectors.TargetReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.report
}

// Close implements connectors.Target.
func (t *target) Close() error {
	t.mu.Lock()
	s := t.server
	t.mu.Unlock()
	if s != nil {
		s.close()
	}
	return t.reach.Close()
}

// madeLine is the line that dumps of this connector begin with.
var madeLine = regexp.MustCompile(`^-- xVault: database ".*" CHARACTER SET ([a-z0-9_]+) COLLATE ([a-z0-9_]+)\n$`)

// madeWith reads what the dump's database was made with, where the dump says so.
func madeWith(content *bufio.Reader) (string, error) {
	begin, err := content.Peek(len(headerPrefix))
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	if string(begin) != headerPrefix {
		return "", nil
	}
	line, err := content.ReadSlice('\n')
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
		return "", err
	}
	m := madeLine.FindSubmatch(line)
	if m == nil {
		return "", nil
	}
	return " CHARACTER SET " + string(m[1]) + " COLLATE " + string(m[2]), nil
}
