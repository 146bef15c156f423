package ftp

import (
	"crypto/x509"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"

	"xvault/connectors"
)

// Config is the configuration of a source of the type ftp in its canonical form. It
// holds no secrets.
type Config struct {
	Host     string `json:"host"` // a name or an address
	Port     int    `json:"port"` // 21, or 990 with implicit TLS, unless it is named
	Username string `json:"username"`
	// Paths are absolute and clean, each once. One may lie below another.
	Paths []string `json:"paths"`
	// Exclude holds patterns of connectors.Excludes.
	Exclude []string `json:"exclude"`
	// TLS is how the connection is protected: "explicit" (AUTH TLS), "implicit", or
	// "none".
	TLS string `json:"tls"`
	// CAPEM holds the certificates, as PEM, that the server's certificate must be
	// signed by, or be. Empty means the authorities that the worker's system trusts.
	CAPEM string `json:"ca_pem"`
}

// Ways to protect a connection.
const (
	tlsExplicit = "explicit"
	tlsImplicit = "implicit"
	tlsNone     = "none"
)

// Limits of a configuration.
const (
	portExplicit = 21
	portImplicit = 990
	maxPaths     = 1000
	maxExcludes  = 1000
	maxHost      = 253
	maxUsername  = 255
	maxCA        = 256 << 10
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
	c := Config{Host: host(f), TLS: protection(f)}
	missing := portExplicit
	if c.TLS == tlsImplicit {
		missing = portImplicit
	}
	c.Port = f.Int("port", missing, 1, 65535)
	c.Username = username(f)
	c.Paths = paths(f)
	c.Exclude = f.Texts("exclude", maxExcludes, func(pattern string) (string, error) {
		_, faults := connectors.ParseExcludes([]string{pattern})
		return pattern, faults[0]
	})
	c.CAPEM = authorities(f, c.TLS)
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
	list := f.Texts("paths", maxPaths, cleanPath)
	slices.Sort(list)
	list = slices.Compact(list)
	if len(list) == 0 && !f.Wrong("paths") && !f.Wrong("") {
		f.Fault("paths", "must name at least one absolute path")
	}
	return list
}

// optional reads a string that may be absent or empty.
func optional(f *connectors.Fields, name string) string {
	list := f.Optional(name)
	return list
}

func protection(f *connectors.Fields) string {
	switch way := optional(f, "tls"); way {
	case "":
		return tlsExplicit
	case tlsExplicit, tlsImplicit, tlsNone:
		return way
	default:
		f.Fault("tls", `must be "explicit", "implicit" or "none"`)
		return way
	}
}

func authorities(f *connectors.Fields, way string) string {
	pem := optional(f, "ca_pem")
	switch {
	case pem == "":
	case len(pem) > maxCA:
		f.Fault("ca_pem", "must be at most %d bytes long", maxCA)
	case way == tlsNone:
		f.Fault("ca_pem", `has no meaning with tls "none", for no certificate is asked for then`)
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(pem)):
		f.Fault("ca_pem", "must hold at least one certificate as PEM")
	case strings.Contains(pem, "PRIVATE KEY"):
		f.Fault("ca_pem", "must hold certificates only; it holds a private key, which should be replaced now")
	}
	return pem
}
