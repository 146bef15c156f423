package sshexec

import (
	"bufio"
	"crypto/ed25519"
	"crypto/rand"
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/sshconn"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// hasty is a server that says how a program ended before all of its output is out, as
// OpenSSH may, and whose line is cut in between, or not.
func hasty(t *testing.T, cut bool) (addr *net.TCPAddr, hostKey string) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{PasswordCallback: func(ssh.ConnMetadata, []byte) (*ssh.Permissions, error) { return &ssh.Permissions{}, nil }}
	config.AddHostKey(signer)
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tcp, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = tcp.Close() }()
		conn, channels, requests, err := ssh.NewServerConn(tcp, config)
		if err != nil {
			return
		}
		go ssh.DiscardRequests(requests)
		for c := range channels {
			channel, requests, err := c.Accept()
			if err != nil {
				return
			}
			endEarly(channel, requests)
			if cut {
				_ = conn.Close()
			}
			_ = channel.Close()
		}
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		<-ended
	})
	return listener.Addr().(*net.TCPAddr), string(ssh.MarshalAuthorizedKey(signer.PublicKey())) //nolint:errcheck,forcetypeassert // of a TCP listener
}

// endEarly says that the program ended well, and prints the first of two rows.
func endEarly(channel ssh.Channel, requests <-chan *ssh.Request) {
	_ = (<-requests).Reply(true, nil)
	go ssh.DiscardRequests(requests)
	in := bufio.NewReader(channel)
	var marker string
	for n := range 4 {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if n == 1 {
			marker = line
		}
	}
	_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{0}))
	_, _ = io.WriteString(channel, "\n"+marker+"the first row\n")
}

// An answer whose end was lost with the connection is no answer, whatever the server says
// of the program.
func TestAnswerThatIsCutAfterItsProgramEnded(t *testing.T) {
	t.Parallel()
	for _, cut := range []bool{false, true} {
		addr, key := hasty(t, cut)
		pin, err := sshconn.ParsePin(key)
		if err != nil {
			t.Fatal(err)
		}
		conn, _, err := sshconn.Connect(t.Context(), sshconn.Config{
			Host: addr.IP.String(), Port: addr.Port, Username: "u", Pins: []sshconn.Pin{pin},
			Env: connectors.Env{Credential: job.Credential{Type: "password", Password: secret.New("p")}},
		})
		if err != nil {
			t.Fatal(err)
		}
		said, err := Ask(t.Context(), conn, Command{Program: "rows", What: "the list"})
		switch {
		case cut && job.CodeOf(err) != job.ConnectFailed:
			t.Errorf("cut: %q, %v", said, err)
		case !cut && (err != nil || string(said) != "the first row\n"):
			t.Errorf("whole: %q, %v", said, err)
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}
