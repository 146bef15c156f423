package sftp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors/sftp"
	"xvault/internal/testenv"
)

// readThrough reads a file of 64 MiB over a line, through channels each of which serve is
// called with, from 0 on, and tells how many that were.
func readThrough(t *testing.T, o sftp.Options, serve func(n int32, ch ssh.Channel, whole map[string]fakeNode)) (channels int32) {
	t.Helper()
	random := make([]byte, 64<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random) // never fails
	nodes := dirs()
	nodes["/f"] = fakeNode{mode: regular, data: string(random)}
	var used atomic.Int32
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", OpenSSH: true, SFTP: func(ch ssh.Channel) {
		serve(used.Add(1)-1, ch, nodes)
	}})
	link := testenv.SlowLink(t, s.Addr, oneWay)
	config := s.Config("/")
	config["host"], config["port"] = link.Host, link.Port
	sum, ended, err := readFar(t, o, config, password("p"), nil)
	if err != nil || ended != nil || sum != sha256.Sum256(random) {
		t.Error(err, ended, "or other content")
	}
	return used.Load()
}

// onlySize has nothing but the size of a file ask for more channels.
func onlySize() sftp.Options {
	o := quick
	o.WidenAt, o.StallAfter = 1<<40, time.Minute
	return o
}

// The file is read through a further channel before it is known that there is one: here
// nothing is told before it is, and the first brings nothing until two have done so.
func TestChannelsReadWithTheirFirstWords(t *testing.T) {
	t.Parallel()
	var early atomic.Int32
	enough := make(chan struct{})
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n := readThrough(t, onlySize(), func(n int32, ch ssh.Channel, whole map[string]fakeNode) {
		f := &fakeServer{nodes: whole, numbered: true}
		if n == 0 {
			f.answer = func(typ byte, _ uint32, body []byte) []byte {
				if typ == 5 && binary.BigEndian.Uint32(body[len(body)-4:]) > 4<<10 { // no look at it
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
			// Hello, limits, opening, a look, three samples, and something to read.
			if !bytes.Equal(kinds, []byte{1, 200, 3, 8, 5, 5, 5, 5}) {
				return false
			}
			if early.Add(1) == 2 {
				close(enough)
			}
			return true
		})
	})
	if patience.Err() != nil {
		t.Error("nothing was asked for that early")
	}
	if got := early.Load(); got < 2 {
		t.Errorf("%d of %d channels read with their first words", got, n)
	}
}

// Whatever is wrong with a channel that was read through before it was known, nothing of
// it becomes content, and nothing is missing.
func TestGuessesThatAreWrong(t *testing.T) {
	t.Parallel()
	for what, serve := range map[string]func(ch ssh.Channel, whole map[string]fakeNode){
		"other handles": func(ch ssh.Channel, whole map[string]fakeNode) {
			(&fakeServer{nodes: whole, openssh: true}).serve(ch)
		},
		"no file": func(ch ssh.Channel, _ map[string]fakeNode) {
			(&fakeServer{nodes: dirs(), numbered: true}).serve(ch)
		},
		"another file": func(ch ssh.Channel, whole map[string]fakeNode) {
			data := []byte(whole["/f"].data)
			copy(data[len(data)/2:], "other")
			nodes := dirs()
			nodes["/f"] = fakeNode{mode: regular, data: string(data)}
			(&fakeServer{nodes: nodes, numbered: true}).serve(ch)
		},
		"the handle is of something else": func(ch ssh.Channel, whole map[string]fakeNode) {
			nodes := dirs()
			nodes["/f"], nodes["/"] = whole["/f"], fakeNode{mode: regular, data: string(make([]byte, 64<<20))}
			f := &fakeServer{nodes: nodes, numbered: true, handles: 7}
			f.open = map[string]*fakeOpen{string(u32(0)): {path: "/", file: true}}
			f.serve(ch)
		},
		"it ends": func(ssh.Channel, map[string]fakeNode) {},
		"it speaks no SFTP": func(ch ssh.Channel, _ map[string]fakeNode) {
			_, _ = ch.Write([]byte("Welcome!\n")) // whoever reads sees it
			_, _ = io.Copy(io.Discard, ch)
		},
		"it says nothing": func(ch ssh.Channel, _ map[string]fakeNode) { _, _ = io.Copy(io.Discard, ch) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := readThrough(t, onlySize(), func(n int32, ch ssh.Channel, whole map[string]fakeNode) {
				if n == 0 {
					(&fakeServer{nodes: whole, numbered: true}).serve(ch)
					return
				}
				serve(ch, whole)
			})
			if n < 2 {
				t.Errorf("%d channels", n)
			}
		})
	}
}
