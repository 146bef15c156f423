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
	server, stranger := testenv.SSHD(t, opts), strangersKey(t)
	return &Server{
		Type: kind, Patience: patience, Root: server.Root, Addr: server.Addr(),
		Config: func(host string, port int, paths ...string) map[string]any {
			c := server.Config(paths...)
			c["host"], c["port"] = host, port
			return c
		},
		Credential:      job.Credential{Type: "private_key", PrivateKey: secret.New(server.ClientKeyPEM)},
		WrongCredential: job.Credential{Type: "private_key", PrivateKey: secret.New(stranger)},
		Stop:            server.Stop,
		Unprivileged:    opts.User != "" || os.Getuid() != 0,
		HostKeys:        &HostKeys{Current: server.HostKey, Fingerprint: server.HostKeyFingerprint, Replace: server.ReplaceHostKeys},
	}
}

// strangersKey is a private key that no server knows.
func strangersKey(t *testing.T) string {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(key, "")
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(block))
}
