package cmd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
	"xvault/internal/secret"
)

const defaultServer = "http://127.0.0.1:8080"

const clientTopicText = `The client commands talk to a hub. Which one, and as whom, they take from flags
or from the environment:

  --server URL          XVAULT_SERVER         where the hub is (` + defaultServer + `)
  --key-file FILE       XVAULT_KEY_FILE       a file that holds the key
  --key KEY             XVAULT_KEY            the key itself; on a command line others can see it
  --tenant TENANT       XVAULT_TENANT         with the operator's key: whose objects
  --output table|json   XVAULT_OUTPUT         tables for people, JSON for programs
  --allow-plain-http    XVAULT_ALLOW_PLAIN_HTTP=true
                                              send the key in clear over a network

Wherever a command takes an object, it takes its id, the start of its id, or its
name, as long as that means exactly one.`

func newClientTopic() *cobra.Command {
	return &cobra.Command{Use: "client", Short: "Settings of the commands that talk to a hub", Long: clientTopicText}
}

// clientOptions are the flags of every command that talks to a hub.
type clientOptions struct {
	server, key, keyFile string
	tenant, output       string
	allowPlainHTTP       bool
}

// addFlags registers them for one command.
func (o *clientOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.server, "server", "", "the hub's address (XVAULT_SERVER; default "+defaultServer+")")
	f.StringVar(&o.key, "key", "", "the API key (XVAULT_KEY); others on this machine can see it here")
	f.StringVar(&o.keyFile, "key-file", "", "a file that holds the API key (XVAULT_KEY_FILE)")
	f.StringVar(&o.tenant, "tenant", "", "whose objects, with the operator's key (XVAULT_TENANT)")
	f.StringVarP(&o.output, "output", "o", "", "table or json (XVAULT_OUTPUT; default table)")
	f.BoolVar(&o.allowPlainHTTP, "allow-plain-http", false, "send the key in clear over a network (XVAULT_ALLOW_PLAIN_HTTP)")
	mustComplete(c, "output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	mustComplete(c, "tenant", o.completeTenants)
}

// mustComplete registers a flag's completion; only a misspelled flag can fail.
func mustComplete(c *cobra.Command, flag string, fn cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, fn); err != nil {
		panic(err)
	}
}

// settle fills what no flag said from the environment.
func (o *clientOptions) settle() error {
	o.server = first(o.server, os.Getenv("XVAULT_SERVER"), defaultServer)
	o.tenant = first(o.tenant, os.Getenv("XVAULT_TENANT"))
	o.output = first(o.output, os.Getenv("XVAULT_OUTPUT"), "table")
	if o.output != "table" && o.output != "json" {
		return usagef("--output is %q: it can be table or json", o.output)
	}
	switch v := os.Getenv("XVAULT_ALLOW_PLAIN_HTTP"); v {
	case "", "0", "false":
	case "1", "true":
		o.allowPlainHTTP = true
	default:
		return usagef("XVAULT_ALLOW_PLAIN_HTTP is %q: it can be true or false", v)
	}
	return nil
}

// readKey takes the key from where the nearest setting says it is: flags before
// the environment.
func (o *clientOptions) readKey() (secret.Text, error) {
	if o.key != "" && o.keyFile != "" {
		return secret.Text{}, usagef("--key and --key-file are both given")
	}
	key, file := o.key, o.keyFile
	if key == "" && file == "" {
		key, file = os.Getenv("XVAULT_KEY"), os.Getenv("XVAULT_KEY_FILE")
		if key != "" && file != "" {
			return secret.Text{}, usagef("XVAULT_KEY and XVAULT_KEY_FILE are both set")
		}
	}
	switch {
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return secret.Text{}, fmt.Errorf("read the key: %w", err)
		}
		key = string(b)
	case key == "":
		return secret.Text{}, errNoKey
	}
	key = strings.TrimSpace(key)
	if key == "" {
		return secret.Text{}, usagef("the key is empty")
	}
	return secret.New(key), nil
}

// session is one command's talk with a hub.
type session struct {
	*apiclient.Client
	opts *clientOptions
	out  *printer
	err  *printer // for what is not the result: progress, hints
	// tenantID is the tenant that --tenant names, as an id; empty without it.
	tenantID string
}

// run wraps what a command does: it opens the session and closes it.
func (o *clientOptions) run(do func(ctx context.Context, s *session, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		s, err := o.open(c)
		if err != nil {
			return err
		}
		defer s.Close()
		if o.tenant != "" {
			if s.tenantID, err = s.resolveTenant(c.Context(), o.tenant); err != nil {
				return err
			}
		}
		return do(c.Context(), s, args)
	}
}

func (o *clientOptions) open(c *cobra.Command) (*session, error) {
	if err := o.settle(); err != nil {
		return nil, err
	}
	key, err := o.readKey()
	if err != nil {
		return nil, err
	}
	client, err := apiclient.New(apiclient.Config{
		Server: o.server, Key: key, AllowPlainHTTP: o.allowPlainHTTP, UserAgent: "xvault/" + buildVersion(),
	})
	if err != nil {
		return nil, &usageError{err}
	}
	return &session{
		Client: client, opts: o,
		out: &printer{w: c.OutOrStdout(), json: o.output == "json"},
		err: &printer{w: c.ErrOrStderr()},
	}, nil
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
