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
	var full, wait bool
	c := &cobra.Command{
		Use: "verify SNAPSHOT", Short: "Read a snapshot again and compare it with what it was", Args: cobra.ExactArgs(1),
		Long: `Has the worker that holds a snapshot read it again. Without --full: its files are
there, the artifact has the SHA-256 that it had, and what stands beside it is what
the hub knows. With --full it is opened as well, and every file in it is checked.

A snapshot that is not what it was becomes corrupt: it does not count as good any
more, and a new backup of its source is queued at once. A full verification that
passes makes it what it was before. Where the storage is not there or cannot be
read nothing is concluded, and the job is tried again.

With --wait it shows how it goes, and exits 3 when the snapshot is damaged or could
not be verified. To have it done regularly: xvault source update SOURCE --verify-every 7d`,
		Example: `  xvault snapshot verify 0198c0de --wait
  xvault snapshot verify 0198c0de --full --wait
  xvault source update web1 --verify-every 7d --reverify-after 90d`,
		ValidArgsFunction: opts.completion(snaps),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		id, err := s.resolve(ctx, "snapshot", snaps, args[0])
		if err != nil {
			return err
		}
		kind := job.VerifyQuick
		if full {
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
	c.Flags().BoolVar(&wait, "wait", false, "wait for the verdict, and exit 3 when it is bad")
	return c
}

// showVerified tells what a verification found.
func showVerified(_ context.Context, s *session, j apiclient.Job) error {
	v, ok := j.Verification()
	if !ok {
		return nil
	}
	return s.out.fields("snapshot", j.SnapshotID, "verified", verdictText(&v), "read", size(v.SizeBytes),
		"files", counted(v.Files), "took", took(time.Duration(v.DurationMS)*time.Millisecond))
}

// verdictText is a verdict in one line; empty where there is none.
func verdictText(v *job.VerifyResult) string {
	switch {
	case v == nil:
		return ""
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
	c.Flags().StringVar(&o.kind, "verify-kind", "", "how: quick (hash the artifact) or full (open it, check every file)")
	mustComplete(c, "verify-kind", cobra.FixedCompletions([]string{"quick", "full"}, cobra.ShellCompDirectiveNoFileComp))
}

func (o *rhythmOptions) apply(body *sourceBody) error {
	if o.kind != "" && !job.VerifyKind(o.kind).Valid() {
		return usagef("--verify-kind is %q: it can be quick or full", o.kind)
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
