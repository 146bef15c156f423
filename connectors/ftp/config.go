package ftp

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"xvault/connectors"
	"xvault/connectors/ftp/wire"
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
	c := Config{Host: f.Host("host"), TLS: f.OneOf("tls", tlsExplicit, tlsExplicit, tlsImplicit, tlsNone)}
	missing := portExplicit
	if c.TLS == tlsImplicit {
		missing = portImplicit
	}
	c.Port = f.Int("port", missing, 1, 65535)
	c.Username = f.Username("username")
	c.Paths = paths(f)
	c.Exclude = f.Texts("exclude", maxExcludes, func(pattern string) (string, error) {
		_, faults := connectors.ParseExcludes([]string{pattern})
		return pattern, faults[0]
	})
	c.CAPEM = authorities(f, c.TLS)
	return c, f.Faults()
}

// paths reads absolute paths, each once, in the order that they are given in.
func paths(f *connectors.Fields) []string {
	seen := map[string]bool{}
	list := slices.DeleteFunc(f.Texts("paths", maxPaths, cleanPath), func(p string) bool {
		again := seen[p]
		seen[p] = true
		return again
	})
	if len(list) == 0 && !f.Wrong("paths") && !f.Wrong("") {
		f.Fault("paths", "must name at least one absolute path")
	}
	return list
}

func cleanPath(p string) (string, error) {
	clean, err := connectors.CleanPath(p)
	if err == nil && !wire.Sendable(clean) {
		err = errors.New("must not hold a line break, which no FTP command can")
	}
	return clean, err
}

func authorities(f *connectors.Fields, way string) string {
	pem := f.OptionalText("ca_pem", "")
	switch {
	case pem == "":
	case len(pem) > maxCA:
		f.Fault("ca_pem", "must be at most %d bytes long", maxCA)
	case strings.Contains(pem, "PRIVATE KEY"):
		f.Fault("ca_pem", "must hold certificates only; it holds a private key, which should be replaced now")
	case way == tlsNone:
		f.Fault("ca_pem", `has no meaning with tls "none", for no certificate is asked for then`)
	case !x509.NewCertPool().AppendCertsFromPEM([]byte(pem)):
		f.Fault("ca_pem", "must hold at least one certificate as PEM")
	}
	return pem
}
