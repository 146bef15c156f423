package wordpress

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/sshconn"
)

// Config is the configuration of a source in its canonical form. It holds no secrets.
type Config struct {
	Host     string `json:"host"` // a name or an address
	Port     int    `json:"port"`
	Username string `json:"username"`
	// Root is the absolute path of the site's folder, in which wp-load.php is.
	Root string `json:"root"`
	// Exclude holds patterns of connectors.Excludes; they are tried after those of
	// caches, so that "!" takes one back.
	Exclude []string `json:"exclude"`
	// IncludeCaches has what caching plugins keep in the snapshot, too.
	IncludeCaches bool `json:"include_caches"`
	// ContentOutside says that it is known, and fine, that the site has its content
	// (WP_CONTENT_DIR and the like) in a folder outside Root, which is not stored.
	ContentOutside bool `json:"content_outside"`
	// HideVersions keeps the versions of WordPress, plugins and themes out of the
	// manifest, which is not sealed.
	HideVersions bool `json:"hide_versions,omitempty"`
	// URL is the site's address, for a wp-config.php that chooses by it.
	URL string `json:"url,omitempty"`
	// Environment is what wp-config.php finds in the environment: "NAME=value", or "NAME"
	// for a variable that is not set. It holds no secrets; those are in EnvFile.
	Environment []string `json:"environment,omitempty"`
	// EnvFile is the absolute path of a .env file on the server; empty: there is none.
	EnvFile string `json:"env_file,omitempty"`
	// WPCLI has wp-cli asked for settings that cannot be told by reading alone. It runs
	// wp-config.php.
	WPCLI bool `json:"wp_cli,omitempty"`
	// HostKeys holds public key lines or SHA256 fingerprints.
	HostKeys []string `json:"host_keys"`
	// TrustOnFirstUse pins the key that the first connection shows.
	TrustOnFirstUse bool `json:"trust_on_first_use"`
	// Hooks run on the site's machine; nil where there are none.
	Hooks *connectors.Hooks `json:"hooks,omitempty"`
}

const (
	defaultPort = 22
	maxExcludes = 1000
	// maxEnvironment bounds how many variables are given.
	maxEnvironment = 200
)

// Validate checks a raw configuration and returns it in canonical form, or every
// fault it found.
func Validate(raw []byte) ([]byte, []connectors.FieldError) {
	f := connectors.ParseFields(raw)
	c := Config{
		Host:            f.Host("host"),
		Port:            f.Int("port", defaultPort, 1, 65535),
		Username:        f.Username("username"),
		Root:            root(f),
		Exclude:         excludes(f),
		IncludeCaches:   f.Bool("include_caches", false),
		ContentOutside:  f.Bool("content_outside", false),
		HideVersions:    f.Bool("hide_versions", false),
		URL:             siteURL(f),
		Environment:     f.Texts("environment", maxEnvironment, cleanVariable),
		EnvFile:         envFile(f),
		WPCLI:           f.Bool("wp_cli", false),
		HostKeys:        sshconn.HostKeys(f, "host_keys"),
		TrustOnFirstUse: f.Bool("trust_on_first_use", false),
		Hooks:           connectors.ParseHooks(f),
	}
	if faults := f.Faults(); len(faults) > 0 {
		return nil, faults
	}
	canonical, err := json.Marshal(c)
	if err != nil {
		return nil, []connectors.FieldError{{Message: err.Error()}}
	}
	return canonical, nil
}

func root(f *connectors.Fields) string {
	given := f.Text("root")
	if given == "" {
		return ""
	}
	clean, err := connectors.CleanPath(given)
	switch {
	case err != nil:
		f.Fault("root", "%v", err)
	case strings.Contains(clean, "\n"):
		f.Fault("root", "must not hold a newline")
	case strings.HasSuffix(clean, "/"+configName):
		f.Fault("root", "must be the folder of %s, not the file itself", configName)
	}
	return clean
}

func siteURL(f *connectors.Fields) string {
	given := f.OptionalText("url", "")
	if given == "" {
		return ""
	}
	clean, err := connectors.CleanSiteURL(given)
	if err != nil {
		f.Fault("url", "%v", err)
	}
	return clean
}

func envFile(f *connectors.Fields) string {
	given := f.OptionalText("env_file", "")
	if given == "" {
		return ""
	}
	clean, err := connectors.CleanPath(given)
	if err != nil {
		f.Fault("env_file", "%v", err)
	}
	return clean
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// cleanVariable checks "NAME=value" or "NAME". A configuration is shown to whoever may see
// the source, so no password belongs into it.
func cleanVariable(text string) (string, error) {
	name, _, _ := strings.Cut(text, "=")
	switch {
	case !variableName.MatchString(name):
		return "", errors.New(`must be "NAME=value", or "NAME" for a variable that is not set`)
	case len(text) > 4096:
		return "", errors.New("is longer than 4096 bytes")
	case secretName.MatchString(name) && !strings.HasSuffix(name, "_FILE") && strings.Contains(text, "="):
		return "", errSecret
	case addressWithPassword.MatchString(text):
		return "", errSecret
	}
	return text, nil
}

// secretName is how variables are called that hold secrets.
var secretName = regexp.MustCompile(`(?i)(password|passwd|secret|_pass$|_key$|_salt$|token|(^|_)pwd$|(^|_)dsn$)`)

// addressWithPassword is how a value reads that is an address with a password in it.
var addressWithPassword = regexp.MustCompile(`://[^/@:\s]*:[^/@\s]+@`)

var errSecret = errors.New("seems to be a secret, and a configuration is no place for one: use env_file")

func excludes(f *connectors.Fields) []string {
	return f.Texts("exclude", maxExcludes, func(pattern string) (string, error) {
		_, faults := connectors.ParseExcludes([]string{pattern})
		return pattern, faults[0]
	})
}

// caches are the folders, below that of the content, in which plugins keep what they
// make anew, and WordPress what it unpacks for an update.
var caches = []string{
	"cache/", "uploads/cache/", "upgrade/", "upgrade-temp-backup/",
	"boost-cache/", "et-cache/", "endurance-page-cache/", "litespeed/", "nginx-cache/", "speedycache/", "wpo-cache/",
}

// filesConfig is the configuration of the source that reads the files.
func (c Config) filesConfig(content string) sftp.Config {
	var exclude []string
	if !c.IncludeCaches {
		for _, folder := range caches {
			exclude = append(exclude, escapeGlob(strings.TrimSuffix(content, "/"))+"/"+folder)
		}
	}
	return sftp.Config{
		Host: c.Host, Port: c.Port, Username: c.Username, Paths: []string{c.Root},
		Exclude: append(exclude, c.Exclude...), HostKeys: c.HostKeys, TrustOnFirstUse: c.TrustOnFirstUse,
	}
}

// escapeGlob makes a pattern of a path that matches that path alone.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}
