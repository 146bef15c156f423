package cmd

import (
	"context"
	"net"
	"strings"

	"github.com/spf13/cobra"

	"xvault/connectors/sshconn"
	"xvault/internal/apiclient"
	"xvault/internal/job"
)

// keyOptions say for what a login is made.
type keyOptions struct {
	clientOptions
	name    nameOptions
	kind    string
	account string
	from    string
	tunnel  string
	shell   bool
}

// login is what was made: the hub has the secret, and the server is to be told.
type login struct {
	CredentialID string `json:"credential_id"`
	Name         string `json:"name"`
	// AuthorizedKeys is a line for authorized_keys; empty for a database.
	AuthorizedKeys string `json:"authorized_keys,omitempty"`
	// SQL is to be run by the database's administrator. It holds the password.
	SQL string `json:"sql,omitempty"`
	// where says what to do with it.
	where string
}

func newSourceKeyCommand() *cobra.Command {
	var opts keyOptions
	c := &cobra.Command{
		Use: "key NAME", Short: "Make a login that can read and do no more", Args: cobra.MaximumNArgs(1),
		Long: `Makes a login for backups, stores its secret as a credential of that name, and prints
what to tell the server, so that it lets the login read and do nothing else.

For servers reached over SSH it is a new key, and a line for authorized_keys. The
private half goes to the hub and nowhere else. For a database it is an account with a
new password, and the SQL that makes it; only there is the password shown, this once.

  sftp       may read files over SFTP
  ssh        the same; with --shell it may run programs, which is faster, and may write
  wordpress  the same as ssh, and may reach the site's database through the server
  mysql      an account that reads all databases; postgres: a role that does
  mysql, postgres with --shell: a key that may run the dump programs of the database's
             server, for ssh.credential_id with ssh.dump "remote" or "auto"
  --tunnel   a key that reaches this address from the server, and does nothing else:
             for ssh.credential_id of a database that only its own server can reach`,
		Example: `  xvault source key web1 --tenant acme
  xvault source key web1 --tenant acme --from 203.0.113.7     # from the workers' address only
  xvault source key shop-db --tenant acme --type mysql | ssh db1 sudo mariadb
  xvault source key jump1 --tenant acme --tunnel 127.0.0.1:5432`,
	}
	c.RunE = opts.run(func(ctx context.Context, s *session, args []string) error {
		name, err := opts.name.required(args)
		if err != nil {
			return err
		}
		made, err := opts.make(ctx, s, name)
		if err != nil {
			return err
		}
		return made.print(s)
	})
	opts.addFlags(c)
	opts.name.addFlags(c)
	f := c.Flags()
	f.StringVar(&opts.kind, "type", "sftp", "the type of the source: sftp, ssh, wordpress, mysql or postgres")
	f.StringVar(&opts.account, "username", "xvault", "the name of a database's account")
	f.StringVar(&opts.from, "from", "", "take the login from these addresses only: 203.0.113.7, 10.0.0.0/8")
	f.StringVar(&opts.tunnel, "tunnel", "", "make a key for a tunnel to this address, HOST:PORT as the server sees it")
	f.BoolVar(&opts.shell, "shell", false, "with --type ssh, wordpress, mysql or postgres: a key that may run programs")
	mustComplete(c, "type", cobra.FixedCompletions([]string{"sftp", "ssh", "wordpress", "mysql", "postgres"}, cobra.ShellCompDirectiveNoFileComp))
	c.MarkFlagsMutuallyExclusive("tunnel", "shell")
	return c
}

// make stores the secret and gives what the server is to be told. It refuses what it
// cannot write down safely before anything is stored.
func (o *keyOptions) make(ctx context.Context, s *session, name string) (login, error) {
	if strings.ContainsAny(o.from, "\"\\'\n\r \t") {
		return login{}, usagef("--from is %q: it takes addresses, networks and host patterns, separated by commas", o.from)
	}
	statements, database := accounts[o.kind]
	if o.shell && o.kind != "ssh" && o.kind != "wordpress" && !database {
		return login{}, usagef("--shell goes with --type ssh, wordpress, mysql or postgres")
	}
	if database && o.tunnel == "" && !o.shell {
		return o.newAccount(ctx, s, name, statements)
	}
	permit, where, err := o.permit()
	if err != nil {
		return login{}, err
	}
	private, public, err := sshconn.NewKey("xvault " + name)
	if err != nil {
		return login{}, err
	}
	line := permit.From(o.from).Line(public, "xvault")
	made := login{AuthorizedKeys: line, where: where}
	return made.store(ctx, s, name, job.Credential{Type: "private_key", PrivateKey: private})
}

// permit is what a key may do, and where its line belongs.
func (o *keyOptions) permit() (sshconn.Permit, string, error) {
	const (
		account = "Put the line into ~/.ssh/authorized_keys of the account that xVault logs in to."
		writes  = "\nThis key may run programs: it can write wherever that account can."
		between = "\nName the credential as ssh.credential_id in the source's configuration."
	)
	switch {
	case o.tunnel != "":
		host, port, err := net.SplitHostPort(o.tunnel)
		if err != nil || host == "" || port == "" || strings.ContainsAny(o.tunnel, "\"\\*, \t\r\n") {
			return nil, "", usagef("--tunnel is %q: it takes HOST:PORT", o.tunnel)
		}
		return sshconn.PermitTunnel(o.tunnel), account + between, nil
	case o.kind == "sftp", o.kind == "ssh" && !o.shell:
		return sshconn.PermitReading(), account, nil
	case o.kind == "wordpress" && o.shell:
		return sshconn.PermitSitePrograms(), account + writes, nil
	case o.kind == "wordpress":
		return sshconn.PermitSite(), account, nil
	case o.kind == "ssh":
		return sshconn.PermitPrograms(), account + writes, nil
	case o.shell:
		return sshconn.PermitPrograms(), account + between + writes, nil
	default:
		return nil, "", usagef("--type is %q: it can be sftp, ssh, wordpress, mysql or postgres", o.kind)
	}
}

// store gives the secret to the hub, and names the credential that holds it.
func (l login) store(ctx context.Context, s *session, name string, secret job.Credential) (login, error) {
	encoded, err := secret.Encode()
	if err != nil {
		return login{}, err
	}
	item, err := s.Credentials().Create(ctx, apiclient.NewCredential{TenantID: s.tenantID, Kind: "source", Name: name, Secret: encoded})
	if err != nil {
		return login{}, err
	}
	l.CredentialID, l.Name = item.Value.ID, item.Value.Name
	return l, nil
}

// print shows what is for the server alone on standard output.
func (l login) print(s *session) error {
	if s.out.json {
		return s.out.object(l)
	}
	s.err.printf("credential %s (%s) holds the secret.\n%s\n\n", printable(l.Name), l.CredentialID, l.where)
	s.out.printf("%s%s\n", l.AuthorizedKeys, l.SQL)
	return s.out.err
}
