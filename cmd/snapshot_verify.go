package cmd

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
	"xvault/internal/job"
)

func newSnapshotVerifyCommand() *cobra.Command {
	var opts clientOptions
	var full, drill, wait bool
	c := &cobra.Command{
		Use: "verify SNAPSHOT", Short: "Read a snapshot again and compare it with what it was", Args: cobra.ExactArgs(1),
		Long: `Has the worker that holds a snapshot read it again. Without --full: its files are
there, the artifact has the SHA-256 that it had, and what stands beside it is what
the hub knows. With --full it is opened as well, and every file in it is checked.

With --drill, for sources with databases (postgres, mysql, wordpress), the dumps in it
are loaded as well, into a scratch server that the worker starts from the programs
that are installed there and throws away again: every table has to have the rows that
the dump has. Where the worker lacks something, a server that is new enough or an
extension, the drill is unprovable, which says nothing about the snapshot.

A snapshot that is not what it was becomes corrupt: it does not count as good any
more, and a new backup of its source is queued at once. A full verification that
passes makes it what it was before. One whose dumps do not load becomes suspicious. Where the storage is not there or cannot be
read nothing is concluded, and the job is tried again.

With --wait it shows how it goes, and exits 3 when the snapshot is damaged or could
not be verified. To have it done regularly: xvault source update SOURCE --verify-every 7d`,
		Example: `  xvault snapshot verify 0198c0de --wait
  xvault snapshot verify 0198c0de --full --wait
  xvault snapshot verify 0198c0de --drill --wait
  xvault source update web1 --verify-every 7d --reverify-after 90d`,
		ValidArgsFunction: opts.completion(snaps),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		id, err := s.resolve(ctx, "snapshot", snaps, args[0])
		if err != nil {
			return err
		}
		kind := job.VerifyQuick
		switch {
		case drill:
			kind = job.VerifyDrill
		case full:
			kind = job.VerifyFull
		}
		item, err := s.VerifySnapshot(ctx, id, kind)
		if err != nil {
			return err
		}
		return s.follow(ctx, item, wait, showVerified)
	})
	opts.addFlags(c)
	c.Flags().BoolVar(&full, "full", false, "open it, and check every file in it")
	c.Flags().BoolVar(&drill, "drill", false, "check all of it, and load its dumps into a scratch server")
	c.MarkFlagsMutuallyExclusive("full", "drill")
	c.Flags().BoolVar(&wait, "wait", false, "wait for the verdict, and exit 3 when it is bad")
	return c
}

// showVerified tells what a verification found.
func showVerified(_ context.Context, s *session, j apiclient.Job) error {
	v, ok := j.Verification()
	if !ok {
		return nil
	}
	err := s.out.fields("snapshot", j.SnapshotID, "verified", verdictText(&v), "read", size(v.SizeBytes),
		"files", counted(v.Files), "took", took(time.Duration(v.DurationMS)*time.Millisecond))
	if err != nil {
		return err
	}
	return showDrill(s.out, v.Drill)
}

// showDrill shows what became of the dumps; nothing where none were loaded.
func showDrill(p *printer, d *job.DrillResult) error {
	if d == nil {
		return nil
	}
	p.printf("\n")
	if err := p.fields(drillFields(d)...); err != nil {
		return err
	}
	var rows [][]string
	for _, database := range d.Databases {
		verdict := "ok"
		if !database.OK {
			verdict = string(database.Code)
		}
		rows = append(rows, []string{database.Name, "(" + count(database.Tables) + " tables)", count(database.RowsExpected), count(database.Rows), verdict})
		for _, t := range database.TableRows {
			verdict := "ok"
			if t.Expected != t.Rows {
				verdict = "differs"
			}
			rows = append(rows, []string{database.Name, t.Name, count(t.Expected), count(t.Rows), verdict})
		}
		if rest := database.Tables - int64(len(database.TableRows)); rest > 0 {
			rows = append(rows, []string{database.Name, "... and " + count(rest) + " more", "", "", ""})
		}
	}
	return p.table([]string{"DATABASE", "TABLE", "IN THE DUMP", "LOADED", ""}, rows)
}

func drillFields(d *job.DrillResult) []string {
	pairs := []string{"loaded into", d.Server}
	for _, database := range d.Databases {
		var checks []string
		for _, c := range database.Checks {
			checks = append(checks, count(c.Count)+" "+c.Name)
		}
		if len(checks) > 0 {
			pairs = append(pairs, "checked", database.Name+": "+strings.Join(checks, ", "))
		}
		if database.Problem != "" {
			pairs = append(pairs, "problem", database.Name+": "+strings.TrimSpace(database.Problem))
		}
	}
	for _, note := range d.Notes {
		pairs = append(pairs, "note", note)
	}
	return pairs
}

// verdictText is a verdict in one line; empty where there is none.
func verdictText(v *job.VerifyResult) string {
	switch {
	case v == nil:
		return ""
	case v.OK && v.Kind == job.VerifyDrill:
		return "restores: all of it is whole, and its dumps load with every row"
	case v.OK && v.Kind == job.VerifyFull:
		return "whole: every file in it has the hash that it had at the source"
	case v.OK:
		return "quick: it is there, and is what was stored"
	}
	return string(v.Kind) + ": " + string(v.Code) + ": " + strings.TrimSpace(v.Problem)
}

// verifiedNote is a verdict in a table.
func verifiedNote(s apiclient.Snapshot) string {
	v := s.VerifyResult
	switch {
	case s.VerifiedAt == nil || v == nil:
		return ""
	case !v.OK && v.Code.Disproves():
		return "drill failed"
	case !v.OK:
		return "damaged"
	default:
		return string(v.Kind) + " " + when(*s.VerifiedAt)
	}
}

// rhythmOptions are the flags of a source's rhythm of verification.
type rhythmOptions struct{ every, kind, again string }

func (o *rhythmOptions) addFlags(c *cobra.Command) {
	c.Flags().StringVar(&o.every, "verify-every", "", `have the newest good snapshot verified so often: "7d", "36h", "none"`)
	c.Flags().StringVar(&o.again, "reverify-after", "", `have good snapshots verified again that were not for so long: "90d", "none"`)
	c.Flags().StringVar(&o.kind, "verify-kind", "", "how: quick (hash the artifact), full (open it, check every file) or drill (full, and load its dumps)")
	mustComplete(c, "verify-kind", cobra.FixedCompletions([]string{"quick", "full", "drill"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *rhythmOptions) apply(body *sourceBody) error {
	if o.kind != "" && !job.VerifyKind(o.kind).Valid() {
		return usagef("--verify-kind is %q: it can be quick, full or drill", o.kind)
	}
	body.VerifyKind, body.VerifyEvery, body.ReverifyAfter = o.kind, spanFlag(o.every), spanFlag(o.again)
	return nil
}

// spanFlag is nil where nothing was said, and empty for none.
func spanFlag(text string) *string {
	switch text {
	case "":
		return nil
	case "none":
		return new("")
	}
	return &text
}

// rhythmText is a source's rhythm in words.
func rhythmText(s apiclient.Source) string {
	var parts []string
	if s.VerifyEvery != "" {
		parts = append(parts, "the newest every "+s.VerifyEvery)
	}
	if s.ReverifyAfter != "" {
		parts = append(parts, "each after "+s.ReverifyAfter)
	}
	if len(parts) == 0 {
		return "only when asked for"
	}
	return s.VerifyKind + ", " + strings.Join(parts, ", ")
}
