package cmd

import (
	"context"
	"crypto/rand"
	"encoding/base64"

	"github.com/spf13/cobra"
)

// channelBody is the body of a channel; what is not said is not sent.
type channelBody struct {
	TenantID  string         `json:"tenant_id,omitempty"`
	Kind      string         `json:"kind,omitempty"`
	Name      string         `json:"name,omitempty"`
	Config    map[string]any `json:"config,omitempty"` // with secrets: only ever encoded to be sent
	Events    *[]string      `json:"events,omitempty"`
	SourceIDs *[]string      `json:"source_ids,omitempty"`
	Enabled   *bool          `json:"enabled,omitempty"`
}

// channelOptions are the flags that make or change a channel.
type channelOptions struct {
	clientOptions
	name            nameOptions
	config          channelConfig
	events, sources []string
	disabled        bool
}

func (o *channelOptions) addFlags(c *cobra.Command) {
	o.clientOptions.addFlags(c)
	o.name.addFlags(c)
	o.config.addFlags(c)
	f := c.Flags()
	f.StringArrayVar(&o.events, "event", nil, "an event to tell of; may be repeated (usual: all but backup_succeeded)")
	f.StringArrayVar(&o.sources, "source", nil, "a source to tell of; may be repeated (usual: all)")
	mustComplete(c, "event", cobra.FixedCompletions([]string{
		"job_failed", "snapshot_suspicious", "snapshot_corrupt", "slot_missed", "slot_skipped", "max_age_exceeded", "worker_offline",
		"storage_nearly_full", "recovered", "max_age_ok", "worker_back", "storage_ok", "backup_succeeded",
	}, cobra.ShellCompDirectiveNoFileComp))
	mustComplete(c, "source", o.flagCompletion(sources))
}

func (o *channelOptions) body(ctx context.Context, c *cobra.Command, s *session) (channelBody, error) {
	var body channelBody
	var err error
	if body.Config, err = o.config.fields(c); err != nil {
		return body, err
	}
	if c.Flags().Changed("event") {
		events := notEmpty(o.events)
		body.Events = &events
	}
	if c.Flags().Changed("source") {
		ids := []string{}
		for _, word := range notEmpty(o.sources) {
			id, err := s.resolve(ctx, "source", sources, word)
			if err != nil {
				return body, err
			}
			ids = append(ids, id)
		}
		body.SourceIDs = &ids
	}
	return body, nil
}

func notEmpty(words []string) []string {
	kept := []string{}
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return kept
}

// channelConfig are the flags of a channel's configuration. Only what is said is
// sent: defaults and checks are the hub's.
type channelConfig struct {
	kind                                       string
	host, tls, username, from, chat, api       string
	port                                       int
	to                                         []string
	passwordFile, urlFile, secretFile, botFile string
}

func (o *channelConfig) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.host, "host", "", "email: the mail server")
	f.IntVar(&o.port, "port", 0, "email: its port (usual: 587, or 465 with implicit TLS)")
	f.StringVar(&o.tls, "tls", "", "email: explicit (STARTTLS; usual), implicit, or none")
	f.StringVar(&o.username, "username", "", "email: who to log in as")
	f.StringVar(&o.passwordFile, "password-file", "", `email: file with the password ("-": standard input)`)
	f.StringVar(&o.from, "from", "", "email: the sender")
	f.StringArrayVar(&o.to, "to", nil, "email: a recipient; may be repeated")
	f.StringVar(&o.urlFile, "url-file", "", `webhook, slack, ping: file with the address ("-": standard input)`)
	f.StringVar(&o.secretFile, "secret-file", "", `webhook: file with the signing secret, "whsec_..."`)
	f.StringVar(&o.botFile, "token-file", "", "telegram: file with the bot's token")
	f.StringVar(&o.chat, "chat", "", "telegram: the chat's number, or @channel")
	f.StringVar(&o.api, "api-url", "", "telegram: a Bot API server of your own")
	mustComplete(c, "tls", cobra.FixedCompletions([]string{"explicit", "implicit", "none"}, cobra.ShellCompDirectiveNoFileComp))
}

// fields gives what was said; nil: nothing.
func (o *channelConfig) fields(c *cobra.Command) (map[string]any, error) {
	fields := map[string]any{}
	for flag, value := range map[string]any{
		"host": o.host, "port": o.port, "tls": o.tls, "username": o.username, "from": o.from, "to": o.to, "chat": o.chat, "api-url": o.api,
	} {
		if c.Flags().Changed(flag) {
			fields[configName(flag)] = value
		}
	}
	for field, file := range map[string]string{"password": o.passwordFile, "url": o.urlFile, "secret": o.secretFile, "token": o.botFile} {
		if file == "" {
			continue
		}
		value, err := readSecretFile(c, file)
		if err != nil {
			return nil, err
		}
		fields[field] = value.Reveal()
	}
	if len(fields) == 0 {
		return nil, nil
	}
	return fields, nil
}

func configName(flag string) string {
	switch flag {
	case "chat":
		return "chat_id"
	case "api-url":
		return "api_url"
	}
	return flag
}

// complete asks for secrets that a new channel needs and that no flag gave, and
// makes a webhook's signing secret, which it returns.
func (o *channelConfig) complete(c *cobra.Command, fields map[string]any) (made string, err error) {
	ask := func(field, question string) error {
		if _, ok := fields[field]; ok {
			return nil
		}
		typed, err := prompt(c, question)
		if err == nil {
			fields[field] = typed.Reveal()
		}
		return err
	}
	switch o.kind {
	case "email":
		if _, ok := fields["username"]; ok {
			err = ask("password", "Password of the mail server: ")
		}
	case "telegram":
		err = ask("token", "Token of the bot: ")
	case "slack", "ping":
		err = ask("url", "Address: ")
	case "webhook":
		if err = ask("url", "Address: "); err != nil {
			return "", err
		}
		if _, ok := fields["secret"]; !ok {
			key := make([]byte, 32)
			_, _ = rand.Read(key) // it never fails
			made = "whsec_" + base64.StdEncoding.EncodeToString(key)
			fields["secret"] = made
		}
	}
	return made, err
}
