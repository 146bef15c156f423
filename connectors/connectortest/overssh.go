package connectortest

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// OverSSH starts an OpenSSH server, with options beyond those of the test, for a
// connector that reads through one.
func OverSSH(t *testing.T, opts testenv.SSHOptions, o Options, kind connectors.Type, patience time.Duration) *Server {
	t.Helper()
	// Whoever runs the tests as another user than root is unprivileged anyway.
	if o.Unprivileged && os.Getuid() == 0 {
		opts.User = "nobody"
	}
	server := testenv.SSHD(t, opts)
	return &Server{
		Type: kind, Patience: patience, Root: server.Root, Addr: server.Addr(),
		Config: func(host string, port int, paths ...string) map[string]any {
			c := server.Config(paths...)
			c["host"], c["port"] = host, port
			return c
		},
		Credential:      job.Credential{Type: "private_key", PrivateKey: secret.New(server.ClientKeyPEM)},
		WrongCredential: StrangersKey(t),
		Stop:            server.Stop,
		Kills:           []Kill{{What: "the server", Do: server.Kill, Again: server.Start}},
		Unprivileged:    opts.User != "" || os.Getuid() != 0,
		HostKeys:        &HostKeys{Current: server.HostKey, Fingerprint: server.HostKeyFingerprint, Replace: server.ReplaceHostKeys},
	}
}

// StrangersKey is a private key that no server knows.
func StrangersKey(t *testing.T) job.Credential {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return job.Credential{Type: "private_key", PrivateKey: secret.New(string(pem.EncodeToMemory(block)))}
}

// ThroughSSH has a server of databases be reached through an SSH server of its own, in a
// way that the configuration's ssh.dump names.
func ThroughSSH(t *testing.T, s *Server, opts testenv.SSHOptions, dump string) {
	t.Helper()
	server := testenv.SSHD(t, opts)
	databaseHost, databasePort := hostPort(t, s.Addr)
	straight, lend := s.Config, s.Lend
	s.Addr = server.Addr()
	s.Config = func(host string, port int, names ...string) map[string]any {
		c := straight(databaseHost, databasePort, names...)
		c["ssh"] = map[string]any{
			"host": host, "port": port, "username": server.User, "host_keys": []string{server.HostKey()},
			"credential_id": "0197b3c4-0000-7000-8000-0123456789ab", "dump": dump,
		}
		return c
	}
	s.Lend = func(t *testing.T, env *connectors.Env) {
		t.Helper()
		lend(t, env)
		env.SSHCredential = job.Credential{Type: "private_key", PrivateKey: secret.New(server.ClientKeyPEM)}
	}
	s.WrongSSH = StrangersKey(t)
	s.Stop = server.Stop
	s.Kills = append(s.Kills, Kill{What: "the machine in between", Do: server.Kill, Again: server.Start})
	s.HostKeys = &HostKeys{
		Current: server.HostKey, Fingerprint: server.HostKeyFingerprint, Replace: server.ReplaceHostKeys,
		In: func(raw map[string]any) map[string]any { return raw["ssh"].(map[string]any) }, //nolint:errcheck // Config has made it
	}
}
