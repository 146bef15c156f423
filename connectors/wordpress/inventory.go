package wordpress

import (
	"context"
	"path"
	"regexp"
	"slices"
	"strings"

	"xvault/connectors/wordpress/php"
)

const (
	// headerSize is as much of a file as WordPress looks for a header in.
	headerSize = 8 << 10
	// maxNames bounds what is looked through in one folder, and maxPlugins how many
	// plugins and themes are looked into.
	maxNames   = 5000
	maxPlugins = 2000
	fewFolders = 32 // are listed at a time: each may have thousands of names
)

// component is a plugin or a theme.
type component struct {
	File    string `json:"file"` // as WordPress names it
	Name    string `json:"name"`
	Version string `json:"version"`
	Active  bool   `json:"active"`
}

// inventory is what is installed.
type inventory struct {
	version                  string
	plugins, mustUse, themes []component
}

// takeStock reads versions out of the site's files; nothing of them is run. What says
// nothing of itself is left out, for it is no plugin and no theme to WordPress either.
func (f *site) takeStock(ctx context.Context) (*inventory, error) {
	inv := &inventory{}
	heads, err := f.files.Peek(ctx, []string{path.Join(f.root, "wp-includes/version.php")}, 64<<10)
	if err != nil {
		return nil, err
	}
	inv.version = versionOf(heads[0])
	plugins, mustUse := path.Join(f.settings.content, "plugins"), path.Join(f.settings.content, "mu-plugins")
	for _, moved := range f.settings.folders {
		switch moved.constant {
		case "WP_PLUGIN_DIR":
			plugins = moved.path
		case "WPMU_PLUGIN_DIR":
			mustUse = moved.path
		}
	}
	if inv.plugins, err = f.plugins(ctx, plugins, true); err != nil {
		return nil, err
	}
	if inv.mustUse, err = f.plugins(ctx, mustUse, false); err != nil {
		return nil, err
	}
	for i := range inv.mustUse {
		inv.mustUse[i].Active = true
	}
	inv.themes, err = f.themes(ctx, path.Join(f.settings.content, "themes"))
	return inv, err
}

// versionOf reads wp-includes/version.php; empty where it tells none.
func versionOf(src []byte) string {
	found, err := php.Read(src, php.Config{Path: "/version.php"})
	if err != nil {
		return ""
	}
	version, _, err := found.Variable("wp_version")
	if err != nil {
		return ""
	}
	return shorten(version)
}

// plugins finds them as WordPress does: files in the folder, and in the folders in it.
func (f *site) plugins(ctx context.Context, folder string, deep bool) ([]component, error) {
	names, err := f.files.Names(ctx, []string{folder}, maxNames)
	if err != nil {
		return nil, err
	}
	var candidates, inner []string
	for _, name := range names[0] {
		switch {
		case strings.HasPrefix(name, "."):
		case strings.HasSuffix(name, ".php"):
			candidates = append(candidates, name)
		case deep:
			inner = append(inner, name)
		}
	}
	inner = inner[:min(len(inner), maxPlugins)]
	for some := range slices.Chunk(inner, fewFolders) {
		lists, err := f.files.Names(ctx, under(folder, some), maxNames)
		if err != nil {
			return nil, err
		}
		for i, list := range lists {
			for _, name := range list {
				if strings.HasSuffix(name, ".php") && !strings.HasPrefix(name, ".") && len(candidates) < 4*maxPlugins {
					candidates = append(candidates, some[i]+"/"+name)
				}
			}
		}
	}
	return f.described(ctx, folder, candidates[:min(len(candidates), 4*maxPlugins)], "Plugin Name", func(c *component) {
		c.Active = slices.Contains(f.facts.active, c.File)
	})
}

func (f *site) themes(ctx context.Context, folder string) ([]component, error) {
	names, err := f.files.Names(ctx, []string{folder}, maxNames)
	if err != nil {
		return nil, err
	}
	var candidates []string
	for _, name := range names[0][:min(len(names[0]), maxPlugins)] {
		if !strings.HasPrefix(name, ".") {
			candidates = append(candidates, name+"/style.css")
		}
	}
	return f.described(ctx, folder, candidates, "Theme Name", func(c *component) {
		c.File = strings.TrimSuffix(c.File, "/style.css")
		c.Active = c.File == f.facts.theme
	})
}

// described keeps the files whose header has a name in it.
func (f *site) described(ctx context.Context, folder string, names []string, title string, finish func(*component)) ([]component, error) {
	list := []component{}
	for some := range slices.Chunk(names, 256) {
		heads, err := f.files.Peek(ctx, under(folder, some), headerSize)
		if err != nil {
			return nil, err
		}
		for i, head := range heads {
			if name := header(head, title); name != "" {
				c := component{File: some[i], Name: name, Version: header(head, "Version")}
				finish(&c)
				list = append(list, c)
			}
		}
	}
	slices.SortFunc(list, func(a, b component) int { return strings.Compare(a.File, b.File) })
	return list, nil
}

func under(folder string, names []string) []string {
	paths := make([]string, len(names))
	for i, name := range names {
		paths[i] = path.Join(folder, name)
	}
	return paths
}

// headerLine is a line of a comment at a file's beginning.
var headerLine = regexp.MustCompile(`(?mi)^(?:[ \t]*<\?php)?[ \t/*#@]*([a-z ]+):(.*)$`)

// header finds one line of a header, as WordPress does.
func header(head []byte, title string) string {
	text := strings.ReplaceAll(string(head), "\r", "\n")
	for _, m := range headerLine.FindAllStringSubmatch(text, -1) {
		if !strings.EqualFold(m[1], title) {
			continue
		}
		value := m[2]
		for _, end := range []string{"*/", "?>"} {
			value, _, _ = strings.Cut(value, end)
		}
		return shorten(strings.TrimSpace(value))
	}
	return ""
}

// shorten bounds what somebody else wrote, and makes UTF-8 of it.
func shorten(text string) string {
	const most = 300
	return strings.ToValidUTF8(text[:min(len(text), most)], "\uFFFD")
}
