package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"xvault/internal/devenv"
)

const devHelp = `Runs all of xVault in one process, with everything it needs: a private Postgres
from the installed programs, a Redis in memory, an SSH server to back up from,
hub and worker, a tenant and a source to try. Everything listens on this machine
alone and ends with the process.

Without --state-dir it all lives in a temporary folder that is removed at the end.

This is for trying xVault out and for working on it, not for keeping backups.`

// devOptions are the flags of `xvault dev`.
type devOptions struct {
	stateDir string
	listen   string
	tree     string
	demo     bool
	verbose  bool
}

func newDevCommand() *cobra.Command {
	var o devOptions
	c := &cobra.Command{
		Use: "dev", Short: "Run everything in one process, to try it out", Long: devHelp, Args: cobra.NoArgs,
		Example: `  xvault dev
  xvault dev --state-dir /var/tmp/xvault     # continue next time where this one ended
  xvault dev --demo                          # show a backup and its restore, then end`,
		RunE: func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	f := c.Flags()
	f.StringVar(&o.stateDir, "state-dir", "", "keep everything in this folder (default: a temporary one)")
	f.StringVar(&o.listen, "listen", "", "the hub's address (default 127.0.0.1:8080; with --demo any free port)")
	f.StringVar(&o.tree, "tree", "", "the folder that the source backs up (default: Go's own, or /usr/share)")
	f.BoolVar(&o.demo, "demo", false, "back the folder up, open the result with stock tools, compare, and end")
	f.BoolVar(&o.verbose, "verbose", false, "print the logs of hub and worker as well")
	return c
}

func (o *devOptions) run(c *cobra.Command) (err error) {
	ctx := c.Context()
	out := &printer{w: c.OutOrStdout()}
	dir, remove, err := o.folder()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()

	stack := &devStack{dir: dir, listen: o.address(), verbose: o.verbose, stderr: c.ErrOrStderr()}
	story := newStory(out, o.demo)
	err = stack.start(ctx)
	defer func() { err = errors.Join(err, stack.stop()) }()
	if err != nil {
		return err
	}
	story.started(stack)
	scene, err := stack.prepare(ctx, o.tree)
	if err != nil {
		return err
	}
	if o.demo {
		return stack.watch(ctx, func(ctx context.Context) error { return runDemo(ctx, stack, scene, story) })
	}
	if err := stack.introduce(out, scene); err != nil {
		return err
	}
	return stack.watch(ctx, func(ctx context.Context) error {
		<-ctx.Done()
		out.printf("\nStopping ...\n")
		return out.err
	})
}

func (o *devOptions) address() string {
	switch {
	case o.listen != "":
		return o.listen
	case o.demo:
		return "127.0.0.1:0"
	default:
		return "127.0.0.1:8080"
	}
}

// folder gives where everything lives, and what to do with it at the end.
func (o *devOptions) folder() (dir string, remove func() error, err error) {
	if o.stateDir == "" {
		dir, err := devenv.Scratch()
		return dir, func() error { return os.RemoveAll(dir) }, err
	}
	dir, err = filepath.Abs(o.stateDir)
	if err != nil {
		return "", nil, fmt.Errorf("find the state folder: %w", err)
	}
	if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // Postgres runs as another user below it
		return "", nil, fmt.Errorf("make the state folder: %w", err)
	}
	return dir, func() error { return nil }, passable(dir)
}

// passable checks that Postgres, which root runs as another user, can reach its
// data: initdb's own message would be hard to understand.
func passable(dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	for at := dir; ; at = filepath.Dir(at) {
		info, err := os.Stat(at)
		if err != nil {
			return fmt.Errorf("look at the state folder: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return usagef("Postgres does not run as root, and other users cannot pass through %s: choose a state folder such as /var/tmp/xvault", at)
		}
		if at == filepath.Dir(at) {
			return nil
		}
	}
}
