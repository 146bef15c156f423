package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"xvault/internal/job"
)

// hasEngines fails where a table wants an engine that the server lacks: it would take
// another one without a word.
func (s *scratchServer) hasEngines(ctx context.Context, about *dumpAbout) error {
	rows, err := s.target.server.ask(ctx, "SELECT LOWER(ENGINE) FROM information_schema.ENGINES WHERE SUPPORT IN ('YES', 'DEFAULT')", maxNames)
	if err != nil {
		return s.broken(err)
	}
	var missing []string
	for engine := range about.engines {
		if !slices.ContainsFunc(rows, func(row []string) bool { return row[0] == engine }) {
			missing = append(missing, engine)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return job.Errorf(job.Unprovable, "it has tables of engines that the scratch server does not have, for it loads no plugins: %s", strings.Join(missing, ", "))
}

// compare counts what is in the server, and holds it against the dump.
func (s *scratchServer) compare(ctx context.Context, dump *dumped) error {
	// What is in others is not in a dump.
	elsewhere, err := s.target.server.ask(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = "+quoteText(dump.into)+
		" AND ENGINE IN ('MRG_MyISAM', 'FEDERATED', 'CONNECT', 'SPIDER')", maxNames)
	if err != nil {
		return s.broken(err)
	}
	var tables []job.DrillTable
	for _, name := range dump.about.tables {
		if slices.ContainsFunc(elsewhere, func(row []string) bool { return row[0] == name }) {
			continue
		}
		rows, err := s.target.server.ask(ctx, "SELECT COUNT(*) FROM "+quoteName(dump.into)+"."+quoteName(name), maxNames)
		if err != nil {
			return s.uncounted(ctx, name, err)
		}
		n, err := strconv.ParseInt(rows[0][0], 10, 64)
		if err != nil {
			return s.broken(err)
		}
		tables = append(tables, job.DrillTable{Name: name, Expected: dump.about.rows[name], Rows: n})
	}
	wrong := dump.result.Tally(tables)
	damaged, err := s.checkTables(ctx, dump, tables)
	if err != nil {
		return err
	}
	if wrong = append(wrong, damaged...); len(wrong) > 0 {
		return job.Errorf(job.DumpFailed, "what was loaded is not what the dump holds: %s", wrong[0])
	}
	return s.countOthers(ctx, dump)
}

// uncounted is the error of a table that cannot be counted.
func (s *scratchServer) uncounted(ctx context.Context, name string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e, ok := errors.AsType[*job.Error](serverError("counting", err))
	if ok && s.server.Ended() == nil && !e.Code.Retryable() {
		return &job.Error{Code: job.DumpFailed, Err: err, Message: fmt.Sprintf("the table %q cannot be counted after it was loaded: %s", name, e.Message)}
	}
	return s.broken(err)
}

// checkTables has the server check each table, with all of its indexes.
func (s *scratchServer) checkTables(ctx context.Context, dump *dumped, tables []job.DrillTable) (wrong []string, err error) {
	var checked int64
	for _, t := range tables {
		rows, err := s.target.server.ask(ctx, "CHECK TABLE "+quoteName(dump.into)+"."+quoteName(t.Name), maxNames)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			return nil, s.broken(err)
		}
		checked++
		for _, row := range rows { // table, operation, type of message, message
			if len(row) == 4 && strings.EqualFold(row[2], "error") {
				wrong = append(wrong, fmt.Sprintf("the server says of the table %q: %.300s", t.Name, row[3]))
			}
		}
	}
	if checked > 0 {
		dump.result.Checks = append(dump.result.Checks, job.DrillCheck{Name: "tables checked (CHECK TABLE)", Count: checked})
	}
	return wrong, nil
}

// countOthers tells what else was loaded.
func (s *scratchServer) countOthers(ctx context.Context, dump *dumped) error {
	schema := quoteText(dump.into)
	for _, what := range []struct{ name, from string }{
		{"views", "VIEWS WHERE TABLE_SCHEMA"}, {"triggers", "TRIGGERS WHERE TRIGGER_SCHEMA"},
		{"routines", "ROUTINES WHERE ROUTINE_SCHEMA"}, {"events", "EVENTS WHERE EVENT_SCHEMA"},
	} {
		rows, err := s.target.server.ask(ctx, "SELECT COUNT(*) FROM information_schema."+what.from+" = "+schema, maxNames)
		if err != nil {
			return s.broken(err)
		}
		n, err := strconv.ParseInt(rows[0][0], 10, 64)
		if err != nil {
			return s.broken(err)
		}
		if n > 0 {
			dump.result.Checks = append(dump.result.Checks, job.DrillCheck{Name: what.name, Count: n})
		}
	}
	return nil
}
