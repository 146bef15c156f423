package wordpress

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strings"
	"sync"

	"xvault/connectors"
	"xvault/connectors/mysql"
	"xvault/connectors/wordpress/php"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// target implements connectors.Target: a site is put back so that it runs again. Files
// are written as the source type "ssh" does, the dump is loaded as "mysql" does, and
// wp-config.php comes last, when the database is there: it then says where that is.
//
// # Where things go
//
// Into a new folder and a new database, unless the rule is to overwrite, or a folder is
// named. The way into the database is what wp-config.php says, the first of these that
// there is: the one in the folder that is restored to, the one of the site that the source
// is, the one in the snapshot. So whoever has a database made by a hoster puts a
// wp-config.php that names it where the site should come to.
//
// A new database is made, and marked as not whole, before the first file is written: that
// it cannot be made shows at once. See mysql.Loader.
type target struct {
	*source
	opts connectors.TargetOptions
	dest string // the folder that the site's comes to

	begun   bool
	failure error
	peek    files
	there   *foundConfig // wp-config.php where the site comes to
	with    *foundConfig // the one that tells of the database
	came    *heldConfig  // the one in the snapshot
	about   *about       // wordpress.json of the snapshot

	mu     sync.Mutex
	files  connectors.Target
	loader *mysql.Loader
	report connectors.TargetReport // beside those of the parts
}

// heldConfig is wp-config.php on its way: it is written when all else is.
type heldConfig struct {
	item    connectors.TargetItem
	content []byte
	above   bool // it lay one folder above the site
}

// maxAbout bounds wordpress.json.
const maxAbout = 8 << 20

func openTarget(config []byte, env connectors.Env, o Options, p parts, opts connectors.TargetOptions) (connectors.Target, error) {
	s, err := open(config, env, o, p)
	if err != nil {
		return nil, err
	}
	t := &target{source: s, opts: opts, dest: opts.Folder}
	switch {
	case t.dest != "":
		if t.dest, err = connectors.CleanPath(t.dest); err != nil {
			return nil, job.Errorf(job.ConfigInvalid, "the folder to restore to %w", err)
		}
	case opts.Existing == job.ExistingSkip:
		t.dest = s.config.Root + restoredSuffix(opts.JobID)
	default:
		t.dest = s.config.Root
	}
	if s.config.Root == "/" && t.dest != opts.Folder || t.dest == "/" {
		return nil, job.Errorf(job.ConfigInvalid, "a site is not restored to %q: name another folder in target_path", "/")
	}
	if opts.Existing == job.ExistingNewer && t.wantsDump() {
		return nil, job.Errorf(job.ConfigInvalid, `existing: "newer" means nothing for a database; use skip, for a new database, or overwrite, or restore paths below /files only`)
	}
	if (opts.SiteURL != "" || opts.Database != "") && !t.wantsDump() {
		return nil, job.Errorf(job.ConfigInvalid, "url and database are for the database, whose dump is not among the paths that are restored: add /mysql to paths, or leave them out")
	}
	return t, nil
}

// jobMark is the end of the job's id, which is random.
func jobMark(id string) string {
	id = strings.ReplaceAll(id, "-", "")
	return id[max(0, len(id)-8):]
}

// wantsDump reports whether the dump is in what comes.
func (t *target) wantsDump() bool {
	for _, m := range t.opts.Members {
		if m == "" || m == "mysql" || strings.HasPrefix(m, "mysql/") {
			return true
		}
	}
	return len(t.opts.Members) == 0
}

// wantsConfig reports whether wp-config.php is in what comes.
func (t *target) wantsConfig() bool {
	for _, m := range t.opts.Members {
		if m == "" || m == filesFolder || m == filesFolder+"/"+configName || m == configName {
			return true
		}
	}
	return len(t.opts.Members) == 0
}

// Put implements connectors.Target.
func (t *target) Put(ctx context.Context, item connectors.TargetItem) error {
	if t.failure == nil {
		t.failure = t.put(ctx, item)
	}
	return t.failure
}

func (t *target) put(ctx context.Context, item connectors.TargetItem) error {
	if err := t.begin(ctx); err != nil {
		return err
	}
	inFiles := item.Path == filesFolder || strings.HasPrefix(item.Path, filesFolder+"/")
	switch {
	case item.Path == filesFolder+"/"+configName && item.Kind == entry.File:
		return t.holdConfig(ctx, item, false)
	case inFiles:
		return t.putFile(ctx, item)
	case item.Kind == entry.Dir:
		return nil // of the dump
	case strings.HasPrefix(item.Path, "mysql/"):
		return t.putDump(ctx, item)
	case item.Path == aboutName && item.Kind == entry.File:
		return t.readAbout(item)
	case item.Path == configName && item.Kind == entry.File:
		return t.holdConfig(ctx, item, true)
	}
	t.problem("/"+item.Path, job.Errorf(job.ConfigInvalid, "it is no part of a WordPress site as this connector stores one"))
	return nil
}

// putFile hands an entry on under the name that it gets.
func (t *target) putFile(ctx context.Context, item connectors.TargetItem) error {
	item.Path = t.placeOf(item.Path)
	if item.Kind == entry.Hardlink {
		item.LinkTarget = t.placeOf(item.LinkTarget)
	}
	return t.files.Put(ctx, item)
}

// placeOf is the path of a member of the site's folder, without its leading slash.
func (t *target) placeOf(member string) string {
	return t.dest[1:] + strings.TrimPrefix(member, filesFolder)
}

// holdConfig keeps wp-config.php, or puts one that is too long to be understood.
func (t *target) holdConfig(ctx context.Context, item connectors.TargetItem, above bool) error {
	if item.Size > php.MaxFile {
		t.note("%s is longer than anything that can be understood, and was put there as it is: correct DB_NAME, DB_USER, DB_PASSWORD and DB_HOST in it", configName)
		item.Path = filesFolder + "/" + configName
		return t.putFile(ctx, item)
	}
	content, err := io.ReadAll(item.Body)
	if err != nil {
		return err
	}
	item.Body = nil
	t.came = &heldConfig{item: item, content: content, above: above}
	if s := t.cameSettings(); s != nil {
		return t.fitsPrefix(s.prefix)
	}
	return nil
}

// readAbout reads wordpress.json, which is not put anywhere.
func (t *target) readAbout(item connectors.TargetItem) error {
	if item.Size > maxAbout {
		return nil // what it tells is found out otherwise
	}
	content, err := io.ReadAll(item.Body)
	if err != nil {
		return err
	}
	var a about
	if json.Unmarshal(content, &a) == nil && goodPrefix.MatchString(a.Database.TablePrefix) {
		t.about = &a
		return t.fitsPrefix(a.Database.TablePrefix)
	}
	return nil
}

// putDump loads the database.
func (t *target) putDump(ctx context.Context, item connectors.TargetItem) error {
	if t.with == nil {
		if err := t.fromSnapshot(ctx); err != nil {
			return err
		}
	}
	return explainLoad(t.loader.Load(ctx, item), t.with)
}

// Finish implements connectors.Target.
func (t *target) Finish(ctx context.Context) error {
	err := t.failure
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil {
		err = t.finishDatabase(ctx)
	}
	// Also after a failure: what was begun is brought in order.
	if t.files != nil {
		if finishErr := t.files.Finish(ctx); err == nil {
			err = finishErr
		}
	}
	if err == nil && t.begun {
		err = t.putConfig(ctx)
	}
	if t.loader == nil {
		return err
	}
	if err == nil {
		err = t.loader.Finish(ctx)
	}
	if err != nil || !t.loaded() {
		t.loader.Abandon(ctx)
	}
	return err
}

func (t *target) loaded() bool {
	if t.loader == nil {
		return false
	}
	loaded, _ := t.loader.Done()
	return loaded
}

// Report implements connectors.Target.
func (t *target) Report() connectors.TargetReport {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.report
	r.Problems = append([]connectors.TargetProblem{}, r.Problems...)
	r.Notes = append([]string{}, r.Notes...)
	if t.files != nil {
		r = added(t.files.Report(), r)
	}
	if t.loader != nil {
		r = added(t.loader.Report(), r)
	}
	return r
}

// added counts two reports together.
func added(a, b connectors.TargetReport) connectors.TargetReport {
	a.Files, a.Dirs, a.Links, a.Bytes = a.Files+b.Files, a.Dirs+b.Dirs, a.Links+b.Links, a.Bytes+b.Bytes
	a.Overwritten, a.Unchanged, a.Skipped, a.Failed = a.Overwritten+b.Overwritten, a.Unchanged+b.Unchanged, a.Skipped+b.Skipped, a.Failed+b.Failed
	a.OwnersLost, a.AttributesLost = a.OwnersLost+b.OwnersLost, a.AttributesLost+b.AttributesLost
	problems := append(append([]connectors.TargetProblem{}, a.Problems...), b.Problems...)
	a.Problems = problems[:min(len(problems), connectors.MaxTargetProblems)]
	notes := append(append([]string{}, a.Notes...), b.Notes...)
	a.Notes = notes[:min(len(notes), connectors.MaxTargetProblems)]
	return a
}

// Close implements connectors.Target.
func (t *target) Close() error {
	t.mu.Lock()
	parts := []io.Closer{}
	if t.files != nil {
		parts = append(parts, t.files)
	}
	if t.loader != nil {
		parts = append(parts, t.loader)
	}
	t.mu.Unlock()
	err := t.source.Close()
	for _, part := range parts {
		err = errors.Join(err, part.Close())
	}
	return err
}

// rewritten is an entry with another content.
func rewritten(item connectors.TargetItem, at string, content []byte) connectors.TargetItem {
	item.Path, item.Size, item.Body = strings.TrimPrefix(path.Clean(at), "/"), int64(len(content)), bytes.NewReader(content)
	return item
}
