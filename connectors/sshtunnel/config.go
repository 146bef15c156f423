// Package sshtunnel reaches a server through an SSH server: a database that
// listens only where that machine can reach it, or only on a socket there. It holds
// the configuration that every type of source with a tunnel shares, the object
// "ssh", and the tunnel itself.
//
// # What a tunnel promises
//
// The machine in between is dialed by the guarded dialer and has to show a pinned
// host key (see package sshconn). No port is opened, neither here nor there: every
// connection is a channel of its own inside the one SSH connection. When that
// breaks, or is silent for too long, all of them end with an error.
package sshtunnel

import (
	"strings"

	"github.com/google/uuid"

	"xvault/connectors"
	"xvault/connectors/sshconn"
)

// Config is the object "ssh" of a configuration in its canonical form. It holds no
// secrets.
type Config struct {
	Host     string `json:"host"` // a name or an address
	Port     int    `json:"port"`
	Username string `json:"username"`
	// HostKeys holds public key lines or SHA256 fingerprints.
	HostKeys []string `json:"host_keys"`
	// TrustOnFirstUse pins the key that the first connection shows.
	TrustOnFirstUse bool `json:"trust_on_first_use"`
	// CredentialID names the credential that logs in there. Empty: the source's
	// own, for both.
	CredentialID string `json:"credential_id,omitempty"`
	// Dump says whose programs dump a database. Empty is DumpTunnel: so were all
	// configurations from before there was a choice.
	Dump Dump `json:"dump,omitempty"`
}

// Dump says how a database is dumped that only the machine in between can reach.
type Dump string

// The ways.
const (
	// DumpTunnel has the worker's programs do it, through the tunnel.
	DumpTunnel Dump = "tunnel"
	// DumpRemote has that machine's own programs do it.
	DumpRemote Dump = "remote"
	// DumpAuto is DumpTunnel, and DumpRemote where the SSH server forwards nothing. The
	// default.
	DumpAuto Dump = "auto"
)

// Remote reports whether nothing is to go through the tunnel.
func (c *Config) Remote() bool { return c != nil && c.Dump == DumpRemote }

const defaultPort = 22

// Parse reads the object "ssh"; nil where there is none.
func Parse(f *connectors.Fields) *Config {
	var c Config
	if !f.Object("ssh", func(inner *connectors.Fields) { c = parse(inner) }) {
		return nil
	}
	return &c
}

func parse(f *connectors.Fields) Config {
	return Config{
		Host:            f.Host("host"),
		Port:            f.Int("port", defaultPort, 1, 65535),
		Username:        f.Username("username"),
		HostKeys:        sshconn.HostKeys(f, "host_keys"),
		TrustOnFirstUse: f.Bool("trust_on_first_use", false),
		CredentialID:    credentialID(f),
		Dump:            Dump(f.OneOf("dump", string(DumpAuto), string(DumpAuto), string(DumpTunnel), string(DumpRemote))),
	}
}

func credentialID(f *connectors.Fields) string {
	id := f.OptionalText("credential_id", "")
	if id == "" {
		return ""
	}
	parsed, err := uuid.Parse(id)
	if err != nil {
		f.Fault("credential_id", "must be the id of a credential")
		return ""
	}
	return parsed.String()
}

// Socket reads a field that names a socket on the machine in between; empty where
// there is none. A socket of the worker's own machine cannot be named, for the
// people who configure sources do not own that machine.
func Socket(f *connectors.Fields, name string, tunnel *Config) string {
	path := f.OptionalText(name, "")
	switch {
	case path == "":
	case tunnel == nil:
		f.Fault(name, "a socket is reached through ssh only: configure ssh, or leave it out")
	case !strings.HasPrefix(path, "/") || strings.ContainsRune(path, 0) || len(path) > maxSocket:
		f.Fault(name, "must be the absolute path of a socket on the ssh host, at most %d bytes long", maxSocket)
	}
	return path
}

// maxSocket is how long the path of a socket can be.
const maxSocket = 107
