package sftp_test

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"xvault/connectors/sftp/wire"
	"xvault/internal/testenv"
)

// A read asks for as much as the server serves, and no more.
func TestReadsAsLongAsTheServerServes(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		limits        []uint64
		longest, open int
	}{
		"as OpenSSH":    {[]uint64{256 << 10, 255 << 10, 255 << 10, 1019}, 255 << 10, 1019},
		"short ones":    {[]uint64{34 << 10, 8 << 10, 8 << 10, 80}, 8 << 10, 80},
		"does not tell": {nil, 32 << 10, 128},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fakeServer{nodes: dirs(), openssh: true, limits: c.limits, maxRead: c.longest, maxOpen: c.open}
			want := map[string]string{}
			for i, size := range []int{0, 1, 8 << 10, 255<<10 + 1, 900 << 10, 3 << 20} {
				data := strings.Repeat(string(rune('a'+i)), size)
				f.nodes[fmt.Sprintf("/%d", i)], want[fmt.Sprint(i)] = fakeNode{mode: regular, data: data}, data
			}
			for i := range 300 {
				path := fmt.Sprintf("/many%03d", i)
				f.nodes[path], want[path[1:]] = fakeNode{mode: regular, data: "x"}, "x"
			}
			all, err := readFake(t, f, quick)
			if err != nil || len(all) != len(want) {
				t.Fatalf("%d entries, error %v", len(all), err)
			}
			for _, v := range all {
				if v.Err != nil || v.ended != nil || v.data != want[v.Path] {
					t.Errorf("%q: %d bytes of %d, errors %v, %v", v.Path, len(v.data), len(want[v.Path]), v.Err, v.ended)
				}
			}
			if f.longest != c.longest || f.most > c.open {
				t.Errorf("reads of up to %d bytes and %d open files, the server serves %d and %d", f.longest, f.most, c.longest, c.open)
			}
		})
	}
}

// OpenSSH serves 255 KiB in one read.
func TestReadLengthOfOpenSSH(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	signer, err := ssh.ParsePrivateKey([]byte(s.ClientKeyPEM))
	if err != nil {
		t.Fatal(err)
	}
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(s.HostKey()))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{User: s.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: ssh.FixedHostKey(key)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }() // the test has what it wanted
	channel, requests, err := conn.OpenChannel("session", nil)
	if err != nil {
		t.Fatal(err)
	}
	go ssh.DiscardRequests(requests)
	if ok, err := channel.SendRequest("subsystem", true, ssh.Marshal(struct{ Name string }{"sftp"})); err != nil || !ok {
		t.Fatalf("start sftp: %v, %v", ok, err)
	}
	c := wire.Start(channel, nil)
	if err := c.Greeted(); err != nil {
		t.Fatal(err)
	}
	if l := c.Limits(); l.ReadLength != 255<<10 || l.OpenHandles < 100 {
		t.Errorf("%+v", l)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
