package wordpress

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"xvault/connectors"
	"xvault/connectors/wordpress/php"
	"xvault/internal/job"
)

// putConfig writes wp-config.php, with what is otherwise where the site is now.
func (t *target) putConfig(ctx context.Context) error {
	if t.came == nil {
		t.tellMissing()
		return nil
	}
	file, content := t.configPlace(), t.came.content
	if t.loaded() {
		changed, left := t.adapted(ctx, file)
		content = changed
		if len(left) > 0 {
			t.note("%s could not be changed safely. Correct in it: %s", file, strings.Join(left, "; "))
		}
	} else if t.dest != t.config.Root && t.there == nil {
		t.note("%s is as it was when the backup was made, and names the database of that time: no dump was restored", file)
	}
	target, err := t.openFilesTarget([]string{path.Dir(file)})
	if err != nil {
		return err
	}
	err = target.Put(ctx, rewritten(t.came.item, file, content))
	if finishErr := target.Finish(ctx); err == nil {
		err = finishErr
	}
	report := target.Report()
	_ = target.Close() // all that counted was answered
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report = added(report, t.report)
	return err
}

// configPlace is where wp-config.php comes to. One that lay above the site comes there
// again only where the site itself comes to its own place.
func (t *target) configPlace() string {
	if t.came.above && t.dest == t.config.Root && (t.there == nil || path.Dir(t.there.file) != t.dest) {
		return path.Join(path.Dir(t.dest), configName)
	}
	return path.Join(t.dest, configName)
}

// staying is the wp-config.php that is there and is not to be replaced by the one that
// comes: what is restored has to fit it. Nil: there is none.
func (t *target) staying() *foundConfig {
	if t.there == nil || t.there.file != path.Join(t.dest, configName) || t.opts.Existing != job.ExistingSkip || !t.wantsDump() || !t.wantsConfig() {
		return nil
	}
	return t.there
}

// fitsDatabase refuses a database that a wp-config.php that stays does not name.
func (t *target) fitsDatabase(name string) error {
	stays := t.staying()
	if stays == nil || stays.settings.database == name {
		return nil
	}
	return t.misfit("%q is there and stays, and names another database than the one to restore to: have it say define('DB_NAME', '%s'); or move it away, and restore again", stays.file, name)
}

// fitsPrefix refuses tables that a wp-config.php that stays does not mean.
func (t *target) fitsPrefix(prefix string) error {
	stays := t.staying()
	if stays == nil || stays.settings.prefix == prefix {
		return nil
	}
	return t.misfit("%q is there and stays, and its $table_prefix is '%s', while the names of the tables in the snapshot begin otherwise: have it say $table_prefix = '%s'; and restore again", stays.file, stays.settings.prefix, prefix)
}

// misfit refuses to go on; in a later attempt it may be what an earlier one wrote, and is
// told.
func (t *target) misfit(format string, args ...any) error {
	if t.opts.Again {
		t.note(format, args...)
		return nil
	}
	return job.Errorf(job.ConfigInvalid, format, args...)
}

// tellMissing says what wp-config.php has to name, where none came.
func (t *target) tellMissing() {
	if !t.loaded() || t.there != nil && t.there.settings.database == t.loader.Database() {
		return
	}
	t.note("no %s was restored: have the one in %q define DB_NAME as %q, and DB_USER, DB_PASSWORD and DB_HOST as in %s", configName, t.dest, t.loader.Database(), t.with.told)
}

// adapted gives the snapshot's wp-config.php with what is otherwise now, and in words what
// could not be changed in it. What it says then was read again.
func (t *target) adapted(ctx context.Context, file string) (content []byte, left []string) {
	src := t.came.content
	reading, err := t.reader(ctx, t.peek, t.dest, file)
	if err != nil {
		return src, t.describe(t.wanted(nil))
	}
	read := func(src []byte) (*php.Settings, error) { return php.Read(src, reading) }
	found, err := read(src)
	if err != nil {
		return src, t.describe(t.wanted(nil))
	}
	want := t.wanted(found)
	edits := t.edits(found, file, want)
	changed, err := php.Apply(src, edits)
	if err != nil {
		return src, t.describe(want)
	}
	again, err := read(changed)
	if err != nil {
		return src, t.describe(want)
	}
	for name, value := range want {
		if now, ok, err := again.Constant(name); ok && err == nil && now == value {
			delete(want, name)
		}
	}
	return changed, t.describe(want)
}

// edits says what to write where. What stands elsewhere than in the file is not changed.
func (*target) edits(found *php.Settings, file string, want map[string]string) (edits []php.Edit) {
	for name, value := range want {
		if now, ok, err := found.Constant(name); ok && err == nil && now == value {
			continue
		}
		if place, ok := found.Place(name); ok && place.File == file {
			edits = append(edits, php.Edit{Place: place, Text: value})
		}
	}
	return edits
}

// wanted is what wp-config.php has to define. found is nil where it cannot be understood.
func (t *target) wanted(found *php.Settings) map[string]string {
	with := t.with.settings
	want := map[string]string{"DB_NAME": t.loader.Database(), "DB_USER": with.user, "DB_PASSWORD": with.password.Reveal(), "DB_HOST": with.host}
	if found == nil {
		return want
	}
	for _, name := range []string{"WP_CONTENT_DIR", "WP_PLUGIN_DIR", "WPMU_PLUGIN_DIR", "WP_LANG_DIR", "WP_TEMP_DIR"} {
		if now, ok, err := found.Constant(name); ok && err == nil {
			if moved, ok := t.movedPath(now); ok {
				want[name] = moved
			}
		}
	}
	maps.Copy(want, t.wantedAddresses(found))
	return want
}

// movedPath is where something is now that lay in the site's folder.
func (t *target) movedPath(at string) (string, bool) {
	if t.about == nil || t.about.Files.Root == "" || t.about.Files.Root == t.dest {
		return "", false
	}
	rest, ok := strings.CutPrefix(at, t.about.Files.Root)
	if !ok || rest != "" && rest[0] != '/' || at == t.dest || strings.HasPrefix(at, t.dest+"/") {
		return "", false
	}
	return t.dest + rest, true
}

// describe says what has to be defined how. Passwords are not told.
func (t *target) describe(want map[string]string) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if name == "DB_PASSWORD" {
			list = append(list, "DB_PASSWORD as in "+t.with.told)
			continue
		}
		list = append(list, fmt.Sprintf("%s as %.300q", name, want[name]))
	}
	return list
}

// note adds what a person should know.
func (t *target) note(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.report.Notes) < connectors.MaxTargetProblems {
		t.report.Notes = append(t.report.Notes, fmt.Sprintf(format, args...))
	}
}

// problem adds an entry that could not be restored.
func (t *target) problem(at string, why *job.Error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.report.Failed++
	if len(t.report.Problems) < connectors.MaxTargetProblems {
		t.report.Problems = append(t.report.Problems, connectors.TargetProblem{Path: at, Err: why})
	}
}
