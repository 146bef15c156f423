package cmd

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var snapshotView = view[apiclient.Snapshot]{
	heading: []string{"ID", "STATUS", "SOURCE", "FINISHED", "SIZE", "FILES", "CONTENT", "HOLD", "VERIFIED"},
	row: func(s apiclient.Snapshot) []string {
		c := s.Manifest.Content
		return []string{s.ID, s.Status, s.SourceID, when(s.FinishedAt), size(s.SizeBytes), count(c.Files), size(c.Bytes), yes(s.Hold), verifiedNote(s)}
	},
	fields: func(s apiclient.Snapshot) []string {
		c := s.Manifest.Content
		return []string{
			"id", s.ID, "status", s.Status, "tenant", s.TenantID, "source", s.SourceID, "job", s.JobID,
			"finished", when(s.FinishedAt), "took", took(time.Duration(s.DurationMS) * time.Millisecond),
			"content", count(c.Files) + " files, " + count(c.Dirs) + " folders, " + count(c.Links) + " links, " + size(c.Bytes),
			"skipped", counted(c.Skipped), "changed while read", counted(c.ChangedWhileRead), "errors", counted(c.Errors),
			"artifact", size(s.SizeBytes), "sha256", s.Manifest.Artifact.SHA256, "sealed to", s.Recipient,
			"worker", s.WorkerID, "folder", s.LocalPath, "hold", yes(s.Hold), "note", s.Note, "verified", whenMaybe(s.VerifiedAt), "drilled", whenMaybe(s.DrilledAt), "verdict", verdictText(s.VerifyResult),
			"suspicion", s.Suspicion, "accepted", whenMaybe(s.AcceptedAt), "files missing since", whenMaybe(s.MissingSince),
			"files removed after", whenMaybe(s.DeleteAfter), "deleted", whenMaybe(s.DeletedAt),
		}
	},
	more: func(p *printer, s apiclient.Snapshot) error {
		if err := showSoftware(p, s.Manifest.Source.WordPress); err != nil {
			return err
		}
		if s.VerifyResult == nil {
			return nil
		}
		return showDrill(p, s.VerifyResult.Drill)
	},
}

// showSoftware lists what a WordPress site is made of.
func showSoftware(p *printer, w *apiclient.Software) error {
	if w == nil {
		return nil
	}
	p.printf("\nWordPress %s\n", printable(w.Version))
	for _, kind := range []struct {
		name string
		list []apiclient.Component
	}{{"plugin", w.Plugins}, {"mu-plugin", w.MUPlugins}, {"theme", w.Themes}} {
		for _, c := range kind.list {
			active := ""
			if c.Active {
				active = "  (active)"
			}
			p.printf("  %-9s  %s %s%s\n", kind.name, printable(c.Name), printable(c.Version), active)
		}
	}
	if w.Omitted > 0 {
		p.printf("  and %s more\n", count(int64(w.Omitted)))
	}
	return p.err
}

var snapshotStatuses = []string{"completed", "partial", "suspicious", "corrupt", "failed", "deleting", "deleted"}

func newSnapshotCommand(extra ...*cobra.Command) *cobra.Command {
	resource := (*apiclient.Client).Snapshots
	c := noun("snapshot", "Results of backups", `A snapshot is the result of one backup: a sealed artifact on a worker's storage,
and what the hub knows of it.`,
		listCommand("List snapshots", resource, snapshotView,
			filter{flag: "source", parameter: "source_id", usage: "only those of this source", what: "source", list: sources},
			filter{flag: "status", parameter: "status", usage: "only those in this state", words: snapshotStatuses}),
		showCommand("snapshot", snaps, resource, snapshotView),
		holdCommand("hold", "Keep a snapshot from being deleted", true),
		holdCommand("release", "Let a held snapshot be deleted again", false),
		newSnapshotNoteCommand(),
		newSnapshotVerifyCommand(),
		newSnapshotRemoveCommand(),
		actCommand("undelete", "snapshot", "Take the deletion of a snapshot back", snaps, resource, snapshotView),
		actCommand("accept", "snapshot", "Say that a suspicious snapshot is good", snaps, resource, snapshotView),
	)
	c.AddCommand(extra...)
	return c
}

// snapshotPatch changes a snapshot; nil leaves a field as it is.
type snapshotPatch struct {
	Hold *bool   `json:"hold,omitempty"`
	Note *string `json:"note,omitempty"`
}

func holdCommand(verb, short string, hold bool) *cobra.Command {
	var opts clientOptions
	var note string
	c := &cobra.Command{
		Use: verb + " SNAPSHOT", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: opts.completion(snaps),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		body := snapshotPatch{Hold: &hold}
		if c.Flags().Changed("note") {
			body.Note = &note
		}
		return patchSnapshot(ctx, s, args[0], body)
	})
	opts.addFlags(c)
	c.Flags().StringVar(&note, "note", "", "why")
	return c
}

func newSnapshotNoteCommand() *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: "note SNAPSHOT TEXT", Short: "Write a note to a snapshot", Args: cobra.ExactArgs(2), ValidArgsFunction: opts.completion(snaps),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			return patchSnapshot(ctx, s, args[0], snapshotPatch{Note: &args[1]})
		}),
	}
	opts.addFlags(c)
	return c
}

func patchSnapshot(ctx context.Context, s *session, word string, body snapshotPatch) error {
	id, err := s.resolve(ctx, "snapshot", snaps, word)
	if err != nil {
		return err
	}
	item, err := s.Snapshots().Patch(ctx, id, body)
	if err != nil {
		return err
	}
	return printItem(s.out, snapshotView, item)
}

// counted leaves a zero out.
func counted(n int64) string {
	if n == 0 {
		return ""
	}
	return count(n)
}
