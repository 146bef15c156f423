package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// tempName is the name of a database that is not whole yet.
func (t *target) tempName(name string) string {
	return fitName(connectors.TempPrefix+strings.ReplaceAll(t.opts.JobID, "-", "")+"-"+name, "")
}

// newName is the name of a database that is restored beside its original. It follows
// from the job, so that a later attempt knows what an earlier one finished.
func (t *target) newName(name string) string {
	id := strings.ReplaceAll(t.opts.JobID, "-", "")
	return fitName(name, "_restored_"+id[max(0, len(id)-8):])
}

// fitName cuts a name to what PostgreSQL takes, between characters. Names that begin
// alike stay apart.
func fitName(name, suffix string) string {
	if len(name) <= maxName-len(suffix) {
		return name + suffix
	}
	sum := sha256.Sum256([]byte(name))
	suffix = "_" + hex.EncodeToString(sum[:4]) + suffix
	for name = name[:maxName-len(suffix)]; len(name) > 0 && !utf8.ValidString(name); {
		name = name[:len(name)-1]
	}
	return name + suffix
}

// look finds out about the server, once.
func (t *target) look(ctx context.Context) (*survey, error) {
	if t.survey == nil {
		server, err := t.reach(ctx)
		if err != nil {
			return nil, err
		}
		in, err := t.anyDatabase(ctx, server)
		if err != nil {
			return nil, err
		}
		defer in.close()
		v := &survey{target: server, first: in.database}
		if v.about, err = in.about(); err != nil {
			return nil, err
		}
		if v.client, err = chooseClient(ctx, t.options.ClientFolders, v.about.major()); err != nil {
			return nil, err
		}
		t.survey = v
	}
	return t.survey, nil
}

// database restores one.
func (t *target) database(ctx context.Context, name string, item connectors.TargetItem) error {
	v, err := t.look(ctx)
	if err != nil {
		return err
	}
	r := &restoring{target: t, survey: v, name: name, item: item, final: t.newName(name), temp: t.tempName(name)}
	exists, err := r.exists(ctx, name)
	if err != nil {
		return err
	}
	if t.opts.Existing == job.ExistingOverwrite {
		if exists {
			return r.replace(ctx)
		}
		r.final = name
	}
	return r.make(ctx, exists)
}

// restoring is the way of one database.
type restoring struct {
	*target
	*survey
	item              connectors.TargetItem
	name, final, temp string
	bytes             atomic.Int64 // read of the dump
}

// make restores into a new database.
func (r *restoring) make(ctx context.Context, like bool) error {
	if done, err := r.exists(ctx, r.final); err != nil || done {
		if done {
			r.unchanged() // by an earlier attempt
			r.tell("database %q is in %q", r.name, r.final)
		}
		return err
	}
	if err := r.create(ctx, like); err != nil {
		if job.CodeOf(err) == job.ConnectFailed { // it may have been made all the same
			r.dropHalf(ctx)
		}
		return err
	}
	lost, err := r.load(ctx, r.temp)
	if err == nil {
		err = r.rename(ctx)
	}
	if err != nil {
		r.dropHalf(ctx)
		return err
	}
	r.done(r.bytes.Load(), false, lost)
	r.tell("database %q was restored into the new database %q", r.name, r.final)
	return nil
}

// dropHalf removes what is not whole, and tells where that cannot be done.
func (r *restoring) dropHalf(ctx context.Context) {
	if err := r.drop(ctx); err != nil {
		r.tell("database %q, as far as it was made, is not whole and could not be removed: another attempt of this restore does that; if none comes, drop it", r.temp)
	}
}

// replace puts the dump into the database itself, in one transaction: all of it, or
// nothing has changed.
func (r *restoring) replace(ctx context.Context) error {
	lost, err := r.load(ctx, r.name, "--clean", "--if-exists", "--single-transaction")
	if err != nil {
		return err
	}
	r.done(r.bytes.Load(), true, lost)
	r.tell("what the dump of database %q holds was replaced in it; what came later and is not in the dump is still there", r.name)
	return nil
}

// load has pg_restore read the dump.
func (r *restoring) load(ctx context.Context, into string, more ...string) (ownersLost bool, err error) {
	if err := r.opts.Allowed(); err != nil {
		return false, err
	}
	dir, err := r.tempDir()
	if err != nil {
		return false, err
	}
	args := more
	if !r.about.superuser {
		// Only a superuser may give things away to roles that it is no member of.
		args, ownersLost = append(args, "--no-owner", "--no-privileges"), true
	}
	if len(more) > 0 || ownersLost {
		args = append(args, "--exit-on-error")
	}
	l := loading{
		server: r.survey.target, client: r.client, dir: dir, into: into, args: args,
		what: fmt.Sprintf("the restore of database %q", r.name), body: &counted{r.item.Body, &r.bytes}, explain: r.explain,
	}
	h, err := l.run(ctx)
	stopped := len(more) > 0 || ownersLost // at the first error, by --exit-on-error
	if err == nil || stopped || job.CodeOf(err) != job.DumpFailed || ctx.Err() != nil {
		return ownersLost, err
	}
	why := refusalsIn(h)
	if why.more {
		return false, err
	}
	if why.roles {
		r.tell("roles that own something in database %q, or may use it, are not on this server; it belongs to %q instead, without their privileges and policies", r.name, r.config.Username)
	}
	if why.tablespaces {
		r.tell("tablespaces that database %q uses are not on this server; what was in them is in another one, the database's own as a rule. %s has their definitions", r.name, globalsName)
	}
	return why.roles, nil
}

func (r *restoring) explain(f dumptool.Failure, said *pgconn.PgError) *job.Error {
	if f.Link != nil || !f.Exited {
		return f.Plain()
	}
	failed := func(code job.Code, hint string) *job.Error {
		return &job.Error{Code: code, Err: f.Err, Message: f.What + " failed; " + hint + " (" + f.Ending() + ")"}
	}
	switch {
	case said == nil && strings.Contains(f.Stderr, "server closed the connection unexpectedly"):
		return failed(job.ConnectFailed, "the connection with the server broke")
	case said == nil:
		return f.Plain()
	case said.Code == noPrivilege:
		return failed(job.PermissionDenied, "the role lacks a right; restore as the database's owner or as a superuser, with a source of its own for that")
	case noRole(said):
		return failed(job.DumpFailed, "it names a role that is not on this server: make it first, with the CREATE ROLE in "+globalsName)
	case noTablespace(said):
		return failed(job.DumpFailed, "it uses a tablespace that is not on this server: make it first, with the CREATE TABLESPACE in "+globalsName+", or download the dump and load it with pg_restore --no-tablespaces")
	case strings.HasPrefix(said.Code, "53"):
		return failed(job.StorageFull, "the server has no room left for it")
	case said.Code == adminShutdown, said.Code == crashShutdown, said.Code == cannotConnectNow:
		return failed(job.ConnectFailed, "the server went down")
	default:
		return failed(job.DumpFailed, "the server refused a part of it")
	}
}

// counted counts what was read.
type counted struct {
	from io.Reader
	n    *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.n.Add(int64(n))
	return n, err
}
