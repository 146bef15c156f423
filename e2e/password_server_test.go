package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"xvault/e2e/system"
)

// A password opens the server that takes it, and a wrong one ends with a code
// and a sentence of its own. OpenSSH would need an account of the machine's.
func TestPassword(t *testing.T) {
	t.Parallel()
	const password = "the right password"
	l := system.Start(t, system.Options{})
	srv := servePassword(t, password)
	path := filepath.Join(t.TempDir(), "src")
	system.Plant(t, path, 24, 10)
	tenant := l.API.CreateTenant(t, "by password")
	run := func(password string) system.Job {
		credential := l.API.CreateCredential(t, tenant.ID, system.Password(password))
		source := l.API.CreateSource(t, tenant.ID, credential, map[string]any{
			"host": srv.host, "port": srv.port, "username": "backup", "paths": []string{path}, "host_keys": []string{srv.hostKey},
		})
		return l.WaitJob(l.API.StartBackup(t, source).ID, 3*time.Minute)
	}
	good := run(password)
	if good.Status != "completed" {
		t.Fatalf("with the right password: %s", good)
	}
	l.Ledger.Acknowledge(system.Ack{
		Snapshot: l.API.Snapshot(t, good.SnapshotID), Identity: l.API.ExportKey(t, tenant.ID), Path: path, Want: system.Scan(t, path),
	})
	mustFail(t, l, run("canary-the-wrong-password"), "auth_failed", []string{"password", `"backup"`}, false)
	l.Check()
}

// passwordServer is an SSH server that takes a password and serves files.
type passwordServer struct {
	host, hostKey string
	port          int
}

func servePassword(t *testing.T, password string) passwordServer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	must(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	must(t, err)
	config := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, given []byte) (*ssh.Permissions, error) {
		if subtle.ConstantTimeCompare(given, []byte(password)) == 1 {
			return nil, nil //nolint:nilnil // no permissions beyond the usual
		}
		return nil, errors.New("wrong password")
	}}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveSSH(c, config) })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	addr := l.Addr().(*net.TCPAddr) //nolint:errcheck // as asked for
	return passwordServer{"127.0.0.1", strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey()))), addr.Port}
}

func serveSSH(c net.Conn, config *ssh.ServerConfig) {
	defer func() { _ = c.Close() }()
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return // a wrong password, for one
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, asked, err := offered.Accept()
		if err != nil {
			return
		}
		go serveSFTP(channel, asked)
	}
}

func serveSFTP(channel ssh.Channel, asked <-chan *ssh.Request) {
	for r := range asked {
		ok := r.Type == "subsystem" && strings.HasSuffix(string(r.Payload), "sftp")
		if err := r.Reply(ok, nil); err != nil || !ok {
			continue
		}
		server, err := sftp.NewServer(channel, sftp.ReadOnly(), sftp.WithDebug(io.Discard))
		if err != nil {
			return
		}
		go func() {
			_ = server.Serve() // ends with the connection
			_ = server.Close()
		}()
	}
}
