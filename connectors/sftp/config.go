package sftp

import (
	"encoding/json"
	"slices"

	"xvault/connectors"
	"xvault/connectors/sshconn"
)

// Config is the configuration of a source of the types sftp and ssh in its
// canonical form. It holds no secrets.
type Config struct {
	Host     string `json:"host"` // a name or an address
	Port     int    `json:"port"`
	Username string `json:"username"`
	// Paths are absolute and clean, each once. One may lie below another.
	Paths []string `json:"paths"`
	// Exclude holds patterns of connectors.Excludes.
	Exclude []string `json:"exclude"`
	// HostKeys holds public key lines or SHA256 fingerprints.
	HostKeys []string `json:"host_keys"`
	// TrustOnFirstUse pins the key that the first connection shows.
	TrustOnFirstUse bool `json:"trust_on_first_use"`
	// Hooks are nil where there are none.
	Hooks *connectors.Hooks `json:"hooks,omitempty"`
}

// Limits of a configuration.
const (
	defaultPort = 22
	maxPaths    = 1000
	maxExcludes = 1000
)

// Validate checks a raw configuration and returns it in canonical form, or every
// fault it found.
func Validate(raw []byte) ([]byte, []connectors.FieldError) {
	c, faults := parse(raw)
	if len(faults) > 0 {
		return nil, faults
	}
	canonical, err := json.Marshal(c)
	if err != nil {
		return nil, []connectors.FieldError{{Message: err.Error()}}
	}
	return canonical, nil
}

func parse(raw []byte) (Config, []connectors.FieldError) {
	f := connectors.ParseFields(raw)
	c := Config{
		Host:            f.Host("host"),
		Port:            f.Int("port", defaultPort, 1, 65535),
		Username:        f.Username("username"),
		Paths:           paths(f),
		Exclude:         excludes(f),
		HostKeys:        sshconn.HostKeys(f, "host_keys"),
		TrustOnFirstUse: f.Bool("trust_on_first_use", false),
		Hooks:           connectors.ParseHooks(f),
	}
	return c, f.Faults()
}

func paths(f *connectors.Fields) []string {
	list := unique(f.Texts("paths", maxPaths, connectors.CleanPath))
	if len(list) == 0 && !f.Wrong("paths") && !f.Wrong("") {
		f.Fault("paths", "must name at least one absolute path")
	}
	return list
}

func excludes(f *connectors.Fields) []string {
	return f.Texts("exclude", maxExcludes, func(pattern string) (string, error) {
		_, faults := connectors.ParseExcludes([]string{pattern})
		return pattern, faults[0]
	})
}

// unique keeps the first of equal items, in order.
func unique(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}
