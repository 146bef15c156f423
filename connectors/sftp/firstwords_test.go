package sftp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/internal/testenv"
)

// The file that a further channel is for is opened with its first words: no answer to
// them is waited for. Here none comes before, and the first channel brings nothing until
// two have done so.
func TestChannelsOpenTheFileWithTheirFirstWords(t *testing.T) {
	t.Parallel()
	random := make([]byte, 64<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random) // never fails
	data, want := string(random), sha256.Sum256(random)
	var channels, early atomic.Int32
	enough := make(chan struct{})
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	serve := func(ch ssh.Channel) {
		nodes := dirs()
		nodes["/f"] = fakeNode{mode: regular, data: data}
		f := &fakeServer{nodes: nodes, openssh: true}
		if channels.Add(1) == 1 {
			f.answer = func(typ byte, _ uint32, _ []byte) []byte {
				if typ == 5 {
					select {
					case <-enough:
					case <-patience.Done():
					}
				}
				return nil
			}
			f.serve(ch)
			return
		}
		var kinds []byte
		f.serveAfter(ch, func(typ byte) bool {
			kinds = append(kinds, typ)
			if bytes.Equal(kinds, []byte{1, 200, 3}) && early.Add(1) == 2 { // hello, limits, open
				close(enough)
			}
			return typ == 3
		})
	}
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: serve, OpenSSH: true})
	link := testenv.SlowLink(t, s.Addr, oneWay)
	config := s.Config("/")
	config["host"], config["port"] = link.Host, link.Port
	o := quick
	o.WidenAt = 1 << 40 // only the size of the file asks for more
	o.StallAfter = time.Minute
	sum, ended, err := readFar(t, o, config, password("p"), nil)
	if err != nil || ended != nil || sum != want {
		t.Error(err, ended, "or other content")
	}
	if n := early.Load(); n < 2 {
		t.Errorf("%d of %d channels opened the file with their first words", n, channels.Load())
	}
}
