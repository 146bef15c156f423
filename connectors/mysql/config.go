package mysql

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"xvault/connectors"
	"xvault/connectors/sshtunnel"
)

// Config is the configuration of a source in its canonical form. It holds no
// secrets.
type Config struct {
	Host string `json:"host"` // a name or an address
	Port int    `json:"port"`
	// Socket is where the server listens on the ssh host, in place of Host and Port.
	Socket   string `json:"socket,omitempty"`
	Username string `json:"username"`
	// Databases are names, each once, or the one word "*": all but the system's own.
	Databases []string `json:"databases"`
	// Tables limits the backup to these, ExcludeTables leaves some out: "table" in
	// every database, or "database.table". With Tables nothing but these is in the
	// dump, with their triggers: no routines and no events.
	Tables        []string `json:"tables"`
	ExcludeTables []string `json:"exclude_tables"`
	// Routines has stored procedures and functions in the dump. False also means
	// that no privilege to see them is asked for.
	Routines bool    `json:"routines"`
	TLS      TLSMode `json:"tls"`
	// CAPEM are the authorities that may have signed the server's certificate; empty
	// means the system's.
	CAPEM string            `json:"ca_pem,omitempty"`
	SSH   *sshtunnel.Config `json:"ssh,omitempty"`
	// Hooks run on the ssh host; nil where there are none.
	Hooks *connectors.Hooks `json:"hooks,omitempty"`
}

// Limits of a configuration.
const (
	defaultPort  = 3306
	maxDatabases = 1000
	maxTables    = 1000
	// maxName is how long a name may be, in characters.
	maxName = 64
)

// everything stands for all databases.
const everything = "*"

// Validate checks a raw configuration and returns it in canonical form, or every
// fault it found.
func Validate(raw []byte) ([]byte, []connectors.FieldError) {
	f := connectors.ParseFields(raw)
	c := parse(f)
	if faults := f.Faults(); len(faults) > 0 {
		return nil, faults
	}
	canonical, err := json.Marshal(c)
	if err != nil {
		return nil, []connectors.FieldError{{Message: err.Error()}}
	}
	return canonical, nil
}

func parse(f *connectors.Fields) Config {
	c := Config{
		Port:          f.Int("port", defaultPort, 1, 65535),
		Username:      f.Username("username"),
		Databases:     databases(f),
		Tables:        names(f, "tables", maxTables, 2*maxName+1),
		ExcludeTables: names(f, "exclude_tables", maxTables, 2*maxName+1),
		Routines:      f.Bool("routines", true),
		SSH:           sshtunnel.Parse(f),
	}
	c.Hooks = sshtunnel.Hooks(f, c.SSH)
	c.Socket = sshtunnel.Socket(f, "socket", c.SSH)
	c.Host = "localhost"
	if c.Socket == "" || f.Given("host") {
		c.Host = f.Host("host")
	}
	c.TLS, c.CAPEM = tlsFields(f, c.Socket != "")
	if c.SSH.Remote() && c.TLS.verifies() {
		f.Fault("ssh.dump", "the ssh host's programs are not told which certificates to trust: use tunnel, or tls required, preferred or disabled")
	}
	return c
}

func databases(f *connectors.Fields) []string {
	list := names(f, "databases", maxDatabases, maxName)
	switch {
	case f.Wrong("databases") || f.Wrong(""):
	case len(list) == 0:
		f.Fault("databases", `must name at least one database, or be ["*"] for all`)
	case slices.Contains(list, everything) && len(list) > 1:
		f.Fault("databases", `must be "*" alone, or names`)
	}
	for i, name := range list {
		if isVirtual(name) {
			f.Fault(fmt.Sprintf("databases[%d]", i), "%q is made up by the server and holds nothing of its own; leave it out", name)
		}
	}
	return list
}

// names reads a list of names, each once.
func names(f *connectors.Fields, field string, limit, length int) []string {
	seen := map[string]bool{}
	list := f.Texts(field, limit, func(name string) (string, error) { return name, checkName(name, length) })
	return slices.DeleteFunc(list, func(name string) bool {
		again := seen[name]
		seen[name] = true
		return again
	})
}

func checkName(name string, length int) error {
	switch {
	case name == "":
		return errors.New("must not be empty")
	case utf8.RuneCountInString(name) > length:
		return fmt.Errorf("must be at most %d characters long", length)
	case strings.ContainsFunc(name, func(r rune) bool { return r == 0 || r == utf8.RuneError || r > 0xffff }):
		return errors.New("holds a character that no name can have")
	case strings.HasSuffix(name, " "):
		return errors.New("must not end in a space: no name does")
	}
	return nil
}

// isVirtual: schemas that hold no data of their own.
func isVirtual(name string) bool {
	switch strings.ToLower(name) {
	case "information_schema", "performance_schema", "sys":
		return true
	}
	return false
}

// isSystem: schemas that "*" does not stand for.
func isSystem(name string) bool { return isVirtual(name) || strings.EqualFold(name, "mysql") }
