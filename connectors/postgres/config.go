package postgres

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"

	"xvault/connectors"
	"xvault/connectors/sshtunnel"
)

// Config is the configuration of a source in its canonical form. It holds no
// secrets.
type Config struct {
	Host     string `json:"host,omitempty"` // a name or an address
	Port     int    `json:"port"`
	Username string `json:"username"`
	// Databases are names, each once; or "*" alone, for all that are no templates.
	Databases []string `json:"databases"`
	// Schemas, where there are any, are all that is dumped of each database.
	Schemas []string `json:"schemas"`
	// ExcludeTables are patterns of tables that are left out: see tablePattern.
	ExcludeTables []string `json:"exclude_tables"`
	Format        Format   `json:"format"`
	SSLMode       SSLMode  `json:"sslmode"`
	// CAPEM are the authorities that the server's certificate is checked against;
	// empty means those of the worker's system.
	CAPEM string `json:"ca_pem"`
	// SSH is the machine through which the server is reached; nil: straight.
	SSH *sshtunnel.Config `json:"ssh,omitempty"`
	// Hooks run there; nil where there are none.
	Hooks *connectors.Hooks `json:"hooks,omitempty"`
	// Socket, on that machine, is the server's; empty: Host and Port, as that machine
	// resolves them.
	Socket string `json:"socket,omitempty"`
}

// Format is how a database is written.
type Format string

// The formats.
const (
	Custom Format = "custom"
	Plain  Format = "plain"
)

// SSLMode says, in libpq's words, whether TLS is used and what is checked.
type SSLMode string

// The modes. Prefer is the default, as it is libpq's: many servers inside a network
// have no TLS at all. Unlike with libpq, no server is ever sent a password in the
// clear over a connection without TLS, unless the mode is Disable.
const (
	Disable    SSLMode = "disable"
	Allow      SSLMode = "allow"
	Prefer     SSLMode = "prefer"
	Require    SSLMode = "require"
	VerifyCA   SSLMode = "verify-ca"
	VerifyFull SSLMode = "verify-full"
)

// Limits of a configuration.
const (
	defaultPort  = 5432
	maxDatabases = 1000
	maxSchemas   = 1000
	maxExcludes  = 1000
	maxName      = 63 // of PostgreSQL, in bytes
	maxPattern   = 1000
	maxCA        = 256 << 10
)

// all stands for every database.
const all = "*"

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
		Host:          host(f),
		Port:          f.Int("port", defaultPort, 1, 65535),
		Username:      username(f),
		Databases:     databases(f),
		Schemas:       unique(f.Texts("schemas", maxSchemas, cleanName)),
		ExcludeTables: unique(f.Texts("exclude_tables", maxExcludes, cleanPattern)),
		Format:        Format(f.OneOf("format", string(Custom), string(Custom), string(Plain))),
		SSLMode: SSLMode(f.OneOf("sslmode", string(Prefer),
			string(Disable), string(Allow), string(Prefer), string(Require), string(VerifyCA), string(VerifyFull))),
		SSH: sshtunnel.Parse(f),
	}
	c.CAPEM = caPEM(f, c.SSLMode)
	c.Hooks = sshtunnel.Hooks(f, c.SSH)
	c.Socket = sshtunnel.Socket(f, "socket", c.SSH)
	if fault := c.remoteFault(); fault != "" && c.SSH.Remote() {
		f.Fault("ssh.dump", "the ssh host's own programs cannot be used: %s", fault)
	}
	return c, f.Faults()
}

// host is optional where a socket stands for it.
func host(f *connectors.Fields) string {
	if f.Given("socket") && !f.Given("host") {
		return f.OptionalText("host", "")
	}
	return f.Host("host")
}

func username(f *connectors.Fields) string {
	u := f.Text("username")
	if _, err := cleanName(u); u != "" && err != nil {
		f.Fault("username", "%v", err)
	}
	return u
}

func databases(f *connectors.Fields) []string {
	list := unique(f.Texts("databases", maxDatabases, cleanName))
	switch {
	case f.Wrong("databases") || f.Wrong(""):
	case len(list) == 0:
		f.Fault("databases", `must name at least one database, or be ["*"] for all`)
	case len(list) > 1 && slices.Contains(list, all):
		f.Fault("databases", `must be ["*"] alone, or names without it`)
	}
	return list
}

// cleanName checks the name of a thing in PostgreSQL, which may be nearly anything.
func cleanName(name string) (string, error) {
	switch {
	case name == "":
		return "", errors.New("must not be empty")
	case len(name) > maxName:
		return "", fmt.Errorf("must be at most %d bytes long, as PostgreSQL has it", maxName)
	case strings.ContainsRune(name, 0):
		return "", errors.New("must not hold a zero byte")
	}
	return name, nil
}

func cleanPattern(pattern string) (string, error) {
	if len(pattern) > maxPattern {
		return "", fmt.Errorf("must be at most %d bytes long", maxPattern)
	}
	_, err := parseTablePattern(pattern)
	return pattern, err
}

func caPEM(f *connectors.Fields, mode SSLMode) string {
	text := strings.TrimSpace(f.OptionalText("ca_pem", ""))
	if text == "" {
		return ""
	}
	if len(text) > maxCA {
		f.Fault("ca_pem", "must be at most %d bytes long", maxCA)
		return ""
	}
	if err := checkCertificates([]byte(text)); err != nil {
		f.Fault("ca_pem", "%v", err)
	}
	if mode != Require && mode != VerifyCA && mode != VerifyFull {
		f.Fault("ca_pem", "has no effect with sslmode %q: use verify-full, verify-ca or require", mode)
	}
	return text + "\n"
}

func checkCertificates(text []byte) error {
	for n := 0; ; n++ {
		block, rest := pem.Decode(text)
		if block == nil {
			if n == 0 || strings.TrimSpace(string(text)) != "" {
				return errors.New("must be certificates in PEM form and nothing else")
			}
			return nil
		}
		if block.Type != "CERTIFICATE" {
			return fmt.Errorf("must hold certificates alone, not a %q", block.Type)
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return fmt.Errorf("has a certificate that cannot be read: %w", err)
		}
		text = rest
	}
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
