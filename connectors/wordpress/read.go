package wordpress

import (
	"bytes"
	"context"
	"log/slog"
	"strings"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// filesFolder is the member that the site's folder is.
const filesFolder = "files"

// Read implements connectors.Source.
func (s *source) Read(ctx context.Context, visit func(connectors.Item) error) error {
	f, err := s.find(ctx)
	if err != nil {
		return err
	}
	if err := s.connect(ctx, f); err != nil {
		return err
	}
	inv, err := f.takeStock(ctx)
	if err != nil {
		return err
	}
	s.tell(f)
	s.describe(inv)
	member := ""
	err = f.database.Read(ctx, func(dump connectors.Item) error {
		if member != "" {
			return job.Errorf(job.Internal, "there is a second dump, %q", dump.Path)
		}
		member = dump.Path
		return s.readBoth(ctx, f, dump, visit)
	})
	switch {
	case err != nil:
		return err
	case member == "":
		return job.Errorf(job.DumpFailed, "the database %q was not dumped", f.settings.database)
	}
	item, err := s.aboutItem(f, inv, member)
	if err != nil {
		return err
	}
	if err := visit(item); err != nil {
		return err
	}
	if !f.above {
		return nil
	}
	return visit(s.made(configName, f.config))
}

// tell logs what is good to know of a backup.
func (s *source) tell(f *site) {
	for _, link := range f.links {
		s.env.Log.Info("a folder of the site is a link; what it leads to is stored in its place", slog.String("path", link))
	}
	for _, o := range f.settings.outside(f.root) {
		s.env.Warn("part of the site is not in the snapshot, as the configuration says: " + o.String())
	}
}

// readBoth takes a dump that has begun, then the files, and then stores the dump.
func (s *source) readBoth(ctx context.Context, f *site, dump connectors.Item, visit func(connectors.Item) error) error {
	h, err := hold(ctx, dump.Body, s.options.Held, s.parts.memory)
	if err != nil {
		return err
	}
	defer h.close()
	if h.rest != nil {
		s.env.Log.Info("the dump is larger than what is held in memory; its rest is read after the files, in the transaction that began before them")
	}
	err = f.files.Read(ctx, func(item connectors.Item) error {
		item.Path = f.memberOf(item.Path)
		if item.Path == filesFolder+"/"+configName && item.Kind != entry.File {
			item = f.configItem(item)
		}
		if item.Kind == entry.Hardlink {
			item.LinkTarget = f.memberOf(item.LinkTarget)
		}
		return visit(item)
	})
	if err != nil {
		return err
	}
	dump.Body = h
	return visit(dump)
}

// configItem has the content of wp-config.php in place of a link to it. A link would lead
// a copy of the site to the settings of the site itself, and be of no use without the
// server.
func (f *site) configItem(item connectors.Item) connectors.Item {
	item.Kind, item.LinkTarget, item.Mode = entry.File, "", 0o640
	item.Size, item.Body = int64(len(f.config)), bytes.NewReader(f.config)
	return item
}

// memberOf gives the name under which a file of the site is stored. The order of such
// names is that of the paths.
func (f *site) memberOf(path string) string {
	if f.root == "/" {
		return filesFolder + "/" + path
	}
	return filesFolder + strings.TrimPrefix(path, f.root[1:])
}
