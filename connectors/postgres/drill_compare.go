package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"xvault/internal/job"
)

// compare counts what is in the server, and holds it against the dump. It asks as the
// role that owns everything, for what a dump holds may run when it is asked for.
func (s *scratchServer) compare(ctx context.Context, dump *dumped, database string, rows *copied) error {
	in, err := s.loader.inspect(ctx, database, drillPatience)
	if err != nil {
		return s.broken(err)
	}
	defer in.close()
	tables, err := s.counted(ctx, in, rows, dump.brought)
	if err != nil {
		return err
	}
	wrong := dump.result.Tally(tables)
	if err := s.checks(in, dump, rows, &wrong); err != nil {
		return err
	}
	if len(wrong) > 0 {
		return job.Errorf(job.DumpFailed, "what was loaded is not what the dump holds: %s", wrong[0])
	}
	return nil
}

// counted gives each table's rows, in the dump and in the server, without those that an
// extension brought there. A partitioned table
// has rows in a dump where they are loaded through it; they are in its partitions then,
// beside those that have a COPY of their own.
func (s *scratchServer) counted(ctx context.Context, in *inspector, rows *copied, brought map[tableName]int64) ([]job.DrillTable, error) {
	partitioned, err := in.partitioned()
	if err != nil {
		return nil, s.broken(err)
	}
	found := map[tableName]int64{}
	for _, name := range rows.order {
		only := "ONLY "
		if partitioned[name] {
			only = ""
		}
		n, err := in.number("SELECT count(*) FROM " + only + name.quoted())
		if err != nil {
			return nil, s.uncounted(ctx, name, err)
		}
		found[name] = n - brought[name]
	}
	var tables []job.DrillTable
	for _, name := range rows.order {
		n := found[name]
		if partitioned[name] {
			leaves, err := in.leaves(name)
			if err != nil {
				return nil, s.broken(err)
			}
			for _, leaf := range leaves {
				n -= found[leaf]
			}
		}
		tables = append(tables, job.DrillTable{Name: name.schema + "." + name.table, Expected: rows.rows[name], Rows: n})
	}
	return tables, nil
}

// lacking reports whether an error is of the server's means, its end, or its machine, and
// not of what it was asked.
func lacking(sqlstate string) bool {
	return strings.HasPrefix(sqlstate, "53") || strings.HasPrefix(sqlstate, "57P") || strings.HasPrefix(sqlstate, "58")
}

// uncounted is the error of a table that cannot be counted.
func (s *scratchServer) uncounted(ctx context.Context, name tableName, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	said, _ := errors.AsType[*pgconn.PgError](err)
	if said != nil && !lacking(said.Code) && job.CodeOf(err) == job.DumpFailed && s.server.Ended() == nil {
		return &job.Error{Code: job.DumpFailed, Err: err, Message: fmt.Sprintf("the table %q cannot be counted after it was loaded: %.300s", name.schema+"."+name.table, err)}
	}
	return s.broken(err)
}

// checks looks at what else has to be sound.
func (s *scratchServer) checks(in *inspector, dump *dumped, rows *copied, wrong *[]string) error {
	const ours = ` NOT LIKE 'pg\_%' AND nspname <> 'information_schema'`
	for _, check := range []struct{ name, sql string }{
		{"indexes", `SELECT count(*) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE nspname` + ours},
		{"constraints", `SELECT count(*) FROM pg_catalog.pg_constraint c JOIN pg_catalog.pg_namespace n ON n.oid = c.connamespace WHERE nspname` + ours},
		{"large objects", `SELECT count(*) FROM pg_catalog.pg_largeobject_metadata`},
	} {
		n, err := in.number(check.sql)
		if err != nil {
			return s.broken(err)
		}
		if n > 0 {
			dump.result.Checks = append(dump.result.Checks, job.DrillCheck{Name: check.name, Count: n})
		}
		if check.name == "large objects" && n != rows.objects {
			*wrong = append(*wrong, fmt.Sprintf("there are %d large objects, and %d are in the dump", n, rows.objects))
		}
	}
	invalid, err := in.number(`SELECT count(*) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE c.relkind = 'i' AND NOT (i.indisvalid AND i.indisready)`)
	if err != nil {
		return s.broken(err)
	}
	if invalid > 0 {
		*wrong = append(*wrong, fmt.Sprintf("%d indexes are not valid", invalid))
	}
	return nil
}

// number asks for one.
func (in *inspector) number(sql string) (int64, error) {
	row, err := in.one(1, sql)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(row[0], 10, 64)
}

// partitioned are the tables whose rows are in others.
func (in *inspector) partitioned() (map[tableName]bool, error) {
	rows, err := in.ask(`SELECT nspname, relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE relkind = 'p'`)
	names := map[tableName]bool{}
	for _, row := range rows {
		names[tableName{row[0], row[1]}] = true
	}
	return names, err
}

// leaves are the tables that hold a partitioned one's rows.
func (in *inspector) leaves(of tableName) ([]tableName, error) {
	rows, err := in.ask(`SELECT nspname, relname FROM pg_catalog.pg_partition_tree($1::pg_catalog.regclass) t
		JOIN pg_catalog.pg_class c ON c.oid = t.relid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE t.isleaf`, of.quoted())
	var names []tableName
	for _, row := range rows {
		names = append(names, tableName{row[0], row[1]})
	}
	return names, err
}

func (n tableName) quoted() string { return quoteIdent(n.schema) + "." + quoteIdent(n.table) }
