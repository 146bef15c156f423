// Package cmd is the command line: one file a command. It is the only home of
// cobra, viper, signals and exit codes, and wires the parts together.
package cmd

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Main runs the command line and gives the exit code.
func Main() int {
	ctx, stop := interruptible()
	defer stop()
	root := NewRoot()
	if err := root.ExecuteContext(ctx); err != nil {
		return report(root.ErrOrStderr(), err)
	}
	return exitOK
}

// interruptible gives a context that the first SIGINT or SIGTERM ends. The
// second finds Go's own handling again and ends the process.
func interruptible() (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop()
	}()
	return ctx, stop
}

// NewRoot makes the whole tree of commands.
func NewRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "xvault",
		Short: "Backs up servers without installing anything on them",
		Long: `xVault backs up servers without installing anything on them.

A hub knows tenants, sources, credentials and jobs. Workers fetch the data over
SSH, seal it to the tenant's public key and keep it. What they keep opens with
stock tools, with or without xVault:

  age -d -i key.txt backup.tar.zst.enc | zstd -d | tar x

Try it out, with nothing else running:

  xvault dev

Exit codes are listed by "xvault help exit-codes", settings of the client by
"xvault help client".`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.Version = buildVersion()
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &usageError{err} })
	root.AddGroup(
		&cobra.Group{ID: groupRun, Title: "Run xVault:"},
		&cobra.Group{ID: groupUse, Title: "Use a hub:"},
	)
	grouped(root, groupRun, serverCommands()...)
	grouped(root, groupUse, clientCommands()...)
	root.AddCommand(newVersionCommand(), newExitCodesTopic(), newClientTopic())
	markUsageErrors(root)
	return root
}

const (
	groupRun = "run"
	groupUse = "use"
)

func grouped(root *cobra.Command, id string, commands ...*cobra.Command) {
	for _, c := range commands {
		c.GroupID = id
		root.AddCommand(c)
	}
}

// serverCommands run the parts of xVault.
func serverCommands() []*cobra.Command {
	return []*cobra.Command{newDevCommand(), newHubCommand(), newMigrateCommand()}
}

// clientCommands talk to a hub. They share the flags that say which.
func clientCommands() []*cobra.Command {
	return []*cobra.Command{
		newTenantCommand(), newCredentialCommand(), newSourceCommand(), newScheduleCommand(), newJobCommand(), newSnapshotCommand(newSnapshotFilesCommand(), newSnapshotOpenCommand()),
		newRestoreCommand(), newRetentionCommand(), newNotifyCommand(),
		newWorkerCommand(newWorkerRunCommand(), newWorkerHealthCommand()), newKeyCommand(), newAuditCommand(),
	}
}

// noun makes a command that only holds others.
func noun(use, short, long string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(children...)
	return c
}

// markUsageErrors makes wrong arguments recognizable as such, everywhere.
func markUsageErrors(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return &usageError{err}
			}
			return nil
		}
	}
	for _, child := range c.Commands() {
		markUsageErrors(child)
	}
}
