package cmd

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

func newRetentionCommand() *cobra.Command {
	return noun("retention", "Which snapshots stay", `Retention removes snapshots that no rule of their source's schedules keeps. A
policy belongs to a schedule: "xvault schedule create --keep-daily 7 ...".`,
		newRetentionPreviewCommand(),
	)
}

func newRetentionPreviewCommand() *cobra.Command {
	var opts clientOptions
	counts := map[string]*int{}
	var within, timezone string
	c := &cobra.Command{
		Use: "preview SOURCE", Short: "See what retention would keep and remove, and why", Args: cobra.ExactArgs(1),
		Long: `Shows what a retention run would do to a source's snapshots. With --keep flags it
is a run by that policy, without any it is the next run by the policies of the
source's schedules. Nothing is changed.`,
		Example: `  xvault retention preview web1
  xvault retention preview web1 --keep-daily 7 --keep-weekly 4 --keep-monthly 12`,
		ValidArgsFunction: opts.completion(sources),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		q := apiclient.RetentionQuestion{Timezone: timezone}
		for _, k := range keepFlags() {
			if c.Flags().Changed(k.flag) {
				q.Policy = withRule(q.Policy, k.field, *counts[k.field])
			}
		}
		if c.Flags().Changed("keep-within") {
			q.Policy = withRule(q.Policy, "keep_within", within)
		}
		id, err := s.resolve(ctx, "source", sources, args[0])
		if err != nil {
			return err
		}
		item, err := s.PreviewRetention(ctx, id, q)
		if err != nil {
			return err
		}
		return printPreview(s.out, item)
	})
	opts.addFlags(c)
	for _, k := range keepFlags() {
		counts[k.field] = new(int)
		c.Flags().IntVar(counts[k.field], k.flag, 0, k.usage)
	}
	c.Flags().StringVar(&within, "keep-within", "", `keep all that are younger than this, before the newest ("30d")`)
	c.Flags().StringVar(&timezone, "timezone", "", `the zone of days and weeks, with --keep flags ("Europe/Berlin")`)
	return c
}

func withRule(policy map[string]any, field string, value any) map[string]any {
	if policy == nil {
		policy = map[string]any{}
	}
	policy[field] = value
	return policy
}

func printPreview(p *printer, item apiclient.Item[apiclient.RetentionPreview]) error {
	if p.json {
		return p.object(item)
	}
	rows := [][]string{}
	for _, group := range []struct {
		verdict   string
		snapshots []apiclient.RetentionDecision
	}{{"keep", item.Value.Keep}, {"remove", item.Value.Remove}} {
		for _, d := range group.snapshots {
			rows = append(rows, []string{group.verdict, d.SnapshotID, d.Status, when(d.StartedAt), size(d.SizeBytes), strings.Join(d.Reasons, ", ")})
		}
	}
	if err := p.table([]string{"VERDICT", "SNAPSHOT", "STATUS", "MADE", "SIZE", "WHY"}, rows); err != nil {
		return err
	}
	p.printf("%d kept, %d removed, %s freed\n", len(item.Value.Keep), len(item.Value.Remove), size(item.Value.FreedBytes))
	return p.err
}
