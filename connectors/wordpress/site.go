package wordpress

import (
	"context"
	"errors"
	"io/fs"
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
	found.settings, err = s.resolve(ctx, f, found.config, found.root, found.file)
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
	f.config, err = f.files.readConfig(ctx, f.file, user)
	return err
}

func (f files) readConfig(ctx context.Context, file, user string) ([]byte, error) {
	heads, err := f.Peek(ctx, []string{file}, php.MaxFile+1)
	if err != nil {
		return nil, err
	}
	if heads[0] == nil {
		return nil, job.Errorf(job.PermissionDenied, "%q cannot be read: it is no file, or the user %q lacks permission. Add the user to the file's group, or use the account that owns the site", file, user)
	}
	return heads[0], nil
}

var errClosed = errors.New("it is no file, or the user lacks permission: let the user read it, for the settings may depend on it")

// load reads a file that wp-config.php includes.
func (f files) load(ctx context.Context) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		heads, err := f.Peek(ctx, []string{name}, php.MaxFile+1)
		if err != nil {
			return nil, err
		}
		if heads[0] != nil {
			return heads[0], nil
		}
		there, err := f.exists(ctx)(name)
		switch {
		case err != nil:
			return nil, err
		case there == php.Absent:
			return nil, fs.ErrNotExist
		}
		return nil, errClosed
	}
}

// exists tells a file that is not there from one that the user may not read: the site may
// read it.
func (f files) exists(ctx context.Context) func(string) (php.Presence, error) {
	return func(name string) (php.Presence, error) {
		kind, told, err := f.Reach(ctx, name)
		switch {
		case err != nil || !told:
			return php.Hidden, err
		case kind == 0:
			return php.Absent, nil
		case kind == entry.File:
			return php.File, nil
		}
		return php.Other, nil
	}
}

// findLinks looks for folders of the content that are links: what they lead to belongs
// to the site, and a backup of the link alone would be of nothing.
func (f *site) findLinks(ctx context.Context) error {
	content := f.settings.content
	if len((&settings{folders: []folder{{"", content}}}).outside(f.root)) > 0 {
		return nil
	}
	links, err := f.files.links(ctx, content)
	for _, link := range links {
		f.links = append(f.links, link)
		f.files.Add(link)
	}
	return err
}

// links lists the folder of the content, and those in it that belong to a site, where
// they are links to something.
func (f files) links(ctx context.Context, content string) (links []string, err error) {
	candidates := []string{content}
	for _, name := range []string{"uploads", "plugins", "mu-plugins", "themes", "languages"} {
		candidates = append(candidates, path.Join(content, name))
	}
	kinds, err := f.Look(ctx, candidates)
	if err != nil {
		return nil, err
	}
	behind, err := f.Names(ctx, candidates, maxNames)
	if err != nil {
		return nil, err
	}
	for i, candidate := range candidates {
		// An empty or broken one stays the link that it is.
		if kinds[i] == entry.Symlink && len(behind[i]) > 0 {
			links = append(links, candidate)
		}
	}
	return links, nil
}

// wellMade refuses links that lead a restore out of the site though nobody meant them
// to: who may write in the site's folders can make one there to a folder of somebody
// else, which only the user who logs in may write to. A link is followed that root
// made, or whoever has the folder that it leads to.
func (f files) wellMade(ctx context.Context, links []string) error {
	owners, err := f.Owners(ctx, links)
	if err != nil {
		return err
	}
	for i, o := range owners {
		if o.Told && o.Link != 0 && o.Link != o.Behind {
			return job.Errorf(job.PermissionDenied, "%q is a link which belongs to the user with the number %d, to a folder of the user with the number %d, so it is not followed: it could lead what is restored to where only the user who logs in may write. "+
				"If it is meant to be, give it to the folder's owner or to root (chown -h), or restore with another target_path", links[i], o.Link, o.Behind)
		}
	}
	return nil
}

// reachable says how the machine itself reaches an address: by a socket or by a port.
func (f files) reachable(ctx context.Context, at address) (address, error) {
	if !at.local || at.socket != "" {
		return at, nil
	}
	kinds, err := f.Look(ctx, usualSockets)
	if err != nil {
		return at, err
	}
	for i, kind := range kinds {
		if kind == entry.Socket {
			at.socket = usualSockets[i]
			return at, nil
		}
	}
	at.host = "127.0.0.1"
	return at, nil
}
