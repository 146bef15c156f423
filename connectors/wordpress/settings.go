package wordpress

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	"xvault/connectors/sshconn"
	"xvault/connectors/wordpress/php"
	"xvault/internal/job"
	"xvault/internal/secret"
)

const (
	configName   = "wp-config.php"
	loadName     = "wp-load.php"
	settingsName = "wp-settings.php"
)

// settings are what a backup has to know of wp-config.php.
type settings struct {
	database, user string
	password       secret.Text
	host           string // DB_HOST as it stands there
	address        address
	charset        string
	collate        string
	prefix         string
	multisite      bool
	siteURL, home  string // WP_SITEURL and WP_HOME, where they are set
	content        string // the folder of the content
	folders        []folder
	found          *php.Settings
}

// folder is one of the site's that a constant moves elsewhere.
type folder struct{ constant, path string }

// readSettings understands wp-config.php.
func readSettings(src []byte, root string, c php.Config) (*settings, error) {
	found, err := php.Read(src, c)
	if err != nil {
		if e, ok := errors.AsType[*job.Error](err); ok {
			return nil, e
		}
		return nil, job.Errorf(job.ConfigInvalid, "%q cannot be understood: %w", c.Path, sshconn.Quoted(err))
	}
	return settingsOf(found, root, c.Path)
}

// settingsOf takes what a backup has to know.
func settingsOf(found *php.Settings, root, file string) (*settings, error) {
	r := &settingReader{file: file, found: found}
	s := &settings{
		database: r.must("DB_NAME"), user: r.must("DB_USER"), password: secret.New(r.text("DB_PASSWORD")), host: r.must("DB_HOST"),
		charset: r.text("DB_CHARSET"), collate: r.text("DB_COLLATE"), prefix: r.prefix(),
		siteURL: r.maybe("WP_SITEURL"), home: r.maybe("WP_HOME"), multisite: r.multisite(), found: found,
	}
	s.content = r.folders(s, root)
	if r.err != nil {
		return nil, r.err
	}
	var err error
	s.address, err = parseHost(s.host)
	return s, err
}

// settingReader keeps the first error.
type settingReader struct {
	file  string
	found *php.Settings
	err   error
}

func (r *settingReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// text reads a constant that may be absent or empty.
func (r *settingReader) text(name string) string {
	text, _, err := r.found.Constant(name)
	if err != nil {
		r.fail(r.unknown(err))
	}
	return text
}

// must reads a constant that has to be there.
func (r *settingReader) must(name string) string {
	text, ok, err := r.found.Constant(name)
	switch {
	case err != nil:
		r.fail(r.unknown(err))
	case !ok:
		r.fail(job.Errorf(job.ConfigInvalid, "%q does not define %s. If another program provides it, write it into the file; the file is read, never run. If it depends on the site's address or the environment, tell that in the source's configuration: url, environment, env_file; or have wp-cli asked: wp_cli", r.file, name))
	case text == "" && name != "DB_HOST":
		r.fail(job.Errorf(job.ConfigInvalid, "%q defines %s as nothing", r.file, name))
	}
	return text
}

// maybe reads a constant that is told of only where it is known.
func (r *settingReader) maybe(name string) string {
	text, _, err := r.found.Constant(name)
	if err != nil {
		return ""
	}
	return text
}

// unknown explains a setting that only the running site knows. It never quotes a value.
func (r *settingReader) unknown(err error) error {
	u, ok := errors.AsType[*php.UnknownError](err)
	if !ok {
		return err
	}
	return job.Errorf(job.ConfigInvalid, "what %s is cannot be told from %q: %s. The file is read, never run: write the value there, in quotes, or tell what it depends on: environment, env_file, url, or wp_cli, in the source's configuration", u.Name, r.file, sshconn.Escape(u.Error(), 400))
}

// goodPrefix is what WordPress lets be one.
var goodPrefix = regexp.MustCompile(`^[A-Za-z0-9_]{1,60}$`)

func (r *settingReader) prefix() string {
	prefix, ok, err := r.found.Variable("table_prefix")
	switch {
	case err != nil:
		r.fail(r.unknown(err))
	case !ok:
		r.fail(job.Errorf(job.ConfigInvalid, "%q does not set $table_prefix", r.file))
	case !goodPrefix.MatchString(prefix):
		r.fail(job.Errorf(job.ConfigInvalid, "$table_prefix in %q may hold letters, digits and _ only", r.file))
	}
	return prefix
}

func (r *settingReader) multisite() bool {
	many, err := r.found.True("MULTISITE")
	if err != nil {
		r.fail(r.unknown(err))
	}
	return many
}

// folders finds out where the site keeps its content.
func (r *settingReader) folders(s *settings, root string) string {
	content := path.Join(root, "wp-content")
	for _, name := range []string{"WP_CONTENT_DIR", "WP_PLUGIN_DIR", "WPMU_PLUGIN_DIR", "UPLOADS"} {
		at := r.text(name)
		if at == "" {
			continue
		}
		if name == "UPLOADS" {
			at = path.Join(root, at) // relative, WordPress says
		}
		if !path.IsAbs(at) {
			r.fail(job.Errorf(job.ConfigInvalid, "%s in %q is no absolute path: %.200q", name, r.file, at))
			continue
		}
		at = path.Clean(at)
		s.folders = append(s.folders, folder{name, at})
		if name == "WP_CONTENT_DIR" {
			content = at
		}
	}
	return content
}

// outside lists the folders that are not below the site's.
func (s *settings) outside(root string) (list []folder) {
	for _, f := range s.folders {
		if f.path != root && !strings.HasPrefix(f.path, strings.TrimSuffix(root, "/")+"/") {
			list = append(list, f)
		}
	}
	return list
}

func (f folder) String() string { return fmt.Sprintf("%s is %.200q", f.constant, f.path) }
