package wordpress

import (
	"context"
	"errors"
	"path"

	"xvault/connectors/wordpress/php"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// site is what was found on the server before anything is read.
type site struct {
	root     string
	config   []byte // wp-config.php
	file     string // where that is
	above    bool   // it lies one folder above the site
	links    []string
	settings *settings
	files    files
	database database
	facts    facts
}

// find looks for the site and reads its settings.
func (s *source) find(ctx context.Context) (*site, error) {
	// The content is not known yet; where that is elsewhere the source is made again.
	content := path.Join(s.config.Root, "wp-content")
	f, err := s.openFiles(content)
	if err != nil {
		return nil, err
	}
	found := &site{root: s.config.Root, files: f}
	if err := found.findConfig(ctx, s.config.Username); err != nil {
		return nil, err
	}
	found.settings, err = readSettings(found.config, found.root, found.file, f.load(ctx), f.exists(ctx))
	if err != nil {
		return nil, err
	}
	if found.settings.content != content {
		if found.files, err = s.openFiles(found.settings.content); err != nil {
			return nil, err
		}
	}
	if outside := found.settings.outside(found.root); len(outside) > 0 && !s.config.ContentOutside {
		return nil, job.Errorf(job.ConfigInvalid, "part of the site lies outside of its folder %q: %s. Back that up as a source of the type ssh, and say here that it is not needed: content_outside true", found.root, outside[0])
	}
	return found, found.findLinks(ctx)
}

// findConfig reads wp-config.php from where WordPress takes it.
func (f *site) findConfig(ctx context.Context, user string) error {
	above := path.Dir(f.root)
	kinds, err := f.files.Look(ctx, []string{f.root, path.Join(f.root, configName), path.Join(above, configName), path.Join(above, settingsName), path.Join(f.root, loadName)})
	if err != nil {
		return err
	}
	switch {
	case kinds[0] == 0:
		return job.Errorf(job.PathNotFound, "the folder %q is not on the server, or user %q cannot see it; correct root", f.root, user)
	case kinds[1] != 0:
		f.file = path.Join(f.root, configName)
	case kinds[2] != 0 && kinds[3] == 0 && f.root != "/":
		f.file, f.above = path.Join(above, configName), true
	default:
		return job.Errorf(job.PathNotFound, "there is no %s in %q nor in the folder above it (where WordPress takes it from, unless that is a site of its own), or user %q cannot see it; correct root", configName, f.root, user)
	}
	if kinds[4] == 0 {
		return job.Errorf(job.PathNotFound, "there is no %s in %q, so WordPress is not in this folder; correct root", loadName, f.root)
	}
	heads, err := f.files.Peek(ctx, []string{f.file}, php.MaxFile+1)
	if err != nil {
		return err
	}
	if heads[0] == nil {
		return job.Errorf(job.PermissionDenied, "%q cannot be read: it is no file, or the user %q lacks permission. Add the user to the file's group, or use the account that owns the site", f.file, user)
	}
	f.config = heads[0]
	return nil
}

var errNotThere = errors.New("there is no such file, or it cannot be read")

// load reads a file that wp-config.php includes.
func (f files) load(ctx context.Context) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		heads, err := f.Peek(ctx, []string{name}, php.MaxFile+1)
		if err != nil {
			return nil, err
		}
		if heads[0] == nil {
			return nil, errNotThere
		}
		return heads[0], nil
	}
}

func (f files) exists(ctx context.Context) func(string) (bool, error) {
	return func(name string) (bool, error) {
		heads, err := f.Peek(ctx, []string{name}, 1)
		return err == nil && heads[0] != nil, err
	}
}

// findLinks looks for folders of the content that are links: what they lead to belongs
// to the site, and a backup of the link alone would be of nothing.
func (f *site) findLinks(ctx context.Context) error {
	content := f.settings.content
	if len((&settings{folders: []folder{{"", content}}}).outside(f.root)) > 0 {
		return nil
	}
	candidates := []string{content}
	for _, name := range []string{"uploads", "plugins", "mu-plugins", "themes", "languages"} {
		candidates = append(candidates, path.Join(content, name))
	}
	kinds, err := f.files.Look(ctx, candidates)
	if err != nil {
		return err
	}
	behind, err := f.files.Names(ctx, candidates, maxNames)
	if err != nil {
		return err
	}
	for i, candidate := range candidates {
		// An empty or broken one stays the link that it is.
		if kinds[i] == entry.Symlink && len(behind[i]) > 0 {
			f.links = append(f.links, candidate)
			f.files.Add(candidate)
		}
	}
	return nil
}

// socket finds the one that PHP takes for "localhost"; empty where there is none.
func (f *site) socket(ctx context.Context) (string, error) {
	kinds, err := f.files.Look(ctx, usualSockets)
	if err != nil {
		return "", err
	}
	for i, kind := range kinds {
		if kind == entry.Socket {
			return usualSockets[i], nil
		}
	}
	return "", nil
}
