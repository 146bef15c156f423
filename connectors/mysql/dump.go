package mysql

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"

	"xvault/connectors"
	"xvault/connectors/dumptool"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// dump has one database dumped, and visited.
func (s *source) dump(ctx context.Context, srv *server, t tool, d *database, visit func(connectors.Item) error) error {
	if srv.remote != nil {
		running, err := srv.remote.dump(ctx, t, d)
		if err != nil {
			return err
		}
		return closing(s.visit(visit, srv, d, running), running.Close())
	}
	return s.dumpHere(ctx, srv, t, d, visit)
}

// dumpHere has the worker's own program do it.
func (s *source) dumpHere(ctx context.Context, srv *server, t tool, d *database, visit func(connectors.Item) error) (err error) {
	dir, err := s.tempDir()
	if err != nil {
		return err
	}
	relay, err := dumptool.NewRelay(ctx, dumptool.RelayConfig{Dir: dir, Open: s.relayOpen(s.mode(srv))})
	if err != nil {
		return err
	}
	defer func() { err = closing(err, relay.Close()) }()
	options, err := s.optionFile(relay, t.flavor, func(o *optionFile) { dumpOptions(o, d) })
	if err != nil {
		return err
	}
	defer func() { err = closing(err, options.Close()) }()
	running, err := dumptool.Start(ctx, dumptool.Command{
		Path: t.path, Args: s.dumpArgs(dumptool.FilePath(0), t.flavor, d), Files: []*os.File{options}, What: whatDump(d),
		Secrets: []secret.Text{s.env.Credential.Password}, Check: dumptool.Trailer(trailerBytes, wholeDump),
		Relay: relay, Patience: s.options.Patience, Explain: explain,
	})
	if err != nil {
		return err
	}
	defer func() { err = closing(err, running.Close()) }()
	return s.visit(visit, srv, d, running)
}

func whatDump(d *database) string { return fmt.Sprintf("the dump of database %q", d.name) }

func (s *source) visit(visit func(connectors.Item) error, srv *server, d *database, dump io.Reader) error {
	return visit(connectors.Item{
		Header: entry.Header{Path: member(d.name), Kind: entry.File, Size: entry.SizeUnknown, Mode: 0o600, ModTime: s.options.Now()},
		Body:   body(d, srv.flavor, dump),
	})
}

// closing keeps the first error: what ends after it says less.
func closing(first, then error) error {
	if first != nil {
		return first
	}
	return then
}

// tempDir is the job's own folder.
func (r *reach) tempDir() (string, error) {
	if r.env.TempDir == nil {
		return "", job.Errorf(job.Internal, "there is no folder for the dump program's socket")
	}
	return r.env.TempDir()
}

// dumpOptions are what stands in the file rather than on the command line, for its
// length.
func dumpOptions(o *optionFile, d *database) {
	o.set("max-allowed-packet", "1G")
	for _, name := range d.ignored {
		o.set("ignore-table", d.name+"."+name)
	}
}

// dumpArgs is the command line, which anybody on the machine can read. options names
// the file that holds what nobody else may.
func (r *reach) dumpArgs(options string, of flavor, d *database) []string {
	args := []string{
		"--defaults-file=" + options, // has to be the first
		"--single-transaction", "--quick", "--hex-blob", "--triggers", "--comments", "--default-character-set=utf8mb4", "--no-tablespaces",
		// While one table is locked, a sequence that a column's default takes from cannot be read.
		"--skip-add-locks",
	}
	if r.whole() {
		args = append(args, "--events")
		if r.config.Routines {
			args = append(args, "--routines")
		}
	}
	if of == oracle {
		// What makes a dump for a replica, and statistics that older servers lack. "loose", for so do older programs.
		args = append(args, "--set-gtid-purged=OFF", "--loose-column-statistics=0")
	}
	args = append(args, "--", d.name)
	return append(args, d.chosen...)
}

// trailerBytes is enough for the last line of a dump.
const trailerBytes = 200

var lastLine = regexp.MustCompile(`^-- Dump completed( on [0-9: -]+)?$`)

// wholeDump looks at the end of a dump: the programs end it with a line that says
// that it is complete, and with nothing after that.
func wholeDump(end []byte) error {
	last := bytes.TrimRight(end, "\n")
	if len(end)-len(last) == 1 {
		if i := bytes.LastIndexByte(last, '\n'); lastLine.Match(last[i+1:]) {
			return nil
		}
	}
	return errors.New("its last line does not say that the dump is complete, so the end of it is missing")
}

// headerPrefix begins the first line of what is stored, which says what a database
// that the dump is loaded into should be made with.
const headerPrefix = "-- xVault: database "

// body is what is stored: that line, and the dump.
func body(d *database, of flavor, dump io.Reader) io.Reader {
	line := headerPrefix + strconv.Quote(d.name) + " CHARACTER SET " + d.charset + " COLLATE " + d.collation + "\n"
	if of == oracle {
		dump = &withoutSandbox{r: bufio.NewReader(dump)}
	}
	return io.MultiReader(bytes.NewReader([]byte(line)), dump)
}

// sandboxLine is with what MariaDB's programs begin a dump, so that their client
// obeys no commands in it. MySQL's client takes it for a command that it does not
// know.
const sandboxLine = `/*M!999999\- enable the sandbox mode */`

// withoutSandbox leaves that line out.
type withoutSandbox struct {
	r      *bufio.Reader
	looked bool
}

func (w *withoutSandbox) Read(p []byte) (int, error) {
	if !w.looked {
		w.looked = true
		// A dump that is shorter, or an error, shows with the next read.
		if begin, _ := w.r.Peek(len(sandboxLine)); string(begin) == sandboxLine {
			if _, err := w.r.ReadString('\n'); err != nil {
				return 0, err
			}
		}
	}
	return w.r.Read(p)
}
