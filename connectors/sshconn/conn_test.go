package sshconn

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// configOf is what connects with a server, through a link where one is given.
func configOf(t *testing.T, s *testenv.SSHServer, link *testenv.Link) Config {
	t.Helper()
	pin, err := ParsePin(s.HostKey())
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Host: s.Host(), Port: s.Port(), Username: s.User, Pins: []Pin{pin}, HandshakeTimeout: 20 * time.Second, KeepAlive: time.Second,
		Env: connectors.Env{Credential: job.Credential{Type: "private_key", PrivateKey: secret.New(s.ClientKeyPEM)}},
	}
	if link != nil {
		c.Host, c.Port = link.Host, link.Port
	}
	return c
}

func connected(t *testing.T, c Config) *Conn {
	t.Helper()
	conn, shown, err := Connect(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if shown == nil || KeyLine(shown) != KeyLine(conn.HostKey()) {
		t.Errorf("shown %v, accepted %v", shown, conn.HostKey())
	}
	t.Cleanup(func() {
		for range 2 {
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return conn
}

func alive(conn *Conn) bool {
	_, _, err := conn.SendRequest("keepalive@openssh.com", true, nil)
	return err == nil
}

func ended(t *testing.T, conn *Conn) {
	t.Helper()
	select {
	case <-conn.Done():
	case <-time.After(time.Minute):
		t.Fatal("the connection goes on")
	}
}

func TestAnotherSharesItsFate(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	first := connected(t, configOf(t, s, nil))
	second, err := first.Another(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	third, err := second.Another(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	if alive(second) || !alive(first) || !alive(third) {
		t.Error("closing one did not end it alone")
	}
	why := errors.New("enough")
	third.End(why)
	ended(t, first)
	if alive(first) || alive(third) {
		t.Error("one goes on after another broke")
	}
	if err := first.Cause(errors.New("of a call")); !errors.Is(err, why) {
		t.Errorf("the cause is %v", err)
	}
	if _, err := first.Another(t.Context()); !errors.Is(err, why) {
		t.Errorf("another one after the end: %v", err)
	}
	if err := third.Close(); err != nil {
		t.Error(err)
	}
}

// redirected dials the first connection as it should and all others elsewhere.
type redirected struct {
	to    string
	dials int
}

func (r *redirected) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if r.dials++; r.dials > 1 {
		address = r.to
	}
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

// The second connection takes only the key that the first one showed, whatever
// is pinned or trusted, and never pins another.
func TestAnotherTakesTheSameHostKeyOnly(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	stranger := testenv.GoSSH(t, testenv.GoSSHOptions{AnyKey: true})
	strangersPin, err := ParsePin(stranger.HostKey)
	if err != nil {
		t.Fatal(err)
	}
	pinned := 0
	for what, change := range map[string]func(*Config){
		"pinned":             func(*Config) {},
		"both are pinned":    func(c *Config) { c.Pins = append(c.Pins, strangersPin) },
		"trust on first use": func(c *Config) { c.Pins, c.TrustOnFirstUse = nil, true },
	} {
		c := configOf(t, s, nil)
		c.Env.Dial = &redirected{to: stranger.Addr}
		c.Env.PinHostKey = func(context.Context, string) error { pinned++; return nil }
		change(&c)
		conn := connected(t, c)
		if _, err := conn.Another(t.Context()); job.CodeOf(err) != job.HostKeyChanged {
			t.Errorf("%s: %v", what, err)
		}
		if !alive(conn) {
			t.Errorf("%s: the first connection ended", what)
		}
	}
	if a := stranger.Attempts(); len(a) > 0 {
		t.Errorf("offered to the stranger: %q", a)
	}
	if pinned != 1 {
		t.Errorf("pinned %d times", pinned)
	}
}

func TestRoundTripIsMeasured(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	conn := connected(t, configOf(t, s, testenv.SlowLink(t, s.Addr(), 15*time.Millisecond)))
	deadline := time.After(time.Minute)
	for conn.RoundTrip() == 0 {
		select {
		case <-deadline:
			t.Fatal("no round trip")
		case <-time.After(time.Millisecond):
		}
	}
	if trip := conn.RoundTrip(); trip < 30*time.Millisecond {
		t.Errorf("a round trip of %v", trip)
	}
}

func TestSilenceAndEndsAreNoticed(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	for what, end := range map[string]func(*testenv.Link){"silence": (*testenv.Link).Stall, "a cut": (*testenv.Link).Cut} {
		link := testenv.SlowLink(t, s.Addr(), 0)
		conn := connected(t, configOf(t, s, link))
		end(link)
		ended(t, conn)
		if err := conn.Cause(nil); job.CodeOf(err) != job.ConnectFailed {
			t.Errorf("%s: %v", what, err)
		}
		link.Resume()
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	conn := connected(t, configOf(t, s, nil))
	defer conn.EndWith(ctx)()
	why := errors.New("canceled")
	cancel(why)
	ended(t, conn)
	if err := conn.Cause(nil); !errors.Is(err, why) {
		t.Errorf("the cause is %v", err)
	}
}

func FuzzPins(f *testing.F) {
	for _, text := range []string{
		"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "SHA256:AAAA", "", "ssh-ed25519",
		"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA a comment",
		"ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePin(text)
		if err != nil {
			return
		}
		again, err := ParsePin(p.String())
		if err != nil || again.String() != p.String() || strings.ContainsAny(p.String(), "\n\r") {
			t.Errorf("%q is %q, and that %q, %v", text, p, again, err)
		}
	})
}
