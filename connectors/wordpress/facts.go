package wordpress

import (
	"context"
	"regexp"
	"strings"
	"sync"

	"xvault/connectors/mysql"
	"xvault/internal/job"
)

// facts are what the database tells of the site.
type facts struct {
	siteURL, home string
	active        []string // plugins, as WordPress names them
	theme         string
	sites         int // of a multisite network
}

// connect reaches the database, and finds out what it tells of the site.
func (s *source) connect(ctx context.Context, f *site) error {
	at, err := f.files.reachable(ctx, f.settings.address)
	if err != nil {
		return err
	}
	if f.database, err = s.openDatabase(f.settings, at); err != nil {
		return err
	}
	f.facts, err = f.ask(ctx)
	return err
}

// asked are the options that are told of.
const asked = "'siteurl', 'home', 'active_plugins', 'stylesheet'"

// ask asks the database what it knows. That it answers shows that it is the site's.
func (f *site) ask(ctx context.Context) (facts, error) {
	quoted := func(table string) string {
		return mysql.QuoteName(f.settings.database) + "." + mysql.QuoteName(f.settings.prefix+table)
	}
	statements := []string{"SELECT option_name, LEFT(option_value, 65536) FROM " + quoted("options") + " WHERE option_name IN (" + asked + ")"}
	if f.settings.multisite {
		statements = append(statements, "SELECT COUNT(*) FROM "+quoted("blogs"),
			"SELECT LEFT(IFNULL(meta_value, ''), 65536) FROM "+quoted("sitemeta")+" WHERE meta_key = 'active_sitewide_plugins'")
	}
	answers, err := f.database.Ask(ctx, statements...)
	if err != nil {
		return facts{}, f.askError(err)
	}
	var found facts
	for _, row := range answers[0] {
		switch row[0] {
		case "siteurl":
			found.siteURL = row[1]
		case "home":
			found.home = row[1]
		case "stylesheet":
			found.theme = row[1]
		case "active_plugins":
			found.active = append(found.active, pluginsIn(row[1])...)
		}
	}
	if found.siteURL == "" {
		return facts{}, job.Errorf(job.SourceEmpty, "the database %q has no site in the tables that begin with %q: its options name no siteurl. Check DB_NAME and $table_prefix in %s", f.settings.database, f.settings.prefix, configName)
	}
	if f.settings.multisite {
		found.sites = count(answers[1])
		for _, row := range answers[2] {
			found.active = append(found.active, pluginsIn(row[0])...)
		}
	}
	return found, nil
}

// askError says whose tables are missing.
func (f *site) askError(err error) error {
	if job.CodeOf(err) == job.SourceChanged { // no such table
		return job.Errorf(job.PathNotFound, "the database %q has no tables of a site that begin with %q: check DB_NAME and $table_prefix in %s, and whether WordPress was installed: %w",
			f.settings.database, f.settings.prefix, configName, err)
	}
	return err
}

func count(rows [][]string) int {
	n := 0
	for _, row := range rows {
		for _, c := range row[0] {
			if c >= '0' && c <= '9' && n < 1<<40 {
				n = n*10 + int(c-'0')
			}
		}
	}
	return n
}

// pluginName is a plugin's main file in a serialized list of them. It is made when it is
// needed, as that takes time which no command should lose at its start.
var pluginName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`s:\d+:"([^"]{1,500}\.php)";`) })

func pluginsIn(serialized string) (names []string) {
	for _, m := range pluginName().FindAllStringSubmatch(serialized, maxNames) {
		if !strings.Contains(m[1], "..") {
			names = append(names, m[1])
		}
	}
	return names
}
