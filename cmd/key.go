package cmd

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var keyView = view[apiclient.APIKey]{
	heading: []string{"ID", "NAME", "TENANT", "LAST USED", "EXPIRES", "CREATED"},
	row: func(k apiclient.APIKey) []string {
		return []string{k.ID, k.Name, first(k.TenantID, "(operator)"), whenMaybe(k.LastUsedAt), whenMaybe(k.ExpiresAt), when(k.CreatedAt)}
	},
	fields: func(k apiclient.APIKey) []string {
		return []string{
			"id", k.ID, "name", k.Name, "tenant", first(k.TenantID, "(operator)"), "created", when(k.CreatedAt),
			"expires", whenMaybe(k.ExpiresAt), "key", k.Key.Reveal(),
		}
	},
}

func newKeyCommand() *cobra.Command {
	resource := (*apiclient.Client).APIKeys
	return noun("key", "API keys", `An API key lets a person or a program use the hub: a tenant's key sees that tenant
alone, an operator's key sees everything.`,
		newKeyCreateCommand(),
		listCommand("List API keys", resource, keyView),
		removeCommand("key", keys, resource, "Revoke an API key, at once"),
	)
}

func newKeyCreateCommand() *cobra.Command {
	var opts clientOptions
	var name nameOptions
	var expires string
	c := &cobra.Command{
		Use: "create NAME", Short: "Make an API key; it is shown this once", Args: cobra.MaximumNArgs(1),
		Long: `Makes an API key. With --tenant it is that tenant's; without, as the operator, it
is one more operator's key. The key is shown this once.`,
		Example: `  xvault key create "nightly script" --tenant acme --expires 90d
  xvault key create ci --tenant acme -o json | jq -r .key`,
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			body := struct {
				TenantID  string     `json:"tenant_id,omitempty"`
				Name      string     `json:"name"`
				ExpiresAt *time.Time `json:"expires_at,omitempty"`
			}{TenantID: s.tenantID}
			var err error
			if body.Name, err = name.required(args); err != nil {
				return err
			}
			if body.ExpiresAt, err = parseExpiry(expires, time.Now()); err != nil {
				return err
			}
			item, err := s.APIKeys().Create(ctx, body)
			if err != nil {
				return err
			}
			return printItem(s.out, keyView, item)
		}),
	}
	opts.addFlags(c)
	name.addFlags(c)
	c.Flags().StringVar(&expires, "expires", "", "after how long (90d, 12h) or when (2030-01-31, RFC 3339)")
	return c
}

// parseExpiry reads a span or a moment; empty means never.
func parseExpiry(s string, now time.Time) (*time.Time, error) {
	if s == "" {
		return nil, nil
	}
	var days int
	if n, err := fmt.Sscanf(s, "%dd", &days); err == nil && n == 1 && s == fmt.Sprintf("%dd", days) && days > 0 {
		at := now.AddDate(0, 0, days)
		return &at, nil
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		at := now.Add(d)
		return &at, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.ParseInLocation(layout, s, now.Location()); err == nil {
			return &at, nil
		}
	}
	return nil, usagef("--expires is %q: say 90d, 12h, 2030-01-31 or a whole RFC 3339 time", s)
}
