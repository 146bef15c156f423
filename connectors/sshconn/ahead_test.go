package sshconn

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/internal/job"
	"xvault/internal/secret"
	"xvault/internal/testenv"
)

// Whoever needs a session gets one as long as the server allows it, whether some were
// opened ahead or not, and hears what becomes of it.
func TestSessionsAhead(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"MaxSessions 3"}})
	link := testenv.SlowLink(t, s.Addr(), 10*time.Millisecond)
	for ahead, what := range map[int]string{0: "one by one", 2: "some ahead", 9: "more than there may be"} {
		conn := connected(t, configOf(t, s, link))
		if ahead > 0 {
			conn.OpenAhead(ahead)
		}
		var channels []ssh.Channel
		var requests []<-chan *ssh.Request
		for range 3 {
			c, r, err := conn.OpenChannel("session", nil)
			if err != nil {
				t.Fatal(what, err)
			}
			channels, requests = append(channels, c), append(requests, r)
		}
		if _, _, err := conn.OpenChannel("session", nil); !errors.As(err, new(*ssh.OpenChannelError)) {
			t.Errorf("%s: a session too many: %v", what, err)
		}
		for i, c := range channels {
			if ok, err := c.SendRequest("exec", true, ssh.Marshal(struct{ Command string }{"exit 7"})); !ok || err != nil {
				t.Fatal(what, ok, err)
			}
			if code := status(t, requests[i]); code != 7 {
				t.Errorf("%s: a command ended with %d", what, code)
			}
		}
	}
}

// status gives what a command ended with.
func status(t *testing.T, requests <-chan *ssh.Request) uint32 {
	t.Helper()
	var status struct{ Code uint32 }
	for r := range requests {
		if r.Type != "exit-status" {
			continue
		}
		if err := ssh.Unmarshal(r.Payload, &status); err != nil {
			t.Error(err)
		}
	}
	return status.Code
}

// A server may ask what it likes of a session that nobody uses yet, and close it.
func TestSessionsAheadOfAnOddServer(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 2)
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", Opened: func(channel ssh.Channel) {
		for range 100 {
			if _, err := channel.SendRequest("keepalive@openssh.com", true, nil); err != nil {
				t.Error(err)
			}
		}
		if err := channel.Close(); err != nil {
			t.Error(err)
		}
		asked <- struct{}{}
	}})
	pin, err := ParsePin(s.HostKey)
	if err != nil {
		t.Fatal(err)
	}
	conn := connected(t, Config{
		Host: s.Host, Port: s.Port, Username: s.User, Pins: []Pin{pin}, HandshakeTimeout: 20 * time.Second, KeepAlive: time.Second,
		Env: connectors.Env{Credential: job.Credential{Type: "password", Password: secret.New("p")}},
	})
	conn.OpenAhead(1)
	<-asked
	if !alive(conn) {
		t.Error("the connection stands still")
	}
	left, ok := <-*conn.ahead.Load()
	if !ok {
		t.Fatal("no session was opened")
	}
	<-left.ended
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

// A login shows how far away a server is.
func TestLoginTrip(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	const oneWay = 10 * time.Millisecond
	began := time.Now()
	conn := connected(t, configOf(t, s, testenv.SlowLink(t, s.Addr(), oneWay)))
	// Its shortest exchange is one of many.
	if trip, most := conn.LoginTrip(), time.Since(began)/4; trip < 2*oneWay || trip > most {
		t.Errorf("%v, not between %v and %v", trip, 2*oneWay, most)
	}
}
