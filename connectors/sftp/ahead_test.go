package sftp_test

import (
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/internal/testenv"
)

// Far away, channels for a large file are opened before it is known that there is one:
// here nothing is told before they are.
func TestChannelsAreOpenedAhead(t *testing.T) {
	t.Parallel()
	random := make([]byte, 64<<20)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(random) // never fails
	data, want := string(random), sha256.Sum256(random)
	nodes := dirs()
	nodes["/f"] = fakeNode{mode: regular, data: data}
	var opened, serving atomic.Int32
	enough := make(chan struct{})
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s := testenv.GoSSH(t, testenv.GoSSHOptions{
		Password: "p", OpenSSH: true,
		Opened: func(ssh.Channel) {
			if opened.Add(1) == 3 {
				close(enough)
			}
		},
		SFTP: func(ch ssh.Channel) {
			if serving.Add(1) == 1 {
				select {
				case <-enough:
				case <-patience.Done():
					t.Error("no channel was opened before the first answer")
				}
			}
			(&fakeServer{nodes: nodes, openssh: true}).serve(ch)
		},
	})
	link := testenv.SlowLink(t, s.Addr, oneWay)
	config := s.Config("/")
	config["host"], config["port"] = link.Host, link.Port
	o := quick
	o.WidenAt = 1 << 40 // only the size of the file asks for more
	o.StallAfter, o.HandshakeTimeout = time.Minute, time.Minute
	sum, ended, err := readFar(t, o, config, password("p"), nil)
	if err != nil || ended != nil || sum != want {
		t.Error(err, ended, "or other content")
	}
	if n := serving.Load(); n < 3 {
		t.Errorf("%d of %d channels were used", n, opened.Load())
	}
}
