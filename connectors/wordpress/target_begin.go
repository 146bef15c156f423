package wordpress

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"strings"

	"xvault/connectors"
	"xvault/connectors/mysql"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// foundConfig is a wp-config.php and what it says.
type foundConfig struct {
	file     string // where it is; where it comes to, for that of the snapshot
	settings *settings
	// asIs says that a dump goes into the very database that it names.
	asIs bool
	// told is how people know it.
	told string
}

// begin looks around on the server, with the first entry.
func (t *target) begin(ctx context.Context) error {
	if t.begun {
		return nil
	}
	t.begun = true
	content := path.Join(t.dest, "wp-content")
	var err error
	if t.peek, err = t.openFiles(content); err != nil {
		return err
	}
	if err := t.findConfigs(ctx); err != nil {
		return err
	}
	if t.there != nil {
		content = t.there.settings.content
	}
	links, err := t.peek.links(ctx, content)
	if err != nil {
		return err
	}
	if err := t.peek.wellMade(ctx, links); err != nil {
		return err
	}
	files, err := t.openFilesTarget(append([]string{t.dest}, links...))
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.files = files
	t.mu.Unlock()
	if !t.wantsDump() || t.with == nil {
		return nil
	}
	return t.openLoader(ctx)
}

// openFilesTarget makes a target for files. Links at or above its paths were made by
// people and are followed, as they are when the site is read.
func (t *target) openFilesTarget(paths []string) (connectors.Target, error) {
	config := t.config.filesConfig(t.dest)
	config.Paths = paths
	raw, err := json.Marshal(config)
	if err != nil {
		return nil, job.Errorf(job.Internal, "the configuration of a part cannot be written: %w", err)
	}
	opts := t.opts
	opts.Folder = ""
	env := t.env
	t.source.mu.Lock()
	env.PinnedHostKeys = append(append([]string{}, env.PinnedHostKeys...), t.pinned...)
	t.source.mu.Unlock()
	return t.parts.files.OpenTarget(raw, env, opts)
}

// findConfigs looks for wp-config.php where the site comes to, and where it is.
func (t *target) findConfigs(ctx context.Context) error {
	var err error
	t.there, err = t.configAt(ctx, t.dest)
	if err != nil {
		if !t.wantsDump() {
			return onlyServer(err)
		}
		return err
	}
	if t.there != nil {
		t.there.asIs, t.with = true, t.there
		return nil
	}
	if t.dest == t.config.Root {
		return nil
	}
	// What cannot be understood there does not keep the snapshot's from being used.
	t.with, err = t.configAt(ctx, t.config.Root)
	return onlyServer(err)
}

// onlyServer passes over errors that are of a file alone.
func onlyServer(err error) error {
	switch job.CodeOf(err) {
	case job.ConfigInvalid, job.PathNotFound, job.PermissionDenied:
		return nil
	}
	return err
}

// configAt reads the wp-config.php of a folder, as WordPress takes it; nil: none is there.
func (t *target) configAt(ctx context.Context, root string) (*foundConfig, error) {
	above := path.Dir(root)
	kinds, err := t.peek.Look(ctx, []string{path.Join(root, configName), path.Join(above, configName), path.Join(above, settingsName), path.Join(root, loadName)})
	if err != nil {
		return nil, err
	}
	file := path.Join(root, configName)
	switch {
	case kinds[0] != 0:
	case kinds[1] == entry.File && kinds[2] == 0 && kinds[3] != 0:
		file = path.Join(above, configName)
	default:
		return nil, nil
	}
	src, err := t.peek.readConfig(ctx, file, t.config.Username)
	if err != nil {
		return nil, err
	}
	s, err := t.resolve(ctx, t.peek, src, root, file)
	if err != nil {
		return nil, err
	}
	return &foundConfig{file: file, settings: s, told: fmt.Sprintf("%q", file)}, nil
}

// fromSnapshot takes the way into the database from the snapshot's own wp-config.php.
func (t *target) fromSnapshot(ctx context.Context) error {
	const wayOut = "Put a wp-config.php with DB_NAME, DB_USER, DB_PASSWORD, DB_HOST and $table_prefix into %q, and restore with target_path %q and existing: skip"
	if t.came == nil {
		return job.Errorf(job.ConfigInvalid, "there is no wp-config.php that tells how to reach a database, neither on the server nor in what is restored before the dump. "+wayOut, t.dest, t.dest)
	}
	file := path.Join(t.dest, configName)
	reading, err := t.reader(ctx, t.peek, t.dest, file)
	if err != nil {
		return err
	}
	s, err := readSettings(t.came.content, t.dest, reading)
	if err != nil {
		return job.Errorf(job.ConfigInvalid, "the snapshot's wp-config.php does not tell how to reach the database: %w. "+wayOut, err, t.dest, t.dest)
	}
	// A copy beside the site has no claim to the site's own database.
	beside := t.opts.Existing == job.ExistingOverwrite && t.dest != t.config.Root
	t.with = &foundConfig{file: file, settings: s, asIs: !beside, told: "the snapshot"}
	return t.openLoader(ctx)
}

// openLoader chooses the database, and shows that it can be loaded into.
func (t *target) openLoader(ctx context.Context) error {
	at, err := t.peek.reachable(ctx, t.with.settings.address)
	if err != nil {
		return err
	}
	o := mysql.LoaderOptions{JobID: t.opts.JobID, Again: t.opts.Again, Allowed: t.opts.Allowed, Over: t.opts.Existing == job.ExistingOverwrite}
	switch {
	case t.opts.Database != "":
		o.Database = t.opts.Database
	case t.with.asIs:
		o.Database = t.with.settings.database
	default:
		o.Database = restoredName(t.with.settings.database, t.opts.JobID)
	}
	if strings.HasSuffix(o.Database, restoredSuffix(t.opts.JobID)) { // also one of an earlier attempt
		o.Own, o.Over = true, false
	}
	if err := t.fitsDatabase(o.Database); err != nil {
		return err
	}
	config, env, err := t.databaseOf(t.with.settings, at)
	if err != nil {
		return err
	}
	loader, err := mysql.NewLoader(config, env, t.options.MySQL, o)
	if err != nil {
		return err
	}
	t.mu.Lock()
	t.loader = loader
	t.mu.Unlock()
	return explainLoad(loader.Reserve(ctx), t.with)
}

// restoredName is that of a new database beside another one.
func restoredName(database, jobID string) string {
	const longest = 64
	suffix := restoredSuffix(jobID)
	runes := []rune(database)
	return string(runes[:min(len(runes), longest-len(suffix))]) + suffix
}

func restoredSuffix(jobID string) string { return "_restored_" + jobMark(jobID) }

// explainLoad says what to do about a database that cannot be loaded into.
func explainLoad(err error, with *foundConfig) error {
	switch job.CodeOf(err) {
	case job.PermissionDenied:
		return job.Errorf(job.PermissionDenied, "%w. Where an account may not make databases, as with most hosters, there are two ways: have an empty database made that the account %q may use, and name it: database (--database); "+
			"or have one made with an account of its own, put a wp-config.php that names both into the folder to restore to, and name that in target_path", err, with.settings.user)
	case job.AuthFailed:
		return job.Errorf(job.AuthFailed, "%w. The account is the one that wp-config.php of %s names", err, with.told)
	}
	return err
}
