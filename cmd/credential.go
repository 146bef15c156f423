package cmd

import (
	"context"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
)

var credentialView = view[apiclient.Credential]{
	heading: []string{"ID", "NAME", "TYPE", "CREATED"},
	row: func(c apiclient.Credential) []string {
		return []string{c.ID, c.Name, c.SecretType, when(c.CreatedAt)}
	},
	fields: func(c apiclient.Credential) []string {
		return []string{
			"id", c.ID, "name", c.Name, "tenant", c.TenantID, "kind", c.Kind, "type", c.SecretType,
			"created", when(c.CreatedAt), "updated", when(c.UpdatedAt),
		}
	},
}

func newCredentialCommand() *cobra.Command {
	return noun("credential", "Secrets for reaching sources", `A credential is a secret for reaching a source. The hub keeps it encrypted and
never shows it again; a worker gets it, sealed, for the length of a job.

`+secretHelp,
		newCredentialCreateCommand(),
		listCommand("List credentials", (*apiclient.Client).Credentials, credentialView),
		showCommand("credential", creds, (*apiclient.Client).Credentials, credentialView),
		newCredentialReplaceCommand(),
		removeCommand("credential", creds, (*apiclient.Client).Credentials, "Remove a credential that no source uses"),
	)
}

func newCredentialCreateCommand() *cobra.Command {
	var opts clientOptions
	var name nameOptions
	var from secretOptions
	c := &cobra.Command{
		Use: "create [NAME]", Short: "Store a secret", Args: cobra.MaximumNArgs(1), Long: secretHelp,
		Example: `  xvault credential create web1 --tenant acme --private-key-file ~/.ssh/backup_ed25519
  xvault credential create web2 --tenant acme                     # asks for a password
  pass show web3 | xvault credential create web3 --tenant acme --password-file -`,
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		body := apiclient.NewCredential{TenantID: s.tenantID, Kind: "source"}
		var err error
		if body.Name, err = name.get(args); err != nil {
			return err
		}
		if body.Secret, err = from.read(c); err != nil {
			return err
		}
		item, err := s.Credentials().Create(ctx, body)
		if err != nil {
			return err
		}
		return printItem(s.out, credentialView, item)
	})
	opts.addFlags(c)
	name.addFlags(c)
	from.addFlags(c)
	return c
}

func newCredentialReplaceCommand() *cobra.Command {
	var opts clientOptions
	var from secretOptions
	c := &cobra.Command{
		Use: "replace CREDENTIAL", Short: "Replace a credential's secret", Args: cobra.ExactArgs(1), Long: secretHelp,
		Example:           `  xvault credential replace web1 --private-key-file ~/.ssh/backup2_ed25519`,
		ValidArgsFunction: opts.completion(creds),
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		id, err := s.resolve(ctx, "credential", creds, args[0])
		if err != nil {
			return err
		}
		encoded, err := from.read(c)
		if err != nil {
			return err
		}
		if err := s.SetSecret(ctx, id, encoded); err != nil {
			return err
		}
		item, err := s.Credentials().Get(ctx, id)
		if err != nil {
			return err
		}
		return printItem(s.out, credentialView, item)
	})
	opts.addFlags(c)
	from.addFlags(c)
	return c
}
