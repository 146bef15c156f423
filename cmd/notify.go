package cmd

import (
	"context"
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var channelView = view[apiclient.Channel]{
	heading: []string{"ID", "NAME", "KIND", "ENABLED", "FAILURES", "TO"},
	row: func(c apiclient.Channel) []string {
		failures := ""
		if c.Failures > 0 {
			failures = count(int64(c.Failures))
		}
		return []string{c.ID, c.Name, c.Kind, yes(c.Enabled), failures, channelTarget(c)}
	},
	fields: func(c apiclient.Channel) []string {
		owner := c.TenantID
		if owner == "" {
			owner = "the operator's: of all tenants and workers"
		}
		of := strings.Join(c.SourceIDs, ", ")
		if of == "" {
			of = "all"
		}
		pairs := []string{
			"id", c.ID, "name", c.Name, "tenant", owner, "kind", c.Kind, "enabled", yesNo(c.Enabled),
			"failures in a row", count(int64(c.Failures)), "events", strings.Join(c.Events, ", "), "sources", of, "created", when(c.CreatedAt),
		}
		return append(pairs, configFields(c.Config)...)
	},
}

var notificationView = view[apiclient.Notification]{
	heading: []string{"CREATED", "EVENT", "ABOUT", "CHANNEL", "STATUS", "TRIES", "NEXT TRY", "LAST ERROR"},
	row: func(n apiclient.Notification) []string {
		about := first(n.Event.SourceID, n.Event.WorkerID)
		return []string{
			when(n.CreatedAt), n.Event.Kind, about, n.ChannelID, n.Status, count(int64(n.Attempts)), whenMaybe(n.NextTryAt), n.LastError,
		}
	},
}

func newNotifyCommand() *cobra.Command {
	return noun("notify", "Who is told of what happens", `Channels tell people and programs of what happens: by e-mail, signed webhook,
Slack-compatible webhook, Telegram, or a ping to a monitoring service.

A tenant's channels tell of its own sources. The operator's (made with the
operator's key and without --tenant) tell of all tenants, and of workers and
their storage.`,
		newChannelCommand(),
		listCommand("List what was sent, and what could not be", (*apiclient.Client).Notifications, notificationView,
			filter{flag: "channel", parameter: "channel_id", usage: "only those of this channel", what: "channel", list: channels},
			filter{flag: "status", parameter: "status", usage: "only pending, sent or failed ones", words: []string{"pending", "sent", "failed"}}),
	)
}

func newChannelCommand() *cobra.Command {
	resource := (*apiclient.Client).Channels
	return noun("channel", "Ways to tell someone", "A channel is one way to tell someone.",
		newChannelCreateCommand(),
		listCommand("List channels", resource, channelView),
		showCommand("channel", channels, resource, channelView),
		newChannelEditCommand(),
		newChannelTestCommand(),
		removeCommand("channel", channels, resource, "Remove a channel, and what it has not sent"),
	)
}

// channelTarget says in a word where a channel leads.
func channelTarget(c apiclient.Channel) string {
	pairs := configFields(c.Config)
	for i := 0; i+1 < len(pairs); i += 2 {
		switch pairs[i] {
		case "to", "url_host", "chat_id":
			return pairs[i+1]
		}
	}
	return ""
}

func newChannelCreateCommand() *cobra.Command {
	var opts channelOptions
	var kind string
	c := &cobra.Command{
		Use: "create NAME", Short: "Have someone told", Args: cobra.MaximumNArgs(1),
		Long: `Makes a channel. What may be secret (passwords, tokens, addresses of webhooks) is
read from a file, from standard input ("-"), or typed without being shown.

A webhook is signed as Standard Webhooks has it. Without --secret-file its
signing secret is made here and shown once.`,
		Example: `  xvault notify channel create ops --kind email --host smtp.example.com --username xvault \
      --password-file smtp.txt --from xvault@example.com --to ops@example.com
  xvault notify channel create alarm --kind webhook --tenant acme --url-file hook.txt
  xvault notify channel create web1 --kind ping --tenant acme --source web1 --url-file ping.txt
  xvault notify channel create chat --kind telegram --chat -1001234 --token-file bot.txt`,
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		name, err := opts.name.required(args)
		if err != nil {
			return err
		}
		if opts.config.kind = kind; kind == "" {
			return usagef("--kind is missing: email, webhook, slack, telegram or ping")
		}
		body, err := opts.body(ctx, c, s)
		if err != nil {
			return err
		}
		if body.Config == nil {
			body.Config = map[string]any{}
		}
		made, err := opts.config.complete(c, body.Config)
		if err != nil {
			return err
		}
		body.Name, body.Kind, body.TenantID = name, kind, s.tenantID
		if opts.disabled {
			body.Enabled = new(bool)
		}
		item, err := s.Channels().Create(ctx, body)
		if err != nil {
			return err
		}
		if err := printItem(s.out, channelView, item); err != nil || made == "" {
			return err
		}
		s.err.printf("signing secret, shown this once: %s\n", made)
		return s.err.err
	})
	opts.addFlags(c)
	c.Flags().StringVar(&kind, "kind", "", "email, webhook, slack, telegram or ping")
	c.Flags().BoolVar(&opts.disabled, "disabled", false, "tell nobody yet")
	mustComplete(c, "kind", cobra.FixedCompletions([]string{"email", "webhook", "slack", "telegram", "ping"}, cobra.ShellCompDirectiveNoFileComp))
	return c
}

func newChannelEditCommand() *cobra.Command {
	var opts channelOptions
	var enable bool
	c := &cobra.Command{
		Use: "edit CHANNEL", Aliases: []string{"set", "update"}, Short: "Change a channel", Args: cobra.ExactArgs(1),
		Long: `Changes what is given and leaves the rest, secrets included. A list, as of --event,
replaces the whole list; --event "" and --source "" stand for the usual ones and
for all.`,
		Example: `  xvault notify channel edit ops --to ops@example.com --to boss@example.com
  xvault notify channel edit ops --disable`,
		ValidArgsFunction: opts.completion(channels),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		id, err := s.resolve(ctx, "channel", channels, args[0])
		if err != nil {
			return err
		}
		body, err := opts.body(ctx, c, s)
		if err != nil {
			return err
		}
		body.Name = opts.name.name
		if enable || opts.disabled {
			body.Enabled = &enable
		}
		item, err := s.Channels().Patch(ctx, id, body)
		if err != nil {
			return err
		}
		return printItem(s.out, channelView, item)
	})
	opts.addFlags(c)
	c.Flags().BoolVar(&enable, "enable", false, "send again")
	c.Flags().BoolVar(&opts.disabled, "disable", false, "send no more, and give up what was not sent")
	c.MarkFlagsMutuallyExclusive("enable", "disable")
	return c
}

func newChannelTestCommand() *cobra.Command {
	var opts clientOptions
	c := &cobra.Command{
		Use: "test CHANNEL", Short: "Send a test message now", Args: cobra.ExactArgs(1),
		Long:              "Sends a test message through a channel, and says whether the receiver took it.",
		ValidArgsFunction: opts.completion(channels),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolve(ctx, "channel", channels, args[0])
			if err != nil {
				return err
			}
			test, err := s.TestChannel(ctx, id)
			if err != nil {
				return err
			}
			if s.out.json {
				if err := s.out.object(test); err != nil {
					return err
				}
			}
			if !test.Sent {
				return errors.New("the test message was not taken: " + test.Error)
			}
			if !s.out.json {
				s.out.printf("the receiver took the test message\n")
			}
			return s.out.err
		}),
	}
	opts.addFlags(c)
	return c
}
