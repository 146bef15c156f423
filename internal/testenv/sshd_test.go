package testenv_test

import (
	"net"
	"testing"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"xvault/internal/testenv"
)

func login(t *testing.T, s *testenv.SSHServer) (*ssh.Client, error) {
	t.Helper()
	signer, err := ssh.ParsePrivateKey([]byte(s.ClientKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKey()))
	if err != nil {
		t.Fatal(err)
	}
	return ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{
		User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(key), Timeout: 10 * time.Second,
	})
}

func TestSSHDServesItsUser(t *testing.T) {
	t.Parallel()
	for _, user := range []string{"", "nobody"} {
		s := testenv.SSHD(t, testenv.SSHOptions{User: user})
		c, err := login(t, s)
		if err != nil {
			t.Fatalf("user %q: %v\n%s", user, err, s.Log())
		}
		f, err := sftp.NewClient(c)
		if err != nil {
			t.Fatalf("user %q: %v\n%s", user, err, s.Log())
		}
		if _, err := f.ReadDir(s.Root); err != nil {
			t.Errorf("user %q: %v", user, err)
		}
		s.Kill()
		broken := make(chan error, 1)
		go func() { broken <- c.Wait() }()
		select {
		case err := <-broken:
			t.Log("the connection broke:", err)
		case <-time.After(time.Minute):
			t.Fatal("a connection survives the death of its server")
		}
		if conn, err := net.DialTimeout("tcp", s.Addr(), time.Second); err == nil {
			_ = conn.Close() // the test has failed
			t.Error("a killed server accepts connections")
		}
		old := s.HostKey()
		s.Start()
		s.ReplaceHostKeys()
		if s.HostKey() == old {
			t.Error("the host key is the same after its replacement")
		}
		if c, err = login(t, s); err != nil {
			t.Errorf("user %q, after the restart: %v", user, err)
		} else if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
}
