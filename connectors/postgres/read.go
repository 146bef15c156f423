package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// Read implements connectors.Source.
func (s *source) Read(ctx context.Context, visit func(connectors.Item) error) error {
	ctx, done := s.untilClosed(ctx)
	defer done()
	v, err := s.look(ctx)
	if err != nil {
		return err
	}
	if err := refused(v.databases, s.config.Username); err != nil {
		return err
	}
	s.env.Log.Info("databases are dumped", slog.String("server", v.about.version), slog.String("client", v.client.String()),
		slog.Int("databases", len(v.databases)), slog.Bool("role_passwords", v.about.passwords), slog.Bool("encrypted", v.secure != ""), whose(v.way))
	r := &reading{source: s, survey: v, visit: visit, missing: slices.Clone(s.config.Schemas)}
	return r.run(ctx)
}

// refused fails for a database that "*" means and that the role cannot connect to.
func refused(list []database, role string) error {
	var grants []string
	for _, d := range list {
		if !d.connect {
			grants = append(grants, fmt.Sprintf("GRANT CONNECT ON DATABASE %s TO %s;", quoteIdent(d.name), quoteIdent(role)))
		}
	}
	if len(grants) == 0 {
		return nil
	}
	return job.Errorf(job.PermissionDenied, "the role may not connect to %d databases of the server, so nothing was backed up; run the following, or name the databases to back up in place of \"*\": %s",
		len(grants), strings.Join(grants[:min(len(grants), 10)], " "))
}

// reading is one run of Read.
type reading struct {
	*source
	survey
	visit   func(connectors.Item) error
	missing []string // schemas that no database had so far
	// schemas are those of each database that was prepared; nil: none was ahead of its turn.
	schemas map[string][]string
}

func (r *reading) run(ctx context.Context) error {
	if err := r.lookAhead(ctx); err != nil {
		return err
	}
	globals := false
	for _, d := range r.databases {
		if !globals && member(d.name, r.config.Format) > globalsName {
			if err := r.globals(ctx); err != nil {
				return err
			}
			globals = true
		}
		if err := r.database(ctx, d); err != nil {
			return err
		}
	}
	if globals {
		return nil
	}
	return r.globals(ctx)
}

// lookAhead prepares databases and schemas that are named: that one is not there is
// noticed before any is read. Of all that there are one may be gone when its turn comes.
func (r *reading) lookAhead(ctx context.Context) error {
	if r.all() && len(r.config.Schemas) == 0 {
		return nil
	}
	r.schemas = map[string][]string{}
	for _, d := range r.databases {
		found, err := r.prepare(ctx, d)
		if r.all() && job.CodeOf(err) == job.PathNotFound {
			continue
		}
		if err != nil {
			return err
		}
		if !r.all() {
			r.schemas[d.name] = found
		}
	}
	if len(r.missing) > 0 {
		return schemaNowhere(r.missing[0])
	}
	return nil
}

// header describes a member.
func (r *reading) header(name string) entry.Header {
	return entry.Header{Path: name, Kind: entry.File, Size: entry.SizeUnknown, Mode: 0o600, ModTime: r.about.now}
}

// globals dumps what belongs to the whole server.
func (r *reading) globals(ctx context.Context) error {
	args := []string{"--globals-only", "--database=" + r.first}
	if !r.about.passwords {
		args = append(args, "--no-role-passwords")
		r.env.Warn("the passwords of roles are not in the backup (" + globalsName + "), for the backup's role may not read them")
	}
	return r.dump(ctx, globalsName, r.first, dumptool.Command{
		Path: r.client.program("pg_dumpall"), Args: args, What: "the dump of roles and tablespaces", Check: trailer(),
	})
}

// database dumps one database, if it still is there.
func (r *reading) database(ctx context.Context, d database) error {
	name := member(d.name, r.config.Format)
	schemas, ahead := r.schemas[d.name]
	var err error
	if !ahead {
		schemas, err = r.prepare(ctx, d)
	}
	if job.CodeOf(err) == job.PathNotFound && r.all() {
		r.env.Log.Info("a database was dropped before its turn came", slog.String("database", d.name))
		return r.visit(connectors.Item{Header: r.header(name), Vanished: true})
	}
	if err != nil {
		return err
	}
	if len(schemas) == 0 && len(r.config.Schemas) > 0 {
		r.env.Log.Info("a database has none of the schemas, and is left out", slog.String("database", d.name))
		return nil
	}
	c := dumptool.Command{Path: r.client.program("pg_dump"), Args: r.args(schemas), What: fmt.Sprintf("the dump of database %q", d.name)}
	if r.config.Format == Plain {
		c.Check = trailer()
	} else if c.Check, err = r.restorable(ctx, d.name); err != nil {
		return err
	}
	return r.dump(ctx, name, d.name, c)
}

// prepare looks whether the database is there, lets the role in and has what is
// asked for: this tells more, and in better words, than a failed dump.
func (r *reading) prepare(ctx context.Context, d database) ([]string, error) {
	in, err := r.way.inspect(ctx, d.name, r.options.Patience)
	if err != nil {
		return nil, err
	}
	defer in.close()
	if len(r.config.Schemas) == 0 {
		return nil, nil
	}
	found, err := in.schemas(r.config.Schemas)
	if err != nil {
		return nil, err
	}
	for _, name := range r.config.Schemas {
		if !slices.Contains(found, name) && !r.all() {
			return nil, job.Errorf(job.PathNotFound, "the database %q has no schema %q; check the names in schemas", d.name, name)
		}
	}
	r.missing = slices.DeleteFunc(r.missing, func(name string) bool { return slices.Contains(found, name) })
	return found, nil
}

// args are pg_dump's. It does not compress: the archive does, and better.
func (r *reading) args(schemas []string) []string {
	args := []string{fmt.Sprintf("--lock-wait-timeout=%dms", r.options.LockWait.Milliseconds())}
	if r.config.Format == Custom {
		args = append(args, "--format=custom", "--compress=0")
	} else {
		args = append(args, "--format=plain")
	}
	for _, name := range schemas {
		args = append(args, "--schema="+quoteIdent(name))
	}
	for _, p := range r.excludes {
		args = append(args, "--exclude-table="+p.dumpPattern())
	}
	return args
}

// dump runs a program, and has its output visited.
func (r *reading) dump(ctx context.Context, name, database string, c dumptool.Command) (err error) {
	d, err := r.way.start(ctx, database, c)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := d.Close(); err == nil { // what ends after an error says less, and a visit's is given back as it is
			err = closeErr
		}
	}()
	if err := r.visit(connectors.Item{Header: r.header(name), Body: d}); err != nil {
		return err
	}
	if said := strings.TrimSpace(d.Stderr()); said != "" {
		r.env.Log.Warn("the dump program has something to say", slog.String("member", name), slog.String("said", dumptool.Failure{Stderr: said}.LastWords()))
	}
	return nil
}

// restorable has pg_restore read the whole archive while it streams. Listing its
// content would not do: half an archive lists without complaint.
func (r *reading) restorable(ctx context.Context, database string) (dumptool.Check, error) {
	return dumptool.ReadBy(ctx, dumptool.Command{
		Path: r.reader.program("pg_restore"), Args: []string{"--file=/dev/null"},
		What: fmt.Sprintf("reading the dump of database %q once, to be sure of it,", database),
	})
}

// ending is how dumps as SQL end, with the line that later versions put before or
// after it.
var ending = regexp.MustCompile(`(?:\\unrestrict [A-Za-z0-9]+\n\n?)?--\n-- PostgreSQL database (?:cluster )?dump complete\n--\n\n(?:\\unrestrict [A-Za-z0-9]+\n\n?)?\z`)

// trailer checks that a dump as SQL has its last line.
func trailer() dumptool.Check {
	return dumptool.Trailer(512, func(end []byte) error {
		if !ending.Match(bytes.ReplaceAll(end, []byte("\r\n"), []byte("\n"))) {
			return errors.New("its last line, which says that it is complete, is missing")
		}
		return nil
	})
}
