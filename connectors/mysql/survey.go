package mysql

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"xvault/connectors"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
)

// database is one that is to be dumped.
type database struct {
	name               string
	charset, collation string // what new tables get where they do not say
	tables             []table
	chosen             []string // if the configuration names tables
	ignored            []string
	err                *job.Error // it cannot be dumped
}

// table is one, or a view, or a sequence.
type table struct {
	name, kind, engine string
}

func (t table) isView() bool { return strings.Contains(t.kind, "VIEW") }

// transactional reports whether the dump shows it as of the moment at which it
// began.
func (t table) transactional() bool {
	switch strings.ToUpper(t.engine) {
	case "", "INNODB", "ROCKSDB", "TOKUDB", "MYROCKS", "NDBCLUSTER", "SEQUENCE":
		return true
	}
	return t.isView()
}

// survey is what is to be dumped, and what to know about it.
type survey struct {
	databases []*database
	warnings  []string
	gaps      []string // what is not in the backup, or not as of one moment with the rest
}

// missing joins what keeps databases from being dumped; nil: nothing does.
func (s *survey) missing() error {
	var first *job.Error
	n := 0
	for _, d := range s.databases {
		if d.err == nil {
			continue
		}
		if n++; first == nil {
			first = d.err
		}
	}
	switch {
	case first == nil:
		return nil
	case n > 1:
		return &job.Error{Code: first.Code, Err: first, Message: fmt.Sprintf("%s (and %d more databases cannot be dumped; a probe of the source names them)", first.Message, n-1)}
	default:
		return first
	}
}

// look surveys the server: which databases and tables there are, and whether the
// account sees all of them.
func (r *reach) look(ctx context.Context, s *server) (*survey, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.options.Patience,
		job.Errorf(job.Timeout, "the server did not tell of its databases within %v", r.options.Patience))
	defer cancel()
	g, err := s.readGrants(ctx)
	if err != nil {
		return nil, r.lookError(ctx, err)
	}
	all, err := s.schemas(ctx)
	if err != nil {
		return nil, r.lookError(ctx, err)
	}
	found := &survey{}
	if err := r.choose(found, all, g); err != nil {
		return nil, err
	}
	for _, d := range found.databases {
		if d.err != nil {
			continue
		}
		if d.tables, err = s.tables(ctx, d.name); err != nil {
			return nil, r.lookError(ctx, err)
		}
		r.pick(d)
		if d.err == nil {
			d.err = r.lacking(s.version, g, d)
		}
	}
	r.dropUnchosen(found, g)
	if err := r.checkTables(found); err != nil {
		return nil, err
	}
	found.warn(r, s, g)
	return found, nil
}

func (*reach) lookError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return serverError("looking at the databases", err)
}

func (s *server) schemas(ctx context.Context) ([]*database, error) {
	rows, err := s.ask(ctx, "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA", maxNames)
	if err != nil {
		return nil, err
	}
	all := make([]*database, len(rows))
	for i, row := range rows {
		if len(row) != 3 {
			return nil, errShape
		}
		all[i] = &database{name: row[0], charset: row[1], collation: row[2]}
	}
	return all, nil
}

func (s *server) tables(ctx context.Context, database string) ([]table, error) {
	rows, err := s.ask(ctx, "SELECT TABLE_NAME, IFNULL(TABLE_TYPE, ''), IFNULL(ENGINE, '') FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+literal(database), maxNames)
	if err != nil {
		return nil, err
	}
	all := make([]table, len(rows))
	for i, row := range rows {
		if len(row) != 3 {
			return nil, errShape
		}
		all[i] = table{name: row[0], kind: row[1], engine: row[2]}
	}
	return all, nil
}

var errShape = job.Errorf(job.DumpFailed, "the server answers a question about its databases with other columns than were asked for")

// choose takes the databases that the configuration means, in the order of the
// archive.
func (r *reach) choose(found *survey, all []*database, g *grants) error {
	if r.config.Databases[0] == everything {
		for _, d := range all {
			if !isSystem(d.name) {
				found.databases = append(found.databases, d)
			}
		}
		if len(found.databases) == 0 {
			return job.Errorf(job.PathNotFound, `databases is "*", and the account %s sees no database but the system's own. Make one, or let it see them: GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW DATABASES ON *.* TO %s`, g.account, g.account)
		}
		if !g.may("SHOW DATABASES", "*") && !g.may("SELECT", "*") {
			found.gaps = append(found.gaps, fmt.Sprintf(`databases is "*", and the account may not see all: only those are backed up that it was given (%d). To have all: GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, SHOW DATABASES ON *.* TO %s`, len(found.databases), g.account))
		}
	} else {
		for _, name := range r.config.Databases {
			found.databases = append(found.databases, named(all, name, g))
		}
	}
	slices.SortFunc(found.databases, func(a, b *database) int { return cmp.Compare(member(a.name), member(b.name)) })
	return nil
}

// named finds one database.
func named(all []*database, name string, g *grants) *database {
	for _, d := range all {
		if d.name == name {
			return d
		}
	}
	hint := ""
	for _, d := range all {
		if strings.EqualFold(d.name, name) {
			hint = fmt.Sprintf(" There is one called %q: write it so.", d.name)
		}
	}
	return &database{name: name, err: job.Errorf(job.PathNotFound, "the database %q is not there, or the account may not see it.%s Check the name, or run: GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON %s.* TO %s", name, hint, quotePattern(name), g.account)}
}

// means reports whether a configured name of a table means one.
func means(list []string, database, table string) bool {
	return slices.Contains(list, table) || slices.Contains(list, database+"."+table)
}

// pick settles which tables of a database are dumped.
func (r *reach) pick(d *database) {
	kept := d.tables[:0:0]
	for _, t := range d.tables {
		switch {
		case means(r.config.ExcludeTables, d.name, t.name):
			d.ignored = append(d.ignored, t.name)
		case len(r.config.Tables) == 0:
			kept = append(kept, t)
		case means(r.config.Tables, d.name, t.name):
			d.chosen = append(d.chosen, t.name)
			kept = append(kept, t)
		}
	}
	d.tables = kept
	if len(r.config.Tables) > 0 && len(kept) == 0 && r.config.Databases[0] != everything {
		d.err = job.Errorf(job.PathNotFound, "the database %q has none of the tables that the configuration names; correct tables, or leave the database out", d.name)
	}
}

// dropUnchosen leaves out, of all databases, those with none of the named tables.
func (r *reach) dropUnchosen(found *survey, g *grants) {
	if len(r.config.Tables) == 0 || r.config.Databases[0] != everything {
		return
	}
	var hiding []string
	found.databases = slices.DeleteFunc(found.databases, func(d *database) bool {
		if len(d.chosen) == 0 && !g.may("SELECT", d.name) && len(r.meant(d.name)) > 0 {
			hiding = append(hiding, d.name)
		}
		return len(d.chosen) == 0
	})
	if len(hiding) > 0 {
		found.gaps = append(found.gaps, "databases are left out in which none of the named tables is seen, and of which the account may not see all: "+list(hiding))
	}
}

// checkTables: each table that is named must be somewhere.
func (r *reach) checkTables(found *survey) error {
	for _, name := range r.config.Tables {
		if !slices.ContainsFunc(found.databases, func(d *database) bool {
			return slices.ContainsFunc(d.tables, func(t table) bool { return means([]string{name}, d.name, t.name) })
		}) && found.missing() == nil {
			return job.Errorf(job.PathNotFound, "the table %q is not there, or the account may not see it; correct tables, or grant SELECT on it", name)
		}
	}
	for _, name := range r.config.ExcludeTables {
		if !slices.ContainsFunc(found.databases, func(d *database) bool {
			return slices.ContainsFunc(d.ignored, func(t string) bool { return means([]string{name}, d.name, t) })
		}) {
			found.warnings = append(found.warnings, fmt.Sprintf("exclude_tables names %q, and there is no such table", name))
		}
	}
	return nil
}

// member is the name of a database's dump in the archive.
func member(database string) string { return "mysql/" + connectors.EncodeName(database) + ".sql" }

// maxShown bounds how many names one message lists.
const maxShown = 10

// warn tells of what works but may not be what was meant.
func (s *survey) warn(r *reach, srv *server, g *grants) {
	if !srv.secure && r.config.SSH == nil {
		s.warnings = append(s.warnings, "the connection is not encrypted: whoever is on the line can read along. Turn TLS on at the server, or go through ssh")
	} else if srv.secure && !r.config.TLS.verifies() && r.config.SSH == nil {
		s.warnings = append(s.warnings, "the server's certificate is not checked: whoever is in between could read along. Give the authority that signed it as ca_pem, with tls verify_identity")
	}
	var loose, versioned []string
	for _, d := range s.databases {
		for _, t := range d.tables {
			if !t.transactional() {
				loose = append(loose, d.name+"."+t.name+" ("+t.engine+")")
			}
			if t.kind == "SYSTEM VERSIONED" {
				versioned = append(versioned, d.name+"."+t.name)
			}
		}
	}
	if len(loose) > 0 {
		s.gaps = append(s.gaps, "tables without transactions are dumped as they are when their turn comes, not as of one moment with the others; convert them to InnoDB where that matters: "+list(loose))
	}
	if len(versioned) > 0 {
		s.gaps = append(s.gaps, "of system-versioned tables the rows of today are in the dump, not those of the past: "+list(versioned))
	}
	if writes := g.writes(); len(writes) > 0 {
		s.warnings = append(s.warnings, "the account could change or delete data ("+strings.Join(writes, ", ")+"); an account for backups alone needs SELECT, SHOW VIEW, TRIGGER and EVENT")
	}
}

// list joins names for a message, the first few.
func list(names []string) string {
	more := ""
	if n := len(names) - maxShown; n > 0 {
		names, more = names[:maxShown], fmt.Sprintf(" and %d more", n)
	}
	escaped := make([]string, len(names))
	for i, name := range names {
		escaped[i] = sshconn.Escape(name, 140)
	}
	return strings.Join(escaped, ", ") + more
}
