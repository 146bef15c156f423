package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"xvault/internal/devenv"
	"xvault/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func loggedIn(t *testing.T, s *testenv.FTPServer, version uint16) *Conn {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.CAPEM))
	c, err := Dial(t.Context(), Config{
		Address: s.Addr(), Patience: 30 * time.Second,
		TLS: &tls.Config{RootCAs: roots, ServerName: s.Host(), MinVersion: tls.VersionTLS12, MaxVersion: version},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := c.Login(s.User, devenv.FTPPassword); err != nil {
		t.Fatal(err)
	}
	if err := c.Chdir(s.Root); err != nil {
		t.Fatal(err)
	}
	return c
}

// Servers may want that a data connection goes on with the TLS session of the control
// connection, for then it is the same client's. These do: without it they refuse, and
// with it every data connection is a resumed one.
func TestDataConnectionsResumeTLS(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"proftpd", "vsftpd"} {
		s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
		for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
			name := kind + ", " + tls.VersionName(version)
			c := loggedIn(t, s, version)
			for range 3 {
				for _, verb := range []string{"STOR", "LIST", "RETR"} {
					resumed, err := transferred(t, c, verb)
					if err != nil || !resumed {
						t.Errorf("%s: %s: resumed: %v, %v", name, verb, resumed, err)
					}
				}
			}
			c = loggedIn(t, s, version)
			c.tls.ClientSessionCache = nil
			if resumed, err := transferred(t, c, "LIST"); err == nil {
				t.Errorf("%s takes a data connection of its own session (resumed: %v): it proves nothing", name, resumed)
			} else {
				t.Logf("%s without a session: %v", name, err)
			}
		}
	}
}

func transferred(t *testing.T, c *Conn, verb string) (bool, error) {
	t.Helper()
	name := "file"
	if verb == "LIST" {
		name = ""
	}
	tr, err := c.Start(t.Context(), verb, name, 0)
	if err != nil {
		return false, err
	}
	if verb == "STOR" {
		_, err = io.WriteString(tr, "content")
	} else {
		_, err = io.Copy(io.Discard, tr)
	}
	if err != nil {
		tr.Abort()
		return false, err
	}
	_, err = tr.Finish()
	return tr.Resumed(), err
}
