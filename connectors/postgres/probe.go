package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"xvault/connectors"
	"xvault/internal/job"
)

// Probe implements connectors.Source.
func (s *source) Probe(ctx context.Context) (found connectors.ProbeResult, err error) {
	ctx, done := s.untilClosed(ctx)
	defer done()
	v, err := s.look(ctx)
	s.hostKey(&found)
	if v.about.number != 0 {
		found.ServerVersion = "PostgreSQL " + v.about.version
	}
	if err != nil {
		return found, err
	}
	found.Transport = s.transport(v)
	p := &probing{source: s, survey: v, found: &found}
	p.warnAboutServer()
	for _, d := range v.databases {
		if err := p.database(ctx, d); err != nil {
			return found, err
		}
	}
	if err := p.failure(); err != nil {
		return found, err
	}
	for _, name := range s.config.Schemas {
		if !slices.Contains(p.seen, name) {
			return found, schemaNowhere(name)
		}
	}
	return found, nil
}

// schemaNowhere is said of a schema that should be in one of all databases, at least.
func schemaNowhere(name string) error {
	return job.Errorf(job.PathNotFound, "no database has the schema %q; check the names in schemas", name)
}

func (s *source) transport(v survey) string {
	way := v.client.String()
	switch _, remotely := v.way.(*remote); {
	case remotely:
		way += ", by the ssh host's own program"
	case s.config.SSH != nil:
		way += ", through ssh"
	}
	if v.secure == "" {
		return way + ", without TLS"
	}
	return way + ", " + v.secure
}

// probing is one run of Probe.
type probing struct {
	*source
	survey
	found *connectors.ProbeResult
	first *job.Error
	seen  []string // schemas that were asked for, of any database
}

func (p *probing) warn(format string, args ...any) {
	p.found.Warnings = append(p.found.Warnings, fmt.Sprintf(format, args...))
}

func (p *probing) role() string { return quoteIdent(p.config.Username) }

func (p *probing) warnAboutServer() {
	if !p.about.passwords {
		p.warn("the passwords of roles will not be in the backup, for the role may not read them; the roles themselves will be. GRANT pg_read_all_data lets it, from PostgreSQL 14 on")
	}
	if p.about.superuser {
		p.warn("the role is a superuser and could change or delete everything; a read-only one is enough: CREATE ROLE xvault LOGIN PASSWORD '...'; GRANT pg_read_all_data TO xvault; ALTER ROLE xvault BYPASSRLS;")
	}
	if p.secure == "" && p.config.SSH == nil {
		p.warn("the connection is not encrypted (sslmode %s): what is backed up can be read on the way", p.config.SSLMode)
	}
	if p.secure != "" && p.config.SSLMode != VerifyFull && p.config.SSH == nil {
		p.warn("the server's certificate is not checked (sslmode %s): verify-full, with ca_pem where it is an authority of your own, makes sure that it is the right server", p.config.SSLMode)
	}
}

// database looks at one database; its errors end the probe.
func (p *probing) database(ctx context.Context, d database) error {
	path := connectors.ProbePath{Path: d.name, Kind: "database"}
	err := p.inspect(ctx, d)
	e, ok := errors.AsType[*job.Error](err)
	switch {
	case err == nil:
		path.Reachable = true
	case ok && (e.Code == job.PathNotFound || e.Code == job.PermissionDenied):
		path.Error = &connectors.ProbeErr{Code: e.Code, Message: e.Message}
		if p.first == nil {
			p.first = e
		}
	default:
		return err
	}
	p.found.Paths = append(p.found.Paths, path)
	return nil
}

// failure is the probe's, where a database cannot be backed up.
func (p *probing) failure() error {
	if p.first == nil {
		return nil
	}
	return p.first
}

// inspect finds out whether all of a database can be read.
func (p *probing) inspect(ctx context.Context, d database) error {
	in, err := p.way.inspect(ctx, d.name, p.options.Patience)
	if err != nil {
		return err
	}
	defer in.close()
	found, err := in.schemas(p.config.Schemas)
	if err != nil {
		return err
	}
	p.seen = append(p.seen, found...)
	for _, name := range p.config.Schemas {
		if !slices.Contains(found, name) && !p.all() {
			return job.Errorf(job.PathNotFound, "the database %q has no schema %q; check the names in schemas", d.name, name)
		}
	}
	if p.about.superuser {
		return nil
	}
	if err := p.readable(in); err != nil {
		return err
	}
	writable, err := in.writable()
	if err == nil && writable != "" {
		p.warn("the role can write to %q (%s, for one): a read-only role is enough for backups", d.name, writable)
	}
	return err
}

// readable fails with what is missing, and how to grant it.
func (p *probing) readable(in *inspector) error {
	all, err := in.unreadable()
	if err != nil {
		return err
	}
	var denied, hidden []string
	for _, r := range all {
		switch {
		case !p.wanted(r):
		case !r.readable:
			denied = append(denied, quoteIdent(r.schema)+"."+quoteIdent(r.name))
		case r.rowSecurity && !p.about.anyRow:
			hidden = append(hidden, quoteIdent(r.schema)+"."+quoteIdent(r.name))
		}
	}
	if len(denied) > 0 {
		return job.Errorf(job.PermissionDenied, "the role may not read %d tables or sequences of %q, %s; run: %s", len(denied), in.database, some(denied), p.grants(all))
	}
	if len(hidden) > 0 {
		return job.Errorf(job.PermissionDenied, "row-level security would hide rows of %d tables of %q from the role, %s; run: ALTER ROLE %s BYPASSRLS;", len(hidden), in.database, some(hidden), p.role())
	}
	objects, err := in.unreadableLargeObjects()
	if err != nil || objects == 0 || len(p.config.Schemas) > 0 {
		return err
	}
	return job.Errorf(job.PermissionDenied, "the role may not read %d large objects of %q; run GRANT SELECT ON LARGE OBJECT ... TO %s; for each, in that database, or back up as their owner", objects, in.database, p.role())
}

// some names the first of a list.
func some(list []string) string {
	const shown = 5
	if len(list) <= shown {
		return strings.Join(list, ", ")
	}
	return strings.Join(list[:shown], ", ") + " and others"
}

// wanted reports whether a relation is to be dumped.
func (p *probing) wanted(r relation) bool {
	if len(p.config.Schemas) > 0 && !slices.Contains(p.config.Schemas, r.schema) {
		return false
	}
	return !slices.ContainsFunc(p.excludes, func(t tablePattern) bool { return t.matches(r.schema, r.name) })
}

// grants are the statements that let the role read.
func (p *probing) grants(relations []relation) string {
	if p.about.hasReadAll() {
		return fmt.Sprintf("GRANT pg_read_all_data TO %s;", p.role())
	}
	var list []string
	seen := map[string]bool{}
	for _, r := range relations {
		if r.readable || seen[r.schema] || !p.wanted(r) {
			continue
		}
		seen[r.schema] = true
		s := quoteIdent(r.schema)
		list = append(list, fmt.Sprintf("GRANT USAGE ON SCHEMA %[1]s TO %[2]s; GRANT SELECT ON ALL TABLES IN SCHEMA %[1]s TO %[2]s; GRANT SELECT ON ALL SEQUENCES IN SCHEMA %[1]s TO %[2]s;", s, p.role()))
	}
	return strings.Join(list, " ")
}
