package sftp_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// A server whose only kind of host key is one that nobody takes any more must
// not be asked for ever, whatever is pinned.
func TestNoHostKeyOfAKindThatIsTaken(t *testing.T) {
	t.Parallel()
	port, key, tries := sha1Server(t)
	other := testenv.GoSSH(t, testenv.GoSSHOptions{})
	const fingerprint = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	for what, pin := range map[string]string{"its own key": key, "another kind": other.HostKey, "a fingerprint": fingerprint} {
		config := map[string]any{"host": "127.0.0.1", "port": port, "username": "u", "paths": []string{"/"}, "host_keys": []string{pin}}
		src, err := source(t, config, password("x"))
		if err != nil {
			t.Fatal(err)
		}
		before := tries.Load()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		err = src.Read(ctx, func(connectors.Item) error { return nil })
		if ctx.Err() != nil {
			t.Errorf("pinned is %s: still trying, after %d connections", what, tries.Load()-before)
		}
		cancel()
		wantCode(t, "pinned is "+what, err, job.ConnectFailed)
		if n := tries.Load() - before; n > 3 {
			t.Errorf("pinned is %s: %d connections", what, n)
		}
	}
}

// sha1Server is an SSH server that can sign with ssh-rsa alone.
func sha1Server(t *testing.T) (port int, hostKey string, tries *atomic.Int64) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	old, err := ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSA}) //nolint:errcheck // RSA is one
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(old)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	tries = &atomic.Int64{}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			tries.Add(1)
			running.Go(func() {
				defer conn.Close()
				if _, _, _, err := ssh.NewServerConn(conn, config); err == nil {
					t.Error("the handshake succeeded")
				}
			})
		}
	})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	return listener.Addr().(*net.TCPAddr).Port, string(ssh.MarshalAuthorizedKey(signer.PublicKey())), tries //nolint:errcheck // it is one
}
