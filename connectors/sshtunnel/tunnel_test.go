package sshtunnel

import (
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// echo serves what it is sent, on a socket and on a port.
func echo(t *testing.T, network, address string) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		serving.Wait()
	})
	return l.Addr().String()
}

func parsed(t *testing.T, text string) (*Config, []connectors.FieldError) {
	t.Helper()
	f := connectors.ParseFields([]byte(text))
	c := Parse(f)
	return c, f.Faults()
}

func TestConfig(t *testing.T) {
	t.Parallel()
	if c, faults := parsed(t, `{}`); c != nil || len(faults) > 0 {
		t.Errorf("without ssh: %v, %v", c, faults)
	}
	id := "0197b3c4-0000-7000-8000-0123456789ab"
	c, faults := parsed(t, `{"ssh":{"host":"[::1]","username":"u","credential_id":"`+strings.ToUpper(id)+`","trust_on_first_use":true}}`)
	if len(faults) > 0 || c.Host != "::1" || c.Port != 22 || c.CredentialID != id || !c.TrustOnFirstUse || c.HostKeys == nil || c.Dump != DumpAuto || c.Remote() {
		t.Errorf("%+v, %v", c, faults)
	}
	for text, field := range map[string]string{
		`{"ssh":[]}`: "ssh", `{"ssh":{"username":"u"}}`: "ssh.host", `{"ssh":{"host":"h"}}`: "ssh.username",
		`{"ssh":{"host":"h","username":"u","paths":[]}}`:          "ssh.paths",
		`{"ssh":{"host":"h","username":"u","host_keys":["x"]}}`:   "ssh.host_keys[0]",
		`{"ssh":{"host":"h","username":"u","credential_id":"x"}}`: "ssh.credential_id",
		`{"ssh":{"host":"h","username":"u","port":0}}`:            "ssh.port",
		`{"ssh":{"host":"h","username":"u","dump":"x"}}`:          "ssh.dump",
	} {
		if _, faults := parsed(t, text); len(faults) != 1 || faults[0].Field != field {
			t.Errorf("%s: %v, want one of %s", text, faults, field)
		}
	}
}

func open(t *testing.T, s *testenv.SSHServer, link *testenv.Link) *Tunnel {
	t.Helper()
	return openWith(t, s, link, Options{HandshakeTimeout: 20 * time.Second, KeepAlive: time.Second})
}

func openWith(t *testing.T, s *testenv.SSHServer, link *testenv.Link, o Options) *Tunnel {
	t.Helper()
	c := Config{Host: s.Host(), Port: s.Port(), Username: s.User, HostKeys: []string{s.HostKey()}, CredentialID: "x"}
	if link != nil {
		c.Host, c.Port = link.Host, link.Port
	}
	tunnel, _, err := Open(t.Context(), c, connectors.Env{
		Credential:    job.Credential{Type: "password", Password: secret.New("the database's")},
		SSHCredential: job.Credential{Type: "private_key", PrivateKey: secret.New(s.ClientKeyPEM)},
	}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tunnel.Close(); err != nil {
			t.Error(err)
		}
	})
	return tunnel
}

func TestTunnelLeadsToPortsAndSockets(t *testing.T) {
	t.Parallel()
	tunnel := open(t, testenv.SSHD(t, testenv.SSHOptions{}), nil)
	for network, address := range map[string]string{
		"tcp": echo(t, "tcp", "127.0.0.1:0"), "unix": echo(t, "unix", filepath.Join(testenv.Dir(t), "s")),
	} {
		c, err := tunnel.DialContext(t.Context(), network, address)
		if err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if err := c.SetDeadline(time.Time{}); err != nil {
			t.Error(err)
		}
		if _, err := c.Write([]byte("to and fro")); err != nil {
			t.Fatalf("%s: %v", network, err)
		}
		if err := c.(*channel).CloseWrite(); err != nil { //nolint:errcheck // it is one
			t.Errorf("%s: %v", network, err)
		}
		if b, err := io.ReadAll(c); string(b) != "to and fro" || err != nil {
			t.Errorf("%s: %q, %v", network, b, err)
		}
		_ = c.Close()
	}
	if _, err := tunnel.DialContext(t.Context(), "unix", "/not-there"); job.CodeOf(err) != job.ConnectFailed {
		t.Errorf("no such socket: %v", err)
	}
	if tunnel.Broken() != nil {
		t.Errorf("broken: %v", tunnel.Broken())
	}
}

func TestForwardingMayBeForbidden(t *testing.T) {
	t.Parallel()
	tunnel := open(t, testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"AllowTcpForwarding no"}}), nil)
	if tunnel.Refused() {
		t.Error("refused before anything was asked")
	}
	_, err := tunnel.DialContext(t.Context(), "tcp", echo(t, "tcp", "127.0.0.1:0"))
	if !tunnel.Refused() || job.CodeOf(err) != job.PermissionDenied || !strings.Contains(err.Error(), "AllowTcpForwarding") {
		t.Error(err)
	}
}

func TestABrokenTunnelIsNoEnd(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	for what, harm := range map[string]func(*testenv.Link){"cut": (*testenv.Link).Cut, "silence": (*testenv.Link).Stall} {
		link := testenv.SlowLink(t, s.Addr(), 0)
		tunnel := open(t, s, link)
		c, err := tunnel.DialContext(t.Context(), "tcp", echo(t, "tcp", "127.0.0.1:0"))
		if err != nil {
			t.Fatal(err)
		}
		harm(link)
		<-tunnel.Done()
		if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
			t.Errorf("%s: %q, %v", what, b, err)
		}
		if _, err := tunnel.DialContext(t.Context(), "tcp", "127.0.0.1:1"); job.CodeOf(err) != job.ConnectFailed {
			t.Errorf("%s: another one: %v", what, err)
		}
		link.Resume()
	}
}

// Whoever waits in a connection that is closed goes on soon, also where the server
// answers nothing any more, and not only when the tunnel is found to be broken.
func TestCloseEndsAWait(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	read := func(c net.Conn) error {
		_, err := c.Read(make([]byte, 1))
		return err
	}
	write := func(c net.Conn) error {
		_, err := c.Write(make([]byte, 64<<20)) // more than there is room for on the way
		return err
	}
	for what, c := range map[string]struct {
		wait   func(net.Conn) error
		stalls bool
		breaks bool // the tunnel
	}{
		"a read": {read, false, false}, "a read of a silent line": {read, true, true},
		"a write to a silent line": {write, true, true}, "a write that nobody takes": {write, false, true},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			link := testenv.SlowLink(t, s.Addr(), 0)
			tunnel := openWith(t, s, link, Options{HandshakeTimeout: 20 * time.Second})
			conn, err := tunnel.DialContext(t.Context(), "tcp", deaf(t))
			if err != nil {
				t.Fatal(err)
			}
			if c.stalls {
				link.Stall()
			}
			ended := make(chan error, 1)
			go func() { ended <- c.wait(conn) }()
			looks, before := 0, int64(-1)
			testenv.Eventually(t, 2*time.Minute, func() bool {
				sent := link.Sent()
				if looks++; sent != before || conn.(*channel).inUse.Load() == 0 { //nolint:errcheck // it is one
					looks, before = 0, sent
				}
				return looks >= 10
			}, "nobody waits")
			begin := time.Now()
			for range 2 {
				_ = conn.Close() // a line that is gone cannot be told
			}
			if err := <-ended; err == nil {
				t.Error("it ended well")
			}
			if took := time.Since(begin); took > goodbye+2*time.Second {
				t.Errorf("it took %v", took)
			}
			if broken := tunnel.Broken(); (broken != nil) != c.breaks {
				t.Errorf("the tunnel: %v", broken)
			}
			if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Error("it still can be read")
			}
		})
	}
}

// deaf accepts connections and takes nothing from them.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer func() { _ = c.Close() }()
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		accepting.Wait()
	})
	return l.Addr().String()
}

func TestHostKeyIsChecked(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	_, shown, err := Open(t.Context(), Config{Host: s.Host(), Port: s.Port(), Username: s.User, HostKeys: []string{"SHA256:" + strings.Repeat("A", 43)}},
		connectors.Env{Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(s.ClientKeyPEM)}}, Options{})
	if job.CodeOf(err) != job.HostKeyChanged || shown == nil || !strings.Contains(err.Error(), "ssh: ") {
		t.Errorf("%v, %v", shown, err)
	}
}
