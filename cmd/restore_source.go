package cmd

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"xvault/internal/apiclient"
	"xvault/internal/job"
)

// sourceRestoreOptions are the flags of "restore --to-source".
type sourceRestoreOptions struct {
	toSource     bool
	targetPath   string
	targetSource string
	existing     string
	url          string
	database     string
	yes          bool
}

var existingRules = []string{string(job.ExistingSkip), string(job.ExistingOverwrite), string(job.ExistingNewer)}

func (o *sourceRestoreOptions) addFlags(c *cobra.Command, client *clientOptions) {
	f := c.Flags()
	f.BoolVar(&o.toSource, "to-source", false, "write the files back to the source that they are of")
	f.StringVar(&o.targetPath, "target-path", "", "with --to-source: under this folder of the server, with whole paths, instead of the original places")
	f.StringVar(&o.targetSource, "target-source", "", "with --to-source: to this source instead, which may be another server")
	f.StringVar(&o.existing, "existing", string(job.ExistingSkip), "with --to-source: what becomes of files that are there: skip, overwrite, newer")
	f.StringVar(&o.url, "url", "", "with --to-source, of a WordPress site: the address that it moves to; every mention of the old one in its database is changed")
	f.StringVar(&o.database, "database", "", "with --to-source, of a WordPress site: load its dump into this database, an empty or new one")
	f.BoolVar(&o.yes, "yes", false, "yes, replace files (--existing overwrite and newer)")
	mustComplete(c, "existing", cobra.FixedCompletions(existingRules, cobra.ShellCompDirectiveNoFileComp))
	mustComplete(c, "target-source", client.completion(sources))
	for _, flag := range []string{"target-path", "url", "database"} {
		mustComplete(c, flag, cobra.NoFileCompletions)
	}
	for _, other := range []string{"to", "file", "format", "keep-setid", "no-owner"} {
		c.MarkFlagsMutuallyExclusive("to-source", other)
	}
}

func (o *sourceRestoreOptions) check(c *cobra.Command) error {
	if !o.toSource {
		for _, flag := range []string{"target-path", "target-source", "existing", "url", "database", "yes"} {
			if c.Flags().Changed(flag) {
				return usagef("--%s goes with --to-source", flag)
			}
		}
		return nil
	}
	rule := job.Existing(o.existing)
	switch {
	case !rule.Valid():
		return usagef("--existing is %q: it can be skip, overwrite or newer", o.existing)
	case rule != job.ExistingSkip && !o.yes:
		return usagef("--existing %s replaces files on the server: say --yes as well", rule)
	}
	return nil
}

// restore asks for the job and waits for it.
func (o *sourceRestoreOptions) restore(ctx context.Context, s *session, snapshot string, paths []string) error {
	r := requestFor(paths, "")
	r.Destination, r.TargetPath, r.Existing, r.Confirm = job.DestinationSource, o.targetPath, o.existing, o.yes
	r.URL, r.Database = o.url, o.database
	if o.targetSource != "" {
		id, err := s.resolve(ctx, "source", sources, o.targetSource)
		if err != nil {
			return err
		}
		r.TargetSourceID = id
	}
	item, err := s.Restore(ctx, snapshot, r)
	if err != nil {
		return err
	}
	return s.follow(ctx, item, true, showWritten)
}

// showWritten is the table that closes a restore to a source, also of one that
// failed: what was written is there.
func showWritten(_ context.Context, s *session, j apiclient.Job) error {
	w, err := j.Written()
	if err != nil || w == nil {
		return err
	}
	pairs := []string{
		"job", j.ID, "files", fmt.Sprintf("%s written (%s)", count(w.Files), size(w.Bytes)), "folders", count(w.Dirs), "links", count(w.Links),
		"replaced", count(w.Overwritten), "skipped", count(w.Skipped), "there already", count(w.Unchanged), "failed", count(w.Failed),
	}
	if w.OwnersLost > 0 {
		pairs = append(pairs, "owners", count(w.OwnersLost)+" entries belong to the user that logs in: only root may give files away")
	}
	if w.AttributesLost > 0 {
		pairs = append(pairs, "attributes", count(w.AttributesLost)+" entries lack a mode, a time or an extended attribute that they had")
	}
	if err := s.out.fields(pairs...); err != nil {
		return err
	}
	for _, note := range w.Notes {
		s.out.printf("  %s\n", printable(note))
	}
	for _, warning := range w.Warnings {
		s.out.printf("  %s: %s\n", printable(warning.Path), printable(warning.Message))
	}
	if n := w.Failed + w.Incomplete - int64(len(w.Warnings)); n > 0 && len(w.Warnings) > 0 {
		s.out.printf("  and %s more\n", count(n))
	}
	return s.out.err
}
