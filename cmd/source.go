package cmd

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"xvault/connectors/registry"
	"xvault/internal/apiclient"
	"xvault/internal/bandwidth"
)

var sourceView = view[apiclient.Source]{
	heading: []string{"ID", "NAME", "TYPE", "STATUS", "WHERE", "CREATED"},
	row: func(s apiclient.Source) []string {
		return []string{s.ID, s.Name, s.Type, s.Status, whereOf(s.Config), when(s.CreatedAt)}
	},
	fields: func(s apiclient.Source) []string {
		return append([]string{
			"id", s.ID, "name", s.Name, "tenant", s.TenantID, "type", s.Type, "status", s.Status,
			"credential", s.CredentialID, "bandwidth", bandwidthText(s.Bandwidth), "max age", maxAgeText(s.MaxAgeHours),
			"verified", rhythmText(s), "created", when(s.CreatedAt),
		}, configFields(s.Config)...)
	},
}

func newSourceCommand() *cobra.Command {
	return noun("source", "Things to back up", `A source is one thing to back up: a server's folders, or its databases.`,
		newSourceCreateCommand(),
		listCommand("List sources", (*apiclient.Client).Sources, sourceView),
		showCommand("source", sources, (*apiclient.Client).Sources, sourceView),
		newSourceUpdateCommand(),
		switchCommand("enable", "Let a disabled source be backed up again", "active"),
		switchCommand("disable", "Keep a source, but back it up no more", "disabled"),
		newSourceProbeCommand(),
		newSourceKeyCommand(),
		removeCommand("source", sources, (*apiclient.Client).Sources, "Remove a source that has no snapshots"),
	)
}

// sourceBody is the body of a source; what is empty is not sent.
type sourceBody struct {
	TenantID     string         `json:"tenant_id,omitempty"`
	Type         string         `json:"type,omitempty"`
	Name         string         `json:"name,omitempty"`
	CredentialID string         `json:"credential_id,omitempty"`
	Status       string         `json:"status,omitempty"`
	Config       map[string]any `json:"config,omitempty"`
	// Bandwidth is nil where it is not to be changed.
	Bandwidth *bandwidth.Plan `json:"bandwidth,omitempty"`
	// MaxAgeHours is nil where it is not to be changed.
	MaxAgeHours *int `json:"max_age_hours,omitempty"`
	// Empty ones end a rhythm.
	VerifyEvery   *string `json:"verify_every,omitempty"`
	VerifyKind    string  `json:"verify_kind,omitempty"`
	ReverifyAfter *string `json:"reverify_after,omitempty"`
}

// sourceOptions are the flags that make or change a source.
type sourceOptions struct {
	clientOptions
	config           configOptions
	credential, kind string
	bandwidth        string
	maxAge           time.Duration
	rhythm           rhythmOptions
	name             nameOptions
}

func (o *sourceOptions) addFlags(c *cobra.Command) {
	o.clientOptions.addFlags(c)
	o.config.addFlags(c)
	o.rhythm.addFlags(c)
	c.Flags().StringVar(&o.credential, "credential", "", "the credential to log in with")
	mustComplete(c, "credential", o.flagCompletion(creds))
	c.Flags().StringVar(&o.bandwidth, "bandwidth", "",
		`a limit on what passes between worker and source, by the hours of the day: "20MB/s", "20MB/s, mon-fri 08:00-18:00=5MB/s, timezone=Europe/Berlin" or "none"`)
	c.Flags().DurationVar(&o.maxAge, "max-age", 0, "tell someone when nothing has succeeded for this long, in whole hours (26h); 0: never")
}

// objective reads --max-age; nil where it was not given.
func (o *sourceOptions) objective(c *cobra.Command) (*int, error) {
	if !c.Flags().Changed("max-age") {
		return nil, nil
	}
	if o.maxAge < 0 || o.maxAge%time.Hour != 0 {
		return nil, usagef("--max-age is %s: it must be whole hours", o.maxAge)
	}
	hours := int(o.maxAge / time.Hour)
	return &hours, nil
}

func maxAgeText(hours int) string {
	if hours == 0 {
		return ""
	}
	return strconv.Itoa(hours) + "h"
}

// plan reads --bandwidth; nil where it was not given.
func (o *sourceOptions) plan() (*bandwidth.Plan, error) {
	if o.bandwidth == "" {
		return nil, nil
	}
	plan, err := bandwidth.ParseText(o.bandwidth)
	if err != nil {
		return nil, usagef("--bandwidth: %w", err)
	}
	return &plan, nil
}

func newSourceCreateCommand() *cobra.Command {
	var opts sourceOptions
	c := &cobra.Command{
		Use: "create NAME", Short: "Say what to back up, and how to reach it", Args: cobra.MaximumNArgs(1),
		Example: `  xvault source create web1 --tenant acme --type sftp --host web1.example.com \
      --username backup --path /srv/www --path /etc --credential web1 \
      --host-key "$(ssh-keyscan -t ed25519 web1.example.com 2>/dev/null | cut -d' ' -f2-)"

  xvault source create shop --tenant acme --type postgres --host db.example.com --username xvault \
      --database shop --set sslmode=verify-full --credential shop

  xvault source create wiki --tenant acme --type mysql --username backup --database wiki --credential wiki \
      --set socket=/run/mysqld/mysqld.sock \
      --set 'ssh={"host":"web1.example.com","username":"backup","credential_id":"...","host_keys":["SHA256:..."],"dump":"auto"}'
          # "dump": "tunnel" has the worker's programs dump a database behind ssh, "remote" that
          # machine's own, "auto" these where the SSH server forwards nothing

  xvault source create web1 --tenant acme --type sftp --credential web1 --config web1.json

Check it with: xvault source probe web1 --wait`,
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		body := sourceBody{TenantID: s.tenantID, Type: opts.kind}
		var err error
		if body.Name, err = opts.name.required(args); err != nil {
			return err
		}
		if body.Config, err = opts.config.build(c, nil); err != nil {
			return err
		}
		if body.Bandwidth, err = opts.plan(); err != nil {
			return err
		}
		if body.MaxAgeHours, err = opts.objective(c); err != nil {
			return err
		}
		if body.MaxAgeHours != nil && *body.MaxAgeHours == 0 {
			body.MaxAgeHours = nil // a new source has none
		}
		if err := opts.rhythm.apply(&body); err != nil {
			return err
		}
		if opts.credential != "" {
			if body.CredentialID, err = s.resolve(ctx, "credential", creds, opts.credential); err != nil {
				return err
			}
		}
		item, err := s.Sources().Create(ctx, body)
		if err != nil {
			return err
		}
		return printItem(s.out, sourceView, item)
	})
	opts.addFlags(c)
	opts.name.addFlags(c)
	c.Flags().StringVar(&opts.kind, "type", "sftp", "what it is: "+strings.Join(registry.All().Names(), ", "))
	mustComplete(c, "type", cobra.FixedCompletions(registry.All().Names(), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func newSourceUpdateCommand() *cobra.Command {
	var opts sourceOptions
	c := &cobra.Command{
		Use: "update SOURCE", Short: "Change a source", Args: cobra.ExactArgs(1),
		Long: "Changes what is given and leaves the rest. A list, as of --path, replaces the whole list.",
		Example: `  xvault source update web1 --host web1.new.example.com
  xvault source update web1 --path /srv/www --path /var/mail
  xvault source update web1 --verify-every 7d --verify-kind full --reverify-after 90d
  xvault source update web1 --bandwidth "none, 08:00-18:00=5MB/s, timezone=Europe/Berlin"`,
		ValidArgsFunction: opts.completion(sources),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		id, err := s.resolve(ctx, "source", sources, args[0])
		if err != nil {
			return err
		}
		body, err := opts.changes(ctx, s, c, id)
		if err != nil {
			return err
		}
		item, err := s.Sources().Patch(ctx, id, body)
		if err != nil {
			return err
		}
		return printItem(s.out, sourceView, item)
	})
	opts.addFlags(c)
	c.Flags().StringVar(&opts.name.name, "name", "", "a new name")
	return c
}

// changes is what the flags change of a source.
func (o *sourceOptions) changes(ctx context.Context, s *session, c *cobra.Command, id string) (body sourceBody, err error) {
	body.Name = o.name.name
	if body.Bandwidth, err = o.plan(); err != nil {
		return body, err
	}
	if body.MaxAgeHours, err = o.objective(c); err != nil {
		return body, err
	}
	if err = o.rhythm.apply(&body); err != nil {
		return body, err
	}
	if o.config.changed(c) {
		current, err := s.Sources().Get(ctx, id)
		if err != nil {
			return body, err
		}
		if body.Config, err = o.config.build(c, current.Value.Config); err != nil {
			return body, err
		}
	}
	if o.credential != "" {
		body.CredentialID, err = s.resolve(ctx, "credential", creds, o.credential)
	}
	return body, err
}

// bandwidthText is a limit as --bandwidth takes it.
func bandwidthText(plan *bandwidth.Plan) string {
	if plan == nil {
		return "none"
	}
	return plan.Text()
}

// switchCommand makes a command that sets a source's status.
func switchCommand(verb, short, status string) *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: verb + " SOURCE", Short: short, Args: cobra.ExactArgs(1), ValidArgsFunction: opts.completion(sources),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, "source", sources, args[0])
			if err != nil {
				return err
			}
			item, err := s.Sources().Patch(ctx, id, sourceBody{Status: status})
			if err != nil {
				return err
			}
			return printItem(s.out, sourceView, item)
		}),
	}
	opts.addFlags(c)
	return c
}

// whereOf gives the short form of a configuration: user@host:port.
func whereOf(config json.RawMessage) string {
	var c struct {
		Host     string `json:"host"`
		Port     int    `json:"port"`
		Username string `json:"username"`
	}
	if json.Unmarshal(config, &c) != nil || c.Host == "" {
		return ""
	}
	where := c.Host
	if c.Username != "" {
		where = c.Username + "@" + where
	}
	if c.Port != 0 && c.Port != 22 {
		where += fmt.Sprintf(":%d", c.Port)
	}
	return where
}
