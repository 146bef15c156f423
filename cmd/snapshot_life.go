package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

func newSnapshotRemoveCommand() *cobra.Command {
	var opts clientOptions
	var now, wait bool
	c := &cobra.Command{
		Use: "rm SNAPSHOT", Aliases: []string{"delete"}, Short: "Delete a snapshot", Args: cobra.ExactArgs(1),
		Long: `Marks a snapshot as deleting. Its files are removed after the hub's grace time
(24 hours unless set otherwise), until then "xvault snapshot undelete" takes it back. A held
snapshot is refused. Only a whole id is taken: the start of one is too easy to get wrong.`,
		Example: `  xvault snapshot rm 019abc0e-6f5c-7d3e-9f6a-0d9c6a1f2b34
  xvault snapshot rm 019abc0e-6f5c-7d3e-9f6a-0d9c6a1f2b34 --now --wait`,
		ValidArgsFunction: opts.completion(snaps),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		if wait && !now {
			return usagef("--wait goes with --now: else the files stay for the hub's grace time")
		}
		id, err := s.resolve(ctx, "snapshot", wholeWords(snaps, args[0]), args[0])
		if err != nil {
			return err
		}
		item, err := s.DeleteSnapshot(ctx, id, now)
		if err != nil {
			return err
		}
		return s.follow(ctx, item, wait, func(_ context.Context, s *session, j apiclient.Job) error {
			s.out.printf("deleted snapshot %s\n", j.SnapshotID)
			return s.out.err
		})
	})
	opts.addFlags(c)
	c.Flags().BoolVar(&now, "now", false, "without the grace time: it cannot be taken back")
	c.Flags().BoolVar(&wait, "wait", false, "wait until its files are gone")
	return c
}
