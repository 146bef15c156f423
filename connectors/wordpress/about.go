package wordpress

import (
	"bytes"
	"encoding/json"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// aboutName is the member that tells of a site.
const aboutName = "wordpress.json"

// about is wordpress.json: what to know of a site to restore it. It holds no secrets.
type about struct {
	Format    string        `json:"format"`
	WordPress aboutCore     `json:"wordpress"`
	Site      aboutSite     `json:"site"`
	Database  aboutDatabase `json:"database"`
	Plugins   []component   `json:"plugins"`
	MustUse   []component   `json:"mu_plugins"`
	Themes    []component   `json:"themes"`
	Files     aboutFiles    `json:"files"`
}

type aboutCore struct {
	Version string `json:"version"`
}

type aboutSite struct {
	SiteURL   string `json:"site_url"`
	Home      string `json:"home_url"`
	Multisite bool   `json:"multisite"`
	Sites     int    `json:"sites"`
}

type aboutDatabase struct {
	Name        string `json:"name"`
	Member      string `json:"member"`
	Host        string `json:"host"` // DB_HOST as it stands in wp-config.php
	Charset     string `json:"charset"`
	Collate     string `json:"collate"`
	TablePrefix string `json:"table_prefix"`
}

type aboutFiles struct {
	Root string `json:"root"`
	// Config is the member that wp-config.php is.
	Config string `json:"config"`
	// Links are folders that are links on the server, and folders here.
	Links []string `json:"links"`
	// Outside are folders of the site that are not in the snapshot.
	Outside  []aboutFolder `json:"outside"`
	Excluded []string      `json:"excluded"`
}

type aboutFolder struct {
	Constant string `json:"constant"`
	Path     string `json:"path"`
}

// item is wordpress.json as a member.
func (s *source) aboutItem(f *site, inv *inventory, member string) (connectors.Item, error) {
	a := about{
		Format:    "xvault-wordpress/1",
		WordPress: aboutCore{Version: inv.version},
		Site:      aboutSite{SiteURL: f.siteURL(), Home: f.home(), Multisite: f.settings.multisite, Sites: max(1, f.facts.sites)},
		Database: aboutDatabase{
			Name: f.settings.database, Member: member, Host: f.settings.host, Charset: f.settings.charset, Collate: f.settings.collate, TablePrefix: f.settings.prefix,
		},
		Plugins: inv.plugins, MustUse: inv.mustUse, Themes: inv.themes,
		Files: aboutFiles{
			Root: f.root, Config: filesFolder + "/" + configName, Links: []string{}, Outside: []aboutFolder{},
			Excluded: append([]string{}, s.config.filesConfig(f.settings.content).Exclude...),
		},
	}
	if f.above {
		a.Files.Config = configName
	}
	for _, link := range f.links {
		a.Files.Links = append(a.Files.Links, f.memberOf(link[1:]))
	}
	for _, o := range f.settings.outside(f.root) {
		a.Files.Outside = append(a.Files.Outside, aboutFolder{o.constant, o.path})
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetIndent("", "  ")
	out.SetEscapeHTML(false)
	if err := out.Encode(a); err != nil {
		return connectors.Item{}, job.Errorf(job.Internal, "what is known of the site cannot be written: %w", err)
	}
	return s.made(aboutName, b.Bytes()), nil
}

// made is a member that is not a file on the server as it stands.
func (s *source) made(name string, content []byte) connectors.Item {
	return connectors.Item{
		Header: entry.Header{Path: name, Kind: entry.File, Size: int64(len(content)), Mode: 0o600, ModTime: s.options.Now()},
		Body:   bytes.NewReader(content),
	}
}

// siteURL is the site's address: what wp-config.php says counts before the database.
func (f *site) siteURL() string {
	if f.settings.siteURL != "" {
		return f.settings.siteURL
	}
	return f.facts.siteURL
}

func (f *site) home() string {
	if f.settings.home != "" {
		return f.settings.home
	}
	return f.facts.home
}
