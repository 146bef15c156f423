package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var tenantView = view[apiclient.Tenant]{
	heading: []string{"ID", "NAME", "PLAN", "CREATED"},
	row: func(t apiclient.Tenant) []string {
		return []string{t.ID, t.Name, t.Plan, when(t.CreatedAt)}
	},
	fields: func(t apiclient.Tenant) []string {
		return []string{"id", t.ID, "name", t.Name, "plan", t.Plan, "public key", t.PublicKey, "created", when(t.CreatedAt)}
	},
}

func newTenantCommand() *cobra.Command {
	return noun("tenant", "Customer accounts", `A tenant is one customer account: it owns sources, credentials, jobs and
snapshots, and everything of it is sealed to its own public key.`,
		newTenantCreateCommand(),
		listCommand("List tenants", (*apiclient.Client).Tenants, tenantView),
		showCommand("tenant", tenants, (*apiclient.Client).Tenants, tenantView),
		newTenantUpdateCommand(),
		removeCommand("tenant", tenants, (*apiclient.Client).Tenants, "Remove a tenant that has no snapshots"),
		newTenantExportKeyCommand(),
	)
}

// newTenant is the body of a tenant.
type newTenant struct {
	Name string `json:"name,omitempty"`
	Plan string `json:"plan,omitempty"`
}

func newTenantCreateCommand() *cobra.Command {
	var opts clientOptions
	var name nameOptions
	var body newTenant
	c := &cobra.Command{
		Use: "create NAME", Short: "Make a tenant and its key pair", Args: cobra.MaximumNArgs(1),
		Example: `  xvault tenant create "Acme GmbH"
  xvault tenant create acme -o json | jq -r .id`,
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			var err error
			if body.Name, err = name.required(args); err != nil {
				return err
			}
			item, err := s.Tenants().Create(ctx, body)
			if err != nil {
				return err
			}
			return printItem(s.out, tenantView, item)
		}),
	}
	opts.addFlags(c)
	name.addFlags(c)
	c.Flags().StringVar(&body.Plan, "plan", "", "the tenant's plan")
	return c
}

func newTenantUpdateCommand() *cobra.Command {
	var opts clientOptions
	var body newTenant
	c := &cobra.Command{
		Use: "update TENANT", Short: "Rename a tenant or change its plan", Args: cobra.ExactArgs(1),
		ValidArgsFunction: opts.completion(tenants),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			id, err := s.resolveTenant(ctx, args[0])
			if err != nil {
				return err
			}
			item, err := s.Tenants().Patch(ctx, id, body)
			if err != nil {
				return err
			}
			return printItem(s.out, tenantView, item)
		}),
	}
	opts.addFlags(c)
	c.Flags().StringVar(&body.Name, "name", "", "the new name")
	c.Flags().StringVar(&body.Plan, "plan", "", "the new plan")
	c.MarkFlagsOneRequired("name", "plan")
	return c
}
