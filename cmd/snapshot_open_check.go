package cmd

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"xvault/archive"
)

// openResult is what a check or an extraction tells a program.
type openResult struct {
	OK        bool              `json:"ok"`
	Error     string            `json:"error,omitempty"`
	Directory string            `json:"directory,omitempty"`
	SizeBytes int64             `json:"size_bytes,omitempty"`
	SHA256    string            `json:"sha256,omitempty"`
	Content   archive.Content   `json:"content"`
	Problems  []archive.Problem `json:"problems"`
	// LostXattrs counts entries restored without all of their extended attributes.
	LostXattrs int64 `json:"lost_xattrs,omitempty"`

	lostReason error
}

// incompleteError says that a backup is sound but was not complete to begin with.
func incompleteError(errors int64) error {
	if errors == 0 {
		return nil
	}
	return fmt.Errorf("%d of the entries are not as they were on the source: they could not be read, or not in full", errors)
}

// check reads all of the artifact and holds it against its manifest.
func (b *backup) check(ctx context.Context, p *printer, progress *progress) error {
	report, err := b.Check(ctx, archive.CheckOptions{Progress: throttled(progress, "checked", b.TarSize())})
	progress.done()
	if err == nil {
		err = b.sameAsManifest(report)
	}
	if err == nil {
		err = incompleteError(report.Content.Errors)
	}
	r := openResult{SizeBytes: report.SizeBytes, SHA256: report.SHA256, Content: report.Content, Problems: report.Problems}
	return r.print(p, "the backup is whole: every file in it has the hash that it had at the source", err)
}

// sameAsManifest compares what was read with what stands beside it in clear.
func (b *backup) sameAsManifest(report archive.CheckReport) error {
	m := b.manifest
	switch {
	case m == nil:
		return nil
	case m.Artifact.SizeBytes != report.SizeBytes || m.Artifact.SHA256 != report.SHA256:
		return errors.New("the backup is whole, but it is not the one that the manifest beside it describes: size or hash differ")
	case m.Content != report.Content:
		return errors.New("the backup is whole, but the manifest beside it counts other contents")
	}
	return nil
}

// extract restores into a folder, which is made if it is missing.
func (b *backup) extract(ctx context.Context, p *printer, progress *progress, o snapshotOpenOptions, paths []string) (err error) {
	if err := os.MkdirAll(o.extract, 0o700); err != nil {
		return fmt.Errorf("extract: %w", err)
	}
	root, err := os.OpenRoot(o.extract)
	if err != nil {
		return fmt.Errorf("extract: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if slices.Contains(paths, "") {
		paths = nil // "/": everything
	}
	report, err := b.Extract(ctx, root, paths, archive.ExtractOptions{
		KeepSetID: o.keepSetID, NoOwner: o.noOwner, Progress: throttled(progress, "restored", b.total(paths)),
	})
	progress.done()
	if err == nil {
		err = incompleteError(report.Content.Errors)
	}
	dir, absErr := filepath.Abs(o.extract)
	if absErr != nil {
		dir = o.extract
	}
	r := openResult{
		Directory: dir, Content: report.Content, Problems: report.Problems,
		LostXattrs: report.LostXattrs, lostReason: report.LostXattrsReason,
	}
	return r.print(p, "restored", err)
}

// total is how many bytes an extraction writes, 0 where nothing tells.
func (b *backup) total(paths []string) int64 {
	if len(paths) > 0 || b.manifest == nil {
		return 0
	}
	return b.manifest.Content.Bytes
}

// print tells how it went and passes err on.
func (r *openResult) print(p *printer, good string, err error) error {
	r.OK = err == nil
	if p.json {
		if err != nil {
			r.Error = err.Error()
		}
		if r.Problems == nil {
			r.Problems = []archive.Problem{}
		}
		return errors.Join(err, p.object(r))
	}
	if err != nil && r.Content == (archive.Content{}) {
		return err
	}
	c := r.Content
	if r.OK {
		p.printf("%s\n", good)
	}
	fieldsErr := p.fields("folder", r.Directory,
		"content", count(c.Files)+" files, "+count(c.Dirs)+" folders, "+count(c.Links)+" links, "+size(c.Bytes),
		"skipped", counted(c.Skipped), "changed while read", counted(c.ChangedWhileRead), "errors", counted(c.Errors),
		"artifact", artifactText(r), "sha256", r.SHA256)
	if r.LostXattrs > 0 {
		p.printf("extended attributes of %s entries were not restored: %v. They are in the backup all the same\n", count(r.LostXattrs), r.lostReason)
	}
	for _, problem := range r.Problems {
		p.printf("%s: %s\n", problem.Code, problem.Path)
	}
	if more := c.Errors - int64(len(r.Problems)); more > 0 {
		p.printf("and %s more\n", count(more))
	}
	return errors.Join(err, fieldsErr, p.err)
}

func artifactText(r *openResult) string {
	if r.SizeBytes == 0 {
		return ""
	}
	return size(r.SizeBytes)
}

// throttled shows bytes done on a terminal, a few times a second.
func throttled(p *progress, verb string, total int64) func(int64) {
	var last time.Time
	return func(done int64) {
		now := time.Now()
		if !p.terminal || now.Sub(last) < 100*time.Millisecond {
			return
		}
		last = now
		text := verb + " " + size(done)
		if total > 0 {
			text += fmt.Sprintf(" of %s (%d %%)", size(total), 100*done/total)
		}
		if elapsed := now.Sub(p.begin); elapsed > time.Second {
			text += ", " + size(int64(float64(done)/elapsed.Seconds())) + "/s"
		}
		p.redraw(text)
	}
}
