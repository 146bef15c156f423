package cmd

import (
	"context"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"xvault/internal/secret"
	"xvault/migrations"
)

// newMigrateCommand moves a catalog between versions.
func newMigrateCommand() *cobra.Command {
	return noun("migrate", "Bring the catalog's tables up to date",
		`The catalog is the hub's Postgres database; DATABASE_URL says where it is.
"xvault hub serve" runs "migrate up" by itself unless it is told not to.

`+settingsHelp,
		newMigrateUpCommand(), newMigrateDownCommand(), newMigrateStatusCommand(), newMigrateForceCommand())
}

func newMigrateUpCommand() *cobra.Command {
	return migrateCommand("up", "Bring the catalog to this program's version", cobra.NoArgs,
		func(ctx context.Context, url secret.Text, _ []string) error {
			return migrations.Up(ctx, url)
		})
}

func newMigrateDownCommand() *cobra.Command {
	var steps int
	var sure bool
	c := migrateCommand("down", "Take migrations back, with all that their tables hold", cobra.NoArgs,
		func(ctx context.Context, url secret.Text, _ []string) error {
			if !sure {
				if err := refuseInUse(ctx, url); err != nil {
					return err
				}
			}
			return migrations.Down(ctx, url, steps)
		})
	c.Flags().IntVar(&steps, "steps", 1, "how many migrations to take back")
	c.Flags().BoolVar(&sure, "yes", false, "yes, delete what these migrations made, tenants and all")
	return c
}

// refuseInUse lets a catalog go down without a question only while it is empty.
func refuseInUse(ctx context.Context, url secret.Text) error {
	inUse, err := migrations.InUse(ctx, url)
	if err != nil {
		return err
	}
	if inUse {
		return usagef("the catalog holds tenants, and this deletes tables with everything in them: back the catalog up, then say --yes")
	}
	return nil
}

func newMigrateStatusCommand() *cobra.Command {
	return migrateCommand("status", "Say where the catalog stands; changes nothing", cobra.NoArgs, nil)
}

func newMigrateForceCommand() *cobra.Command {
	return migrateCommand("force VERSION", "Write down a version after an interrupted migration; changes nothing else",
		cobra.ExactArgs(1),
		func(ctx context.Context, url secret.Text, args []string) error {
			version, err := strconv.Atoi(args[0])
			if err != nil {
				return usagef("the version must be a number, not %q", args[0])
			}
			return migrations.Force(ctx, url, version)
		})
}

// migrateCommand makes one of the commands: all end by saying where the catalog
// stands then.
func migrateCommand(use, short string, args cobra.PositionalArgs,
	run func(ctx context.Context, url secret.Text, args []string) error,
) *cobra.Command {
	var output string
	c := &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(c *cobra.Command, args []string) error {
			out, err := migrateOutput(c, output)
			if err != nil {
				return err
			}
			s, err := loadSettings(c, knownSettings())
			if err != nil {
				return err
			}
			url, err := s.requiredSecret("DATABASE_URL")
			if err != nil {
				return err
			}
			if run != nil {
				if err := run(c.Context(), url, args); err != nil {
					return err
				}
			}
			return printMigrateStatus(c.Context(), url, out)
		},
	}
	configFlag(c)
	c.Flags().StringVarP(&output, "output", "o", "table", "table or json")
	return c
}

func migrateOutput(c *cobra.Command, output string) (*printer, error) {
	switch output {
	case "table", "json":
		return &printer{w: c.OutOrStdout(), json: output == "json"}, nil
	default:
		return nil, usagef("--output must be table or json, not %q", output)
	}
}

// printMigrateStatus fails where this program could not serve the catalog for
// another reason than that it waits for "up".
func printMigrateStatus(ctx context.Context, url secret.Text, out *printer) error {
	status, err := migrations.ReadStatus(ctx, url)
	if err != nil {
		return err
	}
	if out.json {
		err = out.object(struct {
			Version int  `json:"version"`
			Latest  int  `json:"latest"`
			Dirty   bool `json:"dirty"`
		}{status.Version, status.Latest, status.Dirty})
	} else {
		err = out.fields("version", strconv.Itoa(status.Version), "latest", strconv.Itoa(status.Latest),
			"state", migrateState(status))
	}
	if err != nil {
		return fmt.Errorf("print status: %w", err)
	}
	if status.Dirty || status.Version > status.Latest {
		return status.Err()
	}
	return nil
}

func migrateState(s migrations.Status) string {
	switch {
	case s.Dirty:
		return "a migration was interrupted"
	case s.Version > s.Latest:
		return "newer than this program"
	case s.Version < s.Latest:
		return "migrations are waiting: xvault migrate up"
	default:
		return "up to date"
	}
}
