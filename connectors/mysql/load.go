package mysql

import (
	"context"
	"fmt"
	"io"
	"os"

	"xvault/connectors/dumptool"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// # Loading a dump
//
// A dump is not trusted: whoever had the server at the time could have put anything
// into it. The client is a shell of its own, with commands that run programs, read
// and write files, and start an editor. So it is run in binary mode, in which it
// takes from a pipe nothing but SQL and DELIMITER, in its sandbox, which refuses the
// commands that touch the worker all the same, with an editor that does nothing, and
// without the ability to send files to the server. Only MariaDB's client has the
// sandbox, so another is not used.
//
// What SQL can do to the server, a dump can do: as the source's account, no more.

// clientPrograms is under which names the client is installed.
var clientPrograms = []string{"mariadb", "mysql"}

// findClient takes the newest client that has a sandbox.
func (r *reach) findClient(ctx context.Context) (tool, error) {
	tools, err := findTools(ctx, r.options.Folders, clientPrograms)
	if err != nil {
		return tool{}, err
	}
	var best tool
	for _, t := range tools {
		if t.flavor != mariaDB || best.path != "" && !newer(t.version, best.version) {
			continue
		}
		// An option that it does not know ends it with an error.
		_, err := dumptool.Run(ctx, dumptool.Command{Path: t.path, Args: []string{"--no-defaults", "--sandbox", "--binary-mode", "--version"}, What: "asking for the sandbox"})
		if ctx.Err() != nil {
			return tool{}, context.Cause(ctx)
		}
		if err == nil {
			best = t
		}
	}
	if best.path == "" {
		return tool{}, job.Errorf(job.ConfigInvalid, "the worker has no client that can load a dump safely: install mariadb-client there, 10.5.25, 10.6.18, 10.11.8, 11.4.2 or later, whose client has --sandbox; or download the dump and load it by hand")
	}
	return best, nil
}

// load has the client load a dump into a database.
func (t *target) load(ctx context.Context, database string, content io.Reader) (err error) {
	dir, err := t.tempDir()
	if err != nil {
		return err
	}
	relay, err := dumptool.NewRelay(ctx, dumptool.RelayConfig{Dir: dir, Open: t.relayOpen(t.mode(t.server))})
	if err != nil {
		return err
	}
	defer func() { err = closing(err, relay.Close()) }()
	options, err := t.optionFile(relay, t.client.flavor, func(o *optionFile) {
		o.set("max-allowed-packet", "1G")
		o.set("local-infile", "0")
		o.set("loose-print-query-on-error", "0") // data does not belong into an error
		o.set("database", database)
	})
	if err != nil {
		return err
	}
	defer func() { err = closing(err, options.Close()) }()
	explain := t.explain
	if explain == nil {
		explain = explainLoad
	}
	_, err = dumptool.Run(ctx, dumptool.Command{
		Path: t.client.path, Args: loadArgs(), Env: []string{"EDITOR=/bin/false", "VISUAL=/bin/false", "PAGER=/bin/false"},
		Files: []*os.File{options}, What: fmt.Sprintf("loading the dump into database %q", database),
		Stdin: &fenced{content, t.allowed}, Secrets: []secret.Text{t.env.Credential.Password},
		Relay: relay, Patience: t.options.Patience, Explain: explain,
	})
	return err
}

// loadArgs is the command line. The database stands in the option file, for its
// name may begin with anything. Comments belong to what people wrote, and where the client
// leaves them out it takes their end for that of the statement around a trigger.
func loadArgs() []string {
	return []string{
		"--defaults-file=" + dumptool.FilePath(0), // has to be the first
		"--sandbox", "--binary-mode", "--batch", "--no-auto-rehash", "--skip-reconnect", "--comments", "--default-character-set=utf8mb4",
	}
}

// explainLoad is explain for a load, where a missing privilege has another remedy.
func explainLoad(f dumptool.Failure) *job.Error {
	e := explain(f)
	if e != nil && e.Code == job.SourceChanged {
		e.Code = job.DumpFailed
	}
	if e != nil && e.Code == job.PermissionDenied {
		e.Message += " To load a dump the account needs ALL on the database, and SET USER on *.* (MariaDB; MySQL: SET_USER_ID) where views, triggers or routines belong to others."
	}
	return e
}

// fenced asks before each piece whether it may still be written.
type fenced struct {
	r       io.Reader
	allowed func() error
}

func (f *fenced) Read(p []byte) (int, error) {
	if err := f.allowed(); err != nil {
		return 0, err
	}
	return f.r.Read(p)
}
