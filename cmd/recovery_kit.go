package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"xvault/internal/apiclient"
)

// recoveryKit is an identity file as age reads it, with what a person needs to
// know in comments. It takes tenant name, tenant id, date, public key, identity.
const recoveryKit = `# xVault recovery kit
#
# tenant:     %s
# tenant id:  %s
# exported:   %s
# public key: %s
#
# The key below opens every backup of this tenant, with no xVault and no hub.
# Whoever has it can read them all: keep it offline, as you keep a spare key to
# the house, and keep more than one copy. Nobody can make it again.
#
# A backup is one file, backup.tar.zst.enc. With the tools age, zstd and tar,
# which every Linux distribution has:
#
#   age -d -i THIS-FILE backup.tar.zst.enc | zstd -d | tar -x
#
# or, with xVault's program but without a hub:
#
#   xvault snapshot open backup.tar.zst.enc --identity THIS-FILE
#
%s
`

func newTenantExportKeyCommand() *cobra.Command {
	var opts clientOptions
	var path string
	c := &cobra.Command{
		Use: "export-key TENANT", Short: "Write a tenant's recovery kit", Args: cobra.ExactArgs(1),
		Long: `Writes the tenant's recovery kit: the key that opens its backups with stock tools
and no hub, in a file that only you can read, or to standard output where that
is a file or a pipe. The hub notes who exported it.`,
		Example: `  xvault tenant export-key acme
  xvault tenant export-key acme | gpg -e -r me > acme.gpg
  xvault tenant export-key acme --file /media/usb/acme.txt
  age -d -i acme.txt backup.tar.zst.enc | zstd -d | tar -x`,
		ValidArgsFunction: opts.completion(tenants),
		RunE: opts.run(func(ctx context.Context, s *session, args []string) error {
			return exportKey(ctx, s, args[0], path)
		}),
	}
	opts.addFlags(c)
	c.Flags().StringVarP(&path, "file", "f", "", `where to write it (default: xvault-recovery-ID.txt on a terminal, else "-", standard output)`)
	return c
}

func exportKey(ctx context.Context, s *session, word, path string) error {
	id, err := s.resolveTenant(ctx, word)
	if err != nil {
		return err
	}
	tenant, err := s.Tenants().Get(ctx, id)
	if err != nil {
		return err
	}
	if path == "" {
		path = s.kitPath(id)
	}
	if path == "-" && s.out.json {
		return printKey(ctx, s, id)
	}
	// The file first: a key that cannot be kept must not be asked for.
	w, err := createPrivate(s, path)
	if err != nil {
		return err
	}
	key, err := s.ExportKey(ctx, id)
	if err == nil {
		err = writeKit(w, tenant.Value, key)
	}
	if err = errors.Join(err, w.Close()); err != nil {
		if path != "-" {
			err = errors.Join(err, os.Remove(path))
		}
		return err
	}
	if path == "-" {
		return nil
	}
	if s.out.json {
		return s.out.object(map[string]string{"file": path, "tenant_id": id, "public_key": key.PublicKey})
	}
	s.out.printf("wrote %s\nKeep it offline and in more than one place: it opens every backup of this tenant.\n", printable(path))
	return s.out.err
}

// kitPath is a file of the tenant's, where a key on standard output would end up
// on the screen.
func (s *session) kitPath(tenantID string) string {
	f, ok := s.out.w.(*os.File)
	if s.out.json || ok && !term.IsTerminal(int(f.Fd())) {
		return "-"
	}
	return "xvault-recovery-" + tenantID + ".txt"
}

// printKey is for programs: the key itself, and no words about it.
func printKey(ctx context.Context, s *session, id string) error {
	key, err := s.ExportKey(ctx, id)
	if err != nil {
		return err
	}
	return s.out.object(map[string]string{"tenant_id": id, "public_key": key.PublicKey, "identity": key.Identity.Reveal()})
}

func writeKit(w io.Writer, tenant apiclient.Tenant, key apiclient.RecoveryKey) error {
	_, err := fmt.Fprintf(w, recoveryKit, printable(tenant.Name), tenant.ID, time.Now().UTC().Format(time.RFC3339),
		key.PublicKey, strings.TrimSpace(key.Identity.Reveal()))
	if err != nil {
		return fmt.Errorf("write recovery kit: %w", err)
	}
	if f, ok := w.(*os.File); ok {
		return f.Sync()
	}
	return nil
}

// createPrivate makes a file that only its owner reads, and replaces none.
func createPrivate(s *session, path string) (io.WriteCloser, error) {
	if path == "-" {
		return nopCloser{s.out.w}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return nil, usagef("%s exists and is left as it is: name another file with --file", path)
	}
	if err != nil {
		return nil, fmt.Errorf("make recovery kit: %w", err)
	}
	return f, nil
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }
