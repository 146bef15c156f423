package cmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"xvault/archive"
	"xvault/archive/seal"
	"xvault/internal/heap"
	"xvault/internal/secret"
)

// snapshotOpenOptions are the flags of "snapshot open".
type snapshotOpenOptions struct {
	identity  string
	list      bool
	check     bool
	extract   string
	keepSetID bool
	noOwner   bool
	output    string
}

func newSnapshotOpenCommand() *cobra.Command {
	var opts snapshotOpenOptions
	c := &cobra.Command{
		Use:   "open FILE [PATH...]",
		Short: "List, check or extract a backup, with no hub",
		Long: `Opens a backup with the tenant's key, as "xvault tenant export-key" wrote it. No
hub is needed. FILE is the artifact, backup.tar.zst.enc, or the snapshot's folder.

Without another flag it lists what is in the backup. PATH limits listing and
extracting to that path and all below it; it may begin with a slash, as on the
source. Extracting writes over nothing, follows no symbolic link and makes
nothing outside of the folder given; as root it restores owners by number. Of
extended attributes it restores the users' own ("user."), and says so where it
cannot.

It fails if anything is wrong. --check and --extract fail as well where the backup
itself says that something could not be read at the source; a listing marks it.`,
		Example: `  xvault snapshot open backup.tar.zst.enc --identity kit.txt
  xvault snapshot open backup.tar.zst.enc --identity kit.txt --check
  xvault snapshot open backup.tar.zst.enc --identity kit.txt --extract restored /etc /home/web`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := opts.settle(args[1:]); err != nil {
				return err
			}
			heap.ForArchives()
			return runSnapshotOpen(c.Context(), c, opts, args[0], args[1:])
		},
	}
	opts.addFlags(c)
	return c
}

func (o *snapshotOpenOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVarP(&o.identity, "identity", "i", "", `the recovery kit or another age key file ("-": standard input)`)
	f.BoolVar(&o.list, "list", false, "list what is in the backup (default)")
	f.BoolVar(&o.check, "check", false, "read all of it and prove that it can be restored")
	f.StringVar(&o.extract, "extract", "", "restore into this folder")
	f.BoolVar(&o.keepSetID, "keep-setid", false, "with --extract: restore set-user-ID and set-group-ID bits")
	f.BoolVar(&o.noOwner, "no-owner", false, "with --extract: leave owners alone, also as root")
	f.StringVarP(&o.output, "output", "o", "", "table or json (XVAULT_OUTPUT; default table)")
	mustComplete(c, "output", cobra.FixedCompletions([]string{"table", "json"}, cobra.ShellCompDirectiveNoFileComp))
	c.MarkFlagsMutuallyExclusive("list", "check", "extract")
}

// settle refuses what does not go together.
func (o *snapshotOpenOptions) settle(paths []string) error {
	o.output = first(o.output, os.Getenv("XVAULT_OUTPUT"), "table")
	switch {
	case o.output != "table" && o.output != "json":
		return usagef("--output is %q: it can be table or json", o.output)
	case o.identity == "":
		return usagef("say with --identity which key opens the backup")
	case o.check && len(paths) > 0:
		return usagef("--check reads the whole backup and takes no PATH")
	case o.extract == "" && (o.keepSetID || o.noOwner):
		return usagef("--keep-setid and --no-owner go with --extract")
	}
	return nil
}

func runSnapshotOpen(ctx context.Context, c *cobra.Command, o snapshotOpenOptions, file string, paths []string) (err error) {
	identities, err := readIdentities(c.InOrStdin(), o.identity)
	if err != nil {
		return err
	}
	b, err := openBackup(file, identities)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	for i := range paths {
		paths[i] = archive.CleanPath(paths[i])
	}
	out := bufio.NewWriter(c.OutOrStdout())
	defer func() { err = errors.Join(err, out.Flush()) }()
	p := &printer{w: out, json: o.output == "json"}
	switch {
	case o.check:
		return b.check(ctx, p, newProgress(c.ErrOrStderr()))
	case o.extract != "":
		return b.extract(ctx, p, newProgress(c.ErrOrStderr()), o, paths)
	default:
		return b.list(ctx, p, paths)
	}
}

func readIdentities(stdin io.Reader, path string) (identities []secret.Text, err error) {
	in := stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("read the key: %w", err)
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		in = f
	}
	identities, err = seal.ParseIdentities(in)
	if err != nil {
		return nil, fmt.Errorf("read the key from %s: %w", printable(path), err)
	}
	return identities, nil
}

// backup is an opened artifact.
type backup struct {
	*archive.Reader
	file *os.File
	// manifest is what stands beside the artifact; nil if only the artifact
	// itself was named.
	manifest *archive.Manifest
}

func (b *backup) Close() error { return b.file.Close() }

// openBackup opens an artifact, or the one in a snapshot's folder.
func openBackup(path string, identities []secret.Text) (_ *backup, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	b := &backup{}
	if info.IsDir() {
		if b.manifest, err = readManifest(path); err != nil {
			return nil, err
		}
		path = filepath.Join(path, archive.ArtifactName)
	}
	if b.file, err = os.Open(path); err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.Close())
		}
	}()
	if info, err = b.file.Stat(); err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("open backup: %s is not a file: what is in it is read from its end first", printable(path))
	}
	b.Reader, err = archive.Open(b.file, info.Size(), identities...)
	if err != nil {
		return nil, b.openError(path, info.Size(), identities, err)
	}
	return b, nil
}

func readManifest(dir string) (*archive.Manifest, error) {
	raw, err := os.ReadFile(filepath.Join(dir, archive.ManifestName))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s is not the folder of a snapshot: it has no %s", printable(dir), archive.ManifestName)
	}
	if err != nil {
		return nil, fmt.Errorf("open backup: %w", err)
	}
	m, err := archive.DecodeManifest(raw)
	if err != nil {
		return nil, fmt.Errorf("open backup in %s: %w", printable(dir), err)
	}
	return m, nil
}

// openError says what it means that an artifact does not open, and what to do.
func (b *backup) openError(path string, size int64, identities []secret.Text, err error) error {
	name := printable(path)
	switch {
	case errors.Is(err, seal.ErrNotSealed):
		return fmt.Errorf("%s is not a backup of xVault: it does not begin as a sealed file does", name)
	case errors.Is(err, seal.ErrWrongIdentity):
		return fmt.Errorf("%s does not open with this key (%s): it was sealed to another tenant's%s, or its first bytes are damaged",
			name, recipients(identities), b.sealedTo())
	case b.manifest != nil && size != b.manifest.Artifact.SizeBytes:
		return fmt.Errorf("%s has %d bytes where its manifest says %d: it is damaged or cut short: %w",
			name, size, b.manifest.Artifact.SizeBytes, err)
	case errors.Is(err, seal.ErrCorrupt), errors.Is(err, archive.ErrCorrupt):
		return fmt.Errorf("%s is damaged or cut short: %w", name, err)
	}
	return fmt.Errorf("open %s: %w", name, err)
}

// sealedTo names the key that would open the backup, where the manifest tells.
func (b *backup) sealedTo() string {
	if b.manifest == nil {
		return ""
	}
	return fmt.Sprintf(" (%s)", b.manifest.Encryption.Recipients[0])
}

func recipients(identities []secret.Text) string {
	var names []string
	for _, identity := range identities {
		if r, err := seal.Recipient(identity); err == nil {
			names = append(names, r)
		}
	}
	return strings.Join(names, ", ")
}
