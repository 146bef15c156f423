package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
)

// extend makes the extensions that a dump wants, before anything of it is loaded: only
// a superuser may. Those that are not installed are named, all of them.
func (s *scratchServer) extend(ctx context.Context, dump *dumped, database string) error {
	if len(dump.about.extensions) == 0 {
		return nil
	}
	in, err := s.asAdmin(ctx, database)
	if err != nil {
		return err
	}
	defer in.close()
	rows, err := in.ask("SELECT name FROM pg_catalog.pg_available_extensions")
	if err != nil {
		return s.broken(err)
	}
	installed := map[string]bool{}
	for _, row := range rows {
		installed[row[0]] = true
	}
	var missing []string
	for _, e := range dump.about.extensions {
		if !installed[e.name] {
			missing = append(missing, fmt.Sprintf("%q", e.name))
		}
	}
	if len(missing) > 0 {
		return job.Errorf(job.Unprovable, "the scratch server (PostgreSQL %d) lacks extensions that it uses: %s. Install their packages on the worker.",
			s.client.major, strings.Join(missing[:min(len(missing), 20)], ", "))
	}
	for _, e := range dump.about.extensions {
		if err := s.makeExtension(in, e); err != nil {
			return err
		}
	}
	return s.noteExtensions(in, dump)
}

// noteExtensions keeps what was made, and what is in it already: of an extension's own
// tables a dump has only those rows that the extension does not bring along.
func (s *scratchServer) noteExtensions(in *inspector, dump *dumped) error {
	made, err := in.ask("SELECT extname, extversion FROM pg_catalog.pg_extension WHERE extname <> 'plpgsql' ORDER BY extname")
	if err != nil {
		return s.broken(err)
	}
	for _, row := range made {
		dump.made = append(dump.made, fmt.Sprintf("%q %.50s", row[0], row[1]))
	}
	tables, err := in.ask(`SELECT DISTINCT nspname, relname FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_class c ON c.oid = ANY (e.extconfig)
		JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'r'`)
	if err != nil {
		return s.broken(err)
	}
	dump.brought = map[tableName]int64{}
	for _, row := range tables {
		name := tableName{row[0], row[1]}
		if dump.brought[name], err = in.number("SELECT count(*) FROM ONLY " + name.quoted()); err != nil {
			return s.broken(err)
		}
	}
	return nil
}

func (s *scratchServer) makeExtension(in *inspector, e extension) error {
	schema := quoteIdent(e.schema)
	statements := []string{
		"CREATE SCHEMA IF NOT EXISTS " + schema + " AUTHORIZATION " + loader,
		"CREATE EXTENSION IF NOT EXISTS " + quoteIdent(e.name) + " WITH SCHEMA " + schema + " CASCADE",
		// Tables of an extension may have rows in a dump.
		"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA " + schema + " TO " + loader,
		"GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA " + schema + " TO " + loader,
	}
	if e.schema == "pg_catalog" {
		statements = statements[1:2]
	}
	for _, sql := range statements {
		if _, err := in.ask(sql); err != nil {
			return &job.Error{Code: job.Unprovable, Err: err, Message: fmt.Sprintf("the scratch server cannot make the extension %q: %.500s", e.name, err)}
		}
	}
	return nil
}

// listFile is what is to be loaded of a dump, for pg_restore: all but what extend has
// made already. Nil: everything.
func (d *drill) listFile(ctx context.Context, dump *dumped) (*os.File, error) {
	if len(dump.about.extensions) == 0 {
		return nil, nil //nolint:nilnil // there is nothing to leave out
	}
	var list []byte
	err := d.env.Visit(ctx, []string{dump.member}, d.only(dump, func(body io.Reader) error {
		run, err := dumptool.Start(ctx, dumptool.Command{
			Path: d.server.client.program("pg_restore"), Args: []string{"--list"},
			What: fmt.Sprintf("listing what is in the dump of database %q", dump.name), Stdin: body, Early: true, Explain: explainReading,
		})
		if err != nil {
			return err
		}
		list, err = io.ReadAll(io.LimitReader(run, maxList+1))
		return closed(err, run.Close())
	}))
	if err != nil {
		return nil, judged(err)
	}
	if len(list) > maxList {
		return nil, job.Errorf(job.Unprovable, "what is in it is too long a list for a drill")
	}
	return dumptool.Secret(withoutMade(list, dump.about.extensions))
}

// withoutMade leaves out of a list the extensions, what is said of them, and the
// schemas that were made for them.
func withoutMade(list []byte, extensions []extension) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(list) {
		_, what, _ := bytes.Cut(line, []byte("; "))
		fields := strings.SplitN(string(what), " ", 3) // two numbers
		if len(fields) == 3 && made(fields[2], extensions) {
			continue
		}
		out.Write(line)
	}
	return out.Bytes()
}

func made(what string, extensions []extension) bool {
	if strings.HasPrefix(what, "EXTENSION - ") || strings.HasPrefix(what, "COMMENT - EXTENSION ") {
		return true
	}
	name, ok := strings.CutPrefix(what, "SCHEMA - ")
	return ok && slices.ContainsFunc(extensions, func(e extension) bool { return strings.HasPrefix(name, e.schema+" ") })
}

// judged keeps from a dump what is not its fault: that a program did not start, or was
// killed, proves nothing.
func judged(err error) error {
	e := asJobError(err)
	if e == nil || !e.Code.Disproves() || dumptool.Failed(err) {
		return err
	}
	return &job.Error{Code: job.Unprovable, Err: err, Message: "nothing can be said about it: " + e.Message}
}

// asJobError gives err's error with a code; nil where it has none.
func asJobError(err error) *job.Error {
	e, _ := errors.AsType[*job.Error](err)
	return e
}
