package postgres

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// archiveAbout is what a dump says of itself, before its rows.
type archiveAbout struct {
	server     int // major version of the server that it is of
	encoding   string
	collate    string
	ctype      string
	extensions []extension
}

// extension is one that the dump wants to be there.
type extension struct{ name, schema string }

// What is taken of a dump at most: of roles and extensions, and of a list in bytes.
const (
	maxNames = 10_000
	maxList  = 64 << 20
)

// plan looks at all dumps, before there is a server.
func (d *drill) plan(ctx context.Context) error {
	reader, err := d.newestClient(ctx)
	if err != nil {
		return err
	}
	return d.env.Visit(ctx, []string{strings.TrimSuffix(folder, "/")}, func(item connectors.TargetItem) error {
		switch {
		case item.Kind != entry.File || item.Body == nil:
			return nil
		case item.Path == globalsName:
			var err error
			d.roles, err = rolesIn(item.Body)
			return err
		}
		return d.planDump(ctx, reader, item)
	})
}

func (d *drill) planDump(ctx context.Context, reader client, item connectors.TargetItem) error {
	dump := &dumped{member: item.Path, name: item.Path}
	d.dumps = append(d.dumps, dump)
	d.largest = max(d.largest, item.Size)
	name, err := restorable(item.Path)
	if err == nil {
		dump.name = name
		err = judged(d.look(ctx, reader, dump, item.Body))
	} else {
		err = job.Errorf(job.Unprovable, "%s", notLoadable(item.Path))
	}
	dump.result.Name = dump.name
	if e := asJobError(err); e != nil && ctx.Err() == nil && (e.Code.Disproves() || e.Code == job.Unprovable) {
		dump.fail(e)
		return nil
	}
	return err
}

func notLoadable(member string) string {
	if strings.HasSuffix(member, ".sql") {
		return fmt.Sprintf("%q is a dump as SQL, which only psql can load, and psql would also run commands on the worker that the dump names. Have the source make dumps with format custom, whose snapshots can be drilled.", member)
	}
	return fmt.Sprintf("%q is no dump of a PostgreSQL database", member)
}

// look reads what a dump says of itself: it runs through what defines it as SQL.
func (d *drill) look(ctx context.Context, reader client, dump *dumped, body io.Reader) error {
	run, err := dumptool.Start(ctx, dumptool.Command{
		Path: reader.program("pg_restore"), Args: []string{"--create", "--section=pre-data", "--file=-"},
		What: fmt.Sprintf("reading what the dump of database %q is of", dump.name), Stdin: body, Early: true, Explain: explainReading,
	})
	if err != nil {
		return err
	}
	err = dump.about.read(run)
	if err = closed(err, run.Close()); err != nil {
		return err
	}
	if dump.about.server == 0 {
		return job.Errorf(job.Unprovable, "the dump does not say of which version of PostgreSQL it is")
	}
	return nil
}

func closed(first, then error) error {
	if first != nil {
		return first
	}
	return then
}

var (
	fromVersion   = regexp.MustCompile(`^-- Dumped from database version (\d+)`)
	createLine    = regexp.MustCompile(`^CREATE DATABASE .* ENCODING = '([A-Za-z0-9_-]+)'`)
	localeWord    = regexp.MustCompile(` (LOCALE|LC_COLLATE|LC_CTYPE) = '([^']*)'`)
	extensionLine = regexp.MustCompile(`^CREATE EXTENSION IF NOT EXISTS ("(?:[^"]|"")+"|[^" ]+) WITH SCHEMA ("(?:[^"]|"")+"|[^" ]+);$`)
	roleLine      = regexp.MustCompile(`^CREATE ROLE ("(?:[^"]|"")+"|[^" ]+);$`)
)

// maxLine is more than any line that is looked at has, in bytes.
const maxLine = 16 << 10

// read takes what it looks for out of SQL as pg_restore writes it, and reads it to its
// end.
func (a *archiveAbout) read(sql io.Reader) error {
	kind := "" // of what comes, by the comment above it
	return eachLine(sql, func(line string) {
		switch m := fromVersion.FindStringSubmatch(line); {
		case m != nil && a.server == 0:
			a.server, _ = strconv.Atoi(m[1]) // digits; too many of them are no version
		case strings.HasPrefix(line, "-- Name: "):
			kind = line
		case a.encoding == "" && strings.Contains(kind, "; Type: DATABASE; "):
			a.database(line)
		case strings.Contains(kind, "; Type: EXTENSION; ") && len(a.extensions) < maxNames:
			if m := extensionLine.FindStringSubmatch(line); m != nil {
				a.extensions = append(a.extensions, extension{unquoteIdent(m[1]), unquoteIdent(m[2])})
			}
		}
	})
}

// database reads how the database was made.
func (a *archiveAbout) database(line string) {
	m := createLine.FindStringSubmatch(line)
	if m == nil {
		return
	}
	a.encoding = m[1]
	for _, m := range localeWord.FindAllStringSubmatch(line, -1) {
		switch m[1] {
		case "LOCALE":
			a.collate, a.ctype = m[2], m[2]
		case "LC_COLLATE":
			a.collate = m[2]
		default:
			a.ctype = m[2]
		}
	}
}

// eachLine visits lines without their ends; of long ones the beginning.
func eachLine(text io.Reader, visit func(string)) error {
	r := bufio.NewReaderSize(text, maxLine)
	for begin := true; ; {
		piece, err := r.ReadSlice('\n')
		if begin && len(piece) > 0 {
			visit(strings.TrimRight(string(piece), "\r\n"))
		}
		begin = err == nil
		switch {
		case err == nil, errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
	}
}

// rolesIn are the roles that a dump of globals makes.
func rolesIn(globals io.Reader) ([]string, error) {
	var roles []string
	err := eachLine(globals, func(line string) {
		if m := roleLine.FindStringSubmatch(line); m != nil && len(roles) < maxNames {
			roles = append(roles, unquoteIdent(m[1]))
		}
	})
	return roles, err
}

// unquoteIdent gives the name that SQL means.
func unquoteIdent(word string) string {
	if inner, ok := strings.CutPrefix(word, `"`); ok {
		return strings.ReplaceAll(strings.TrimSuffix(inner, `"`), `""`, `"`)
	}
	return word
}

// newestClient reads dumps of all versions that were made here.
func (d *drill) newestClient(ctx context.Context) (client, error) {
	found, err := findClients(ctx, d.options.ClientFolders)
	if err != nil {
		return client{}, err
	}
	if len(found) == 0 {
		return client{}, job.Errorf(job.Unprovable, "This worker has none of PostgreSQL's programs; install postgresql (server and client) on it, for restore drills.")
	}
	return found[len(found)-1], nil
}

// chooseServer takes the oldest server that is installed and not older than what was
// dumped.
func (d *drill) chooseServer(ctx context.Context) (client, error) {
	wanted := 0
	for _, dump := range d.dumps {
		wanted = max(wanted, dump.about.server)
	}
	found, err := dumptool.Find(ctx, "initdb", d.options.ClientFolders...)
	if err != nil {
		return client{}, err
	}
	clients, err := findClients(ctx, d.options.ClientFolders)
	if err != nil {
		return client{}, err
	}
	newest := 0
	for _, c := range clients {
		if !slices.ContainsFunc(found, func(p dumptool.Program) bool { return p.Path == c.program("initdb") }) {
			continue
		}
		if newest = c.major; c.major >= wanted {
			return c, nil
		}
	}
	has := "this worker has no PostgreSQL server"
	if newest > 0 {
		has = fmt.Sprintf("this worker's newest PostgreSQL server is %d", newest)
	}
	return client{}, job.Errorf(job.Unprovable, "The snapshot is of PostgreSQL %d, and %s: install postgresql-%d (or later) on it, for restore drills. The server need not run.", wanted, has, wanted)
}
