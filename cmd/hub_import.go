package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xvault/hub/rebuild"
	"xvault/store/catalog"
)

const hubImportHelp = `Takes what stands on a worker's storage into the catalog, after the catalog was
lost or was restored from an older backup: tenants, their keys, sources and
snapshots, under the ids that they had. It runs beside the hub, with the hub's
DATABASE_URL and HUB_ENCRYPTION_KEK.

The worker must be registered with the new hub and run: start it with the hub's
address and WORKER_JOIN_TOKEN. It tells what is on its storage within seconds;
the backups themselves stay where they are.

--identity gives a tenant's recovery kit, as "xvault tenant export-key" wrote it, or
a folder of them. Without the kit of a tenant its snapshots are taken in all the
same, but cannot be restored through the hub until its kit is given: run this
again with it, at any time. "xvault snapshot open" needs the kit alone.

Rows that are in the catalog are never changed: what differs is listed. It may be
stopped or killed at any moment and run again. With --dry-run nothing is changed.

What was in the catalog alone is gone: names, configurations, credentials,
schedules, holds and notes. Each source comes back disabled; enter its
configuration and credential, and enable it:

  xvault source update SOURCE --name web1 --host web1.example.com --username backup \
      --path /srv/www --credential CREDENTIAL --host-key KEY
  xvault source enable SOURCE

What a worker says is checked against itself and against the recovery kits, not
against the truth: import from workers that you trust, and look at --dry-run
first where a tenant or a source exists already.`

// importOptions are the flags of "hub import".
type importOptions struct {
	worker     string
	identities []string
	dryRun     bool
	wait       time.Duration
	output     string
}

func newHubImportCommand() *cobra.Command {
	var o importOptions
	c := &cobra.Command{
		Use: "import --worker WORKER", Short: "Rebuild the catalog from a worker's storage", Long: hubImportHelp, Args: cobra.NoArgs,
		Example: `  xvault hub import --worker w1 --identity /media/usb/kits --dry-run
  xvault hub import --worker w1 --identity acme.txt --identity globex.txt
  xvault hub import --worker w1 -o json`,
		RunE: func(c *cobra.Command, _ []string) error { return hubImport(c, o) },
	}
	f := c.Flags()
	f.StringVarP(&o.worker, "worker", "w", "", "the worker whose storage is taken in")
	f.StringArrayVarP(&o.identities, "identity", "i", nil, "a tenant's recovery kit, or a folder of them; may be repeated")
	f.BoolVar(&o.dryRun, "dry-run", false, "tell what would be done, and do nothing")
	f.DurationVar(&o.wait, "wait", 2*time.Minute, "how long the worker may say nothing")
	f.StringVarP(&o.output, "output", "o", "table", "table or json")
	configFlag(c)
	settingFlag(c, "log-level", "LOG_LEVEL", "debug, info, warn or error")
	settingFlag(c, "log-format", "LOG_FORMAT", "json or text")
	// Both flags were added just now, so that they are there.
	_ = c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]cobra.Completion{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = c.RegisterFlagCompletionFunc("worker", cobra.NoFileCompletions)
	return c
}

func (o importOptions) check() error {
	switch {
	case o.worker == "":
		return usagef("say with --worker whose storage is taken in")
	case o.output != "table" && o.output != "json":
		return usagef("--output must be table or json")
	case o.wait <= 0:
		return usagef("--wait must be longer than nothing")
	}
	return nil
}

func hubImport(c *cobra.Command, o importOptions) error {
	if err := o.check(); err != nil {
		return err
	}
	s, err := loadSettings(c, knownSettings())
	if err != nil {
		return err
	}
	identities, err := readKits(o.identities)
	if err != nil {
		return err
	}
	read := reader{s: s}
	cfg := rebuild.Config{
		DatabaseURL: read.required("DATABASE_URL"), EncryptionKEK: read.required("HUB_ENCRYPTION_KEK"),
		WorkerID: o.worker, Identities: identities, DryRun: o.dryRun, Patience: o.wait, Progress: importProgress(c.ErrOrStderr()),
	}
	if read.err != nil {
		return read.err
	}
	if cfg.Log, err = logSettings(s, c.ErrOrStderr()); err != nil {
		return err
	}
	report, err := rebuild.Run(c.Context(), cfg)
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return fmt.Errorf("no worker %q is registered with this hub: start it with this hub's address and join token, then run this again", o.worker)
	case errors.Is(err, catalog.ErrImportRuns):
		return fmt.Errorf("%w: wait until it is done", err)
	case errors.Is(err, context.Canceled):
		return errInterrupted
	case err != nil:
		return fmt.Errorf("import: %w; what was done until then stays, run it again", err)
	}
	return printImport(&printer{w: c.OutOrStdout(), json: o.output == "json"}, report)
}

// importProgress tells people what happens, a line for each step.
func importProgress(w io.Writer) func(string, int64, int64) {
	return func(what string, done, total int64) {
		line := fmt.Sprintf("%s: %s", what, count(done))
		if total > 0 {
			line += " of " + count(total)
		}
		_, _ = fmt.Fprintln(w, line) // a lost line of progress is no reason to stop
	}
}

func printImport(p *printer, r rebuild.Report) error {
	if p.json {
		return p.object(r)
	}
	sections := []func(*printer, rebuild.Report) error{printImportTenants, printImportSources, printImportProblems}
	for _, section := range sections {
		if err := section(p, r); err != nil {
			return err
		}
	}
	verb := "imported"
	if r.DryRun {
		verb = "would be imported (dry run: nothing was changed)"
	}
	p.printf("%s snapshots (%s) %s: %s partial, %s corrupt. %s were in the catalog, %s are there and differ, %s refused.\n",
		count(r.Imported), size(r.Bytes), verb, count(r.Partial), count(r.Corrupt), count(r.Present), count(r.Different), count(r.Refused))
	if r.Incomplete != "" {
		p.printf("This is not all: %s.\n", printable(r.Incomplete))
	}
	return p.err
}

func printImportTenants(p *printer, r rebuild.Report) error {
	if len(r.Tenants) == 0 {
		return nil
	}
	var rows [][]string
	for _, t := range r.Tenants {
		identity := "there"
		switch {
		case len(t.Missing) > 0:
			identity = fmt.Sprintf("MISSING: %s snapshots cannot be restored until --identity gives the kit of %s", count(t.Locked), strings.Join(t.Missing, ", "))
		case t.Completed > 0:
			identity = "brought in"
		}
		rows = append(rows, []string{t.ID.String(), madeOrThere(t.Made), count(t.Imported), identity})
	}
	if err := p.table([]string{"TENANT", "ROW", "IMPORTED", "IDENTITY"}, rows); err != nil {
		return err
	}
	p.printf("\n")
	return p.err
}

func printImportSources(p *printer, r rebuild.Report) error {
	if len(r.Sources) == 0 {
		return nil
	}
	var rows [][]string
	for _, s := range r.Sources {
		enter := ""
		if s.Made {
			enter = "name, config, credential, schedules; then enable it"
		}
		rows = append(rows, []string{s.ID.String(), s.Type, madeOrThere(s.Made), count(s.Imported), count(s.Present), size(s.Bytes), when(s.Newest), enter})
	}
	if err := p.table([]string{"SOURCE", "TYPE", "ROW", "IMPORTED", "PRESENT", "SIZE", "NEWEST", "ENTER AGAIN"}, rows); err != nil {
		return err
	}
	p.printf("\n")
	return p.err
}

func madeOrThere(made bool) string {
	if made {
		return "made"
	}
	return "there"
}

func printImportProblems(p *printer, r rebuild.Report) error {
	for _, file := range r.UnusedIdentities {
		p.printf("%s: its key is no tenant's here\n", printable(file))
	}
	for _, problem := range r.Problems {
		state := "in the catalog"
		if problem.Refused {
			state = "refused, and left where it is"
		}
		place := problem.Place
		if place != "" {
			place += ": "
		}
		p.printf("%s%s (%s)\n", printable(place), printable(problem.What), state)
	}
	if r.MoreProblems > 0 {
		p.printf("and %s more\n", count(r.MoreProblems))
	}
	return p.err
}
