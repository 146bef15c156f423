package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"xvault/archive"
	"xvault/internal/apiclient"
	"xvault/internal/job"
)

// restoreOptions are the flags of "restore" beside those of every client.
type restoreOptions struct {
	clientOptions
	to        string
	file      string
	format    string
	keepSetID bool
	noOwner   bool
	sourceRestoreOptions
}

func newRestoreCommand() *cobra.Command {
	var opts restoreOptions
	c := &cobra.Command{
		Use:   "restore SNAPSHOT [PATH...]",
		Short: "Get files back out of a snapshot",
		Long: `Fetches a snapshot, or chosen paths of it, from the worker that holds it. PATH is
absolute, as on the source; all that is below it comes along.

With --to the files are put into a folder, under their whole paths. Nothing there
is written over, no symbolic link is followed, and nothing is made outside of the
folder; as root owners are restored by number. With --file the download is kept
as one file ("-": standard output). With neither, the address is printed at which
anyone can fetch it until it expires; "xvault job cancel" revokes it.

With --to-source the worker writes the files back to the server itself: into their
original places, or under --target-path (/srv/www/a comes to /restore/srv/www/a
under /restore), or to another server with --target-source. Each file is written
beside its place and renamed when it is whole. Files that are there stay, unless
--existing says overwrite or newer, which needs --yes. A database's dump is loaded
into a new database, and a WordPress site comes to a new folder and a new database,
ready to run; --url has it answer under another address.

A connection that breaks is taken up again where it broke (not with zip). Every
file is checked against its hash at the worker while it is sent; a transfer in
which anything is wrong is never ended as if it were whole.`,
		Example: `  xvault restore 0198c0de --to restored
  xvault restore 0198c0de /etc /home/web/index.html --to restored
  xvault restore 0198c0de /home/web --file web.zip --format zip
  xvault restore 0198c0de /etc/passwd --file - --format file
  xvault restore 0198c0de /home/web --to-source
  xvault restore 0198c0de /home/web --to-source --existing overwrite --yes
  xvault restore 0198c0de --to-source --target-source new-server --target-path /restore
  xvault restore 0198c0de --to-source --target-path /srv/www/new --url https://new.example`,
		Args: cobra.MinimumNArgs(1), ValidArgsFunction: opts.completion(snaps),
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		if err := opts.check(c); err != nil {
			return err
		}
		return opts.run(opts.restore)(c, args)
	}
	opts.clientOptions.addFlags(c)
	f := c.Flags()
	f.StringVar(&opts.to, "to", "", "restore into this folder")
	f.StringVar(&opts.file, "file", "", `keep the download as this file ("-": standard output)`)
	f.StringVar(&opts.format, "format", "tar", "of the download: tar, tar.zst, zip, or file for the content of one file")
	f.BoolVar(&opts.keepSetID, "keep-setid", false, "with --to: restore set-user-ID and set-group-ID bits")
	f.BoolVar(&opts.noOwner, "no-owner", false, "with --to: leave owners alone, also as root")
	opts.sourceRestoreOptions.addFlags(c, &opts.clientOptions)
	mustComplete(c, "format", cobra.FixedCompletions([]string{"tar", "tar.zst", "zip", "file"}, cobra.ShellCompDirectiveNoFileComp))
	c.MarkFlagsMutuallyExclusive("to", "file")
	c.MarkFlagsMutuallyExclusive("to", "format")
	return c
}

func (o *restoreOptions) check(c *cobra.Command) error {
	if err := o.sourceRestoreOptions.check(c); err != nil {
		return err
	}
	switch {
	case !job.RestoreFormat(o.format).Valid():
		return usagef("--format is %q: it can be tar, tar.zst, zip or file", o.format)
	case o.to == "" && (o.keepSetID || o.noOwner):
		return usagef("--keep-setid and --no-owner go with --to")
	case o.to == "" && c.Flags().Changed("to"):
		return usagef("--to names no folder")
	case o.file == "" || o.file == "-":
		return nil
	}
	if _, err := os.Lstat(o.file); err == nil {
		return usagef("--file: %s is there already", printable(o.file))
	}
	return nil
}

func (o *restoreOptions) restore(ctx context.Context, s *session, args []string) error {
	id, err := s.resolve(ctx, "snapshot", snaps, args[0])
	if err != nil {
		return err
	}
	if o.toSource {
		return o.sourceRestoreOptions.restore(ctx, s, id, args[1:])
	}
	item, err := s.Restore(ctx, id, requestFor(args[1:], o.format))
	if err != nil {
		return err
	}
	ended, err := s.wait(ctx, item)
	if err != nil {
		return err
	}
	if ended.Value.Status != job.Completed {
		return &jobFailedError{ended.Value}
	}
	d, err := ended.Value.Download()
	if err != nil {
		return err
	}
	if d.URL == "" {
		return fmt.Errorf("restore %s is done, but its worker cannot be reached any more or its download was revoked", ended.Value.ID)
	}
	if o.to == "" && o.file == "" {
		return showDownload(ctx, s, ended)
	}
	return o.fetch(ctx, s, d)
}

// requestFor tells paths that are not UTF-8 by their bytes.
func requestFor(paths []string, format string) apiclient.NewRestore {
	r := apiclient.NewRestore{Format: format}
	for _, path := range paths {
		if utf8.ValidString(path) {
			r.Paths = append(r.Paths, path)
		} else {
			r.PathsBase64 = append(r.PathsBase64, []byte(path))
		}
	}
	return r
}

// showRestored tells of the download of a restore that was waited for.
func showRestored(ctx context.Context, s *session, j apiclient.Job) error {
	if j.Status != job.Completed {
		return nil
	}
	if w, err := j.Written(); err != nil || w != nil {
		return errors.Join(err, showWritten(ctx, s, j))
	}
	d, err := j.Download()
	if err != nil || d.URL == "" {
		return err
	}
	pairs := []string{"job", j.ID, "files", count(d.Files), "content", size(d.Bytes), "expires", when(d.ExpiresAt), "download", d.URL}
	if d.Errors > 0 {
		pairs = append(pairs, "not whole", count(d.Errors)+" entries, as the backup is partial")
	}
	return s.out.fields(pairs...)
}

func showDownload(ctx context.Context, s *session, ended apiclient.Item[apiclient.Job]) error {
	if s.out.json {
		return s.out.object(ended)
	}
	return showRestored(ctx, s, ended.Value)
}

func (o *restoreOptions) fetch(ctx context.Context, s *session, d apiclient.Download) (err error) {
	fetcher := &apiclient.Fetcher{AllowPlainHTTP: o.allowPlainHTTP, UserAgent: "xvault/" + buildVersion()}
	stream, err := fetcher.Open(ctx, d.URL)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stream.Close()) }()
	show := newProgress(s.err.w)
	defer show.done()
	in := &metered{r: stream, show: show, total: stream.Size}
	began := time.Now()
	if o.to != "" {
		return o.extract(ctx, s, in, d, began)
	}
	if err := o.keep(s, in); err != nil {
		return err
	}
	show.done()
	if o.file != "-" {
		s.err.printf("%s: %s in %s\n", printable(o.file), size(in.n), took(time.Since(began)))
	}
	s.tellLacking(d)
	return s.err.err
}

// tellLacking says what a restore that went well does not have.
func (s *session) tellLacking(d apiclient.Download) {
	if d.Errors > 0 {
		s.err.printf("%s entries could not be read whole when the backup was made: `xvault snapshot files` names them\n", count(d.Errors))
	}
}

// extract restores into the folder.
func (o *restoreOptions) extract(ctx context.Context, s *session, in *metered, d apiclient.Download, began time.Time) (err error) {
	if err := os.MkdirAll(o.to, 0o755); err != nil { //nolint:gosec // a folder of the user's own, as mkdir makes it
		return fmt.Errorf("make the folder: %w", err)
	}
	root, err := os.OpenRoot(o.to)
	if err != nil {
		return fmt.Errorf("open the folder: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	got, err := archive.ExtractTar(ctx, in, root, archive.ExtractOptions{KeepSetID: o.keepSetID, NoOwner: o.noOwner})
	in.show.done()
	if err != nil {
		return fmt.Errorf("restored %s files before it stopped: %w", count(got.Files), err)
	}
	if s.out.json {
		got.Errors = d.Errors // a tar does not tell
		return s.out.object(got)
	}
	s.err.printf("restored %s files, %s folders, %s links, %s in %s\n",
		count(got.Files), count(got.Dirs), count(got.Links), size(got.Bytes), took(time.Since(began)))
	s.tellLacking(d)
	return s.err.err
}

// keep writes the download to a file that is there only if it is whole.
func (o *restoreOptions) keep(s *session, in io.Reader) (err error) {
	if o.file == "-" {
		_, err := io.Copy(s.out.w, in)
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(o.file), "."+filepath.Base(o.file)+".*")
	if err != nil {
		return fmt.Errorf("keep the download: %w", err)
	}
	defer func() { err = errors.Join(err, os.Remove(temp.Name())) }()
	_, err = io.Copy(temp, in)
	if err == nil {
		err = temp.Sync()
	}
	if err = errors.Join(err, temp.Close()); err != nil {
		return fmt.Errorf("keep the download: %w", err)
	}
	// A link, unlike a rename, replaces nothing.
	if err := os.Link(temp.Name(), o.file); err != nil {
		return fmt.Errorf("keep the download: %w", err)
	}
	return nil
}

// metered shows how much of a download has arrived.
type metered struct {
	r        io.Reader
	show     *progress
	n, total int64
	last     time.Time
}

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.n += int64(n)
	if m.show.terminal && time.Since(m.last) > 200*time.Millisecond {
		m.last = time.Now()
		text := size(m.n)
		if m.total > 0 {
			text = fmt.Sprintf("%s of %s (%d %%)", text, size(m.total), 100*m.n/m.total)
		}
		m.show.redraw(fmt.Sprintf("%s  %s", took(time.Since(m.show.begin).Truncate(time.Second)), text))
	}
	return n, err
}
