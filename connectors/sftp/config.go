package sftp

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

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
}

// Limits of a configuration.
const (
	defaultPort = 22
	maxPaths    = 1000
	maxExcludes = 1000
	maxHostKeys = 100
	maxHost     = 253
	maxUsername = 255
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
		Host:            host(f),
		Port:            f.Int("port", defaultPort, 1, 65535),
		Username:        username(f),
		Paths:           paths(f),
		Exclude:         excludes(f),
		HostKeys:        hostKeys(f),
		TrustOnFirstUse: f.Bool("trust_on_first_use", false),
	}
	return c, f.Faults()
}

func host(f *connectors.Fields) string {
	h := f.Text("host")
	if h == "" {
		return ""
	}
	if inner, ok := strings.CutPrefix(h, "["); ok && strings.HasSuffix(inner, "]") {
		h = strings.TrimSuffix(inner, "]")
	}
	if _, err := netip.ParseAddr(h); err == nil {
		return h
	}
	switch {
	case len(h) > maxHost:
		f.Fault("host", "must be at most %d characters long", maxHost)
	case strings.Contains(h, "://"):
		f.Fault("host", "must be a name or an address alone, without a scheme")
	case strings.Contains(h, ":"):
		f.Fault("host", "must be a name or an address alone; the port is a field of its own")
	case strings.ContainsFunc(h, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune(`/\@"'[]<>`, r) }):
		f.Fault("host", "must be a name or an address")
	}
	return h
}

func username(f *connectors.Fields) string {
	u := f.Text("username")
	switch {
	case len(u) > maxUsername:
		f.Fault("username", "must be at most %d bytes long", maxUsername)
	case strings.ContainsFunc(u, func(r rune) bool { return r < ' ' || r == 0x7f }):
		f.Fault("username", "must not hold control characters")
	}
	return u
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

func hostKeys(f *connectors.Fields) []string {
	return unique(f.Texts("host_keys", maxHostKeys, func(text string) (string, error) {
		p, err := sshconn.ParsePin(text)
		return p.String(), err
	}))
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
