package sftp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// The content of a file that is read through several channels from its beginning, one
// that is another in the middle, and one of zeros.
var wholeFile, otherFile, zeroFile = sync.OnceValue(func() string {
	random := make([]byte, 64<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random) // never fails
	return string(random)
}), sync.OnceValue(func() string {
	whole := wholeFile()
	return whole[:len(whole)/2] + "other" + whole[len(whole)/2+5:]
}), sync.OnceValue(func() string { return strings.Repeat("\x00", 64<<20) })

// only gives a tree of one file, /f.
func only(data string) map[string]fakeNode {
	nodes := dirs()
	nodes["/f"] = fakeNode{mode: regular, data: data}
	return nodes
}

// farChannels gives a source of one file behind a line, through channels each of which
// serve is called with, from 0 on, and counts them.
func farChannels(t *testing.T, serve func(n int32, ch ssh.Channel)) (config map[string]any, used *atomic.Int32) {
	t.Helper()
	used = new(atomic.Int32)
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", OpenSSH: true, SFTP: func(ch ssh.Channel) { serve(used.Add(1)-1, ch) }})
	link := testenv.SlowLink(t, s.Addr, oneWay)
	config = s.Config("/")
	config["host"], config["port"] = link.Host, link.Port
	return config, used
}

// readThrough reads that, and tells through how many channels.
func readThrough(t *testing.T, o sftp.Options, serve func(n int32, ch ssh.Channel)) (channels int32) {
	t.Helper()
	config, used := farChannels(t, serve)
	sum, ended, err := readFar(t, o, config, password("p"), nil)
	if err != nil || ended != nil || sum != sha256.Sum256([]byte(wholeFile())) {
		t.Error(err, ended, "or other content")
	}
	return used.Load()
}

// onlySize has nothing but the size of a file ask for more channels. A hello that does
// not come is waited for for some seconds.
func onlySize() sftp.Options {
	o := quick
	o.WidenAt, o.StallAfter, o.HandshakeTimeout = 1<<40, time.Minute, 6*time.Second
	return o
}

// holdingReads answers reads of at least so many bytes only when a channel is closed, or
// the patience has ended.
func holdingReads(patience context.Context, until <-chan struct{}, least uint32) func(typ byte, id uint32, body []byte) []byte {
	return func(typ byte, _ uint32, body []byte) []byte {
		if typ == 5 && binary.BigEndian.Uint32(body[len(body)-4:]) >= least {
			select {
			case <-until:
			case <-patience.Done():
			}
		}
		return nil
	}
}

// The file is read through a further channel before it is known that there is one: here
// nothing is told before it is, and the first brings nothing until two have done so.
func TestChannelsReadWithTheirFirstWords(t *testing.T) {
	t.Parallel()
	var early atomic.Int32
	enough := make(chan struct{})
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	n := readThrough(t, onlySize(), func(n int32, ch ssh.Channel) {
		f := &fakeServer{nodes: only(wholeFile()), numbered: true}
		if n == 0 {
			f.answer = holdingReads(patience, enough, 4<<10+1) // but for looks at it
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

// A large file that is the first thing to be opened is read before it is known what its
// handle is: here that is not told before. It is so small that nobody looks at its end.
func TestALargeFileIsReadWhileItIsOpened(t *testing.T) {
	t.Parallel()
	o, data := onlySize(), wholeFile()[:32<<20]
	o.StallAfter = 10 * time.Second
	err := readFile(t, o, data, func(_ int32, ch ssh.Channel) {
		opening := false
		(&fakeServer{nodes: only(data), numbered: true}).serveHolding(ch, func(typ byte) bool {
			opening = typ == 3 || opening && typ != 5
			return opening
		})
	})
	if err != nil {
		t.Error(err)
	}
}

// Where its handle is another, or it does not open, nothing of what was read becomes
// content.
func TestALargeFileWithAnotherHandle(t *testing.T) {
	t.Parallel()
	for what, open := range map[string]map[string]*fakeOpen{
		"of nothing":      {},
		"of another file": {string(u32(0)): {path: "/other", file: true}},
		"of a directory":  {string(u32(0)): {path: "/"}},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			err := readFile(t, onlySize(), wholeFile(), func(_ int32, ch ssh.Channel) {
				nodes := only(wholeFile())
				nodes["/other"] = fakeNode{mode: regular, data: otherFile()}
				(&fakeServer{nodes: nodes, numbered: true, handles: 7, open: maps.Clone(open)}).serve(ch)
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		err := readFile(t, onlySize(), wholeFile(), func(_ int32, ch ssh.Channel) {
			f := &fakeServer{nodes: only(wholeFile()), numbered: true}
			f.answer = func(typ byte, id uint32, _ []byte) []byte {
				if typ == 3 {
					return status(id, 3)
				}
				return nil
			}
			f.serve(ch)
		})
		if e, ok := errors.AsType[*job.Error](err); !ok || e.Code != job.PermissionDenied {
			t.Error(err)
		}
	})
}

// readFile reads /f, which is all that the source names, behind a line.
func readFile(t *testing.T, o sftp.Options, data string, serve func(n int32, ch ssh.Channel)) error {
	t.Helper()
	config, _ := farChannels(t, serve)
	config["paths"] = []string{"/f"}
	sum, ended, err := readFar(t, o, config, password("p"), nil)
	if err == nil && ended == nil && sum != sha256.Sum256([]byte(data)) {
		err = errors.New("other content")
	}
	return errors.Join(err, ended)
}

// Whatever is wrong with a channel that was read through before it was known, nothing of
// it becomes content, and nothing is missing.
func TestGuessesThatAreWrong(t *testing.T) {
	t.Parallel()
	for what, serve := range map[string]func(ch ssh.Channel){
		"other handles": func(ch ssh.Channel) { (&fakeServer{nodes: only(wholeFile()), openssh: true}).serve(ch) },
		"no file":       func(ch ssh.Channel) { (&fakeServer{nodes: dirs(), numbered: true}).serve(ch) },
		"another file":  func(ch ssh.Channel) { (&fakeServer{nodes: only(otherFile()), numbered: true}).serve(ch) },
		"the handle is of something else": func(ch ssh.Channel) {
			nodes := only(wholeFile())
			nodes["/"] = fakeNode{mode: regular, data: zeroFile()}
			f := &fakeServer{nodes: nodes, numbered: true, handles: 7}
			f.open = map[string]*fakeOpen{string(u32(0)): {path: "/", file: true}}
			f.serve(ch)
		},
		"it ends": func(ssh.Channel) {},
		"it speaks no SFTP": func(ch ssh.Channel) {
			_, _ = ch.Write([]byte("Welcome!\n")) // whoever reads sees it
			_, _ = io.Copy(io.Discard, ch)
		},
		"it says nothing": silent,
		"it speaks too late": func(ch ssh.Channel) {
			_, _ = io.CopyN(io.Discard, ch, 9) // hello
			_, _ = io.Copy(io.Discard, ch)     // until it is given up
			_, _ = ch.Write(packet(2, u32(3)))
		},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			n := readThrough(t, onlySize(), func(n int32, ch ssh.Channel) {
				if n == 0 {
					(&fakeServer{nodes: only(wholeFile()), numbered: true}).serve(ch)
					return
				}
				serve(ch)
			})
			if n < 2 {
				t.Errorf("%d channels", n)
			}
		})
	}
}

func silent(ch ssh.Channel) { _, _ = io.Copy(io.Discard, ch) }

// Whoever wants no more of a file does not wait for servers that never say anything.
func TestASilentChannelHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	asked, once := make(chan struct{}), sync.Once{}
	config, _ := farChannels(t, func(n int32, ch ssh.Channel) {
		if n == 0 {
			(&fakeServer{nodes: only(wholeFile()), numbered: true}).serve(ch)
			return
		}
		if _, err := io.CopyN(io.Discard, ch, 300); err == nil { // more than what looks at the file
			once.Do(func() { close(asked) })
		}
		silent(ch)
	})
	o := onlySize()
	o.HandshakeTimeout = time.Minute
	src, err := sourceWith(t, o, config, password("p"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	enough := errors.New("enough")
	err = src.Read(ctx, func(item connectors.Item) error {
		if item.Body == nil {
			return nil
		}
		// The first channel brings some pieces after others have been asked.
		for piece := make([]byte, 1<<20); ; {
			if _, err := item.Body.Read(piece); err != nil {
				t.Error(err)
			}
			select {
			case <-asked:
				return enough
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	if !errors.Is(err, enough) || ctx.Err() != nil {
		t.Errorf("%v; %v", err, ctx.Err())
	}
}

// What is asked for again because a server did not open the file may be of a file that
// changed since the last look at it.
func TestAskedAgainAfterTheLastLook(t *testing.T) {
	t.Parallel()
	data := wholeFile()[:8<<20] // all of which is asked for at once
	asked, looked, once := make(chan struct{}), make(chan struct{}), sync.Once{}
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var looks atomic.Int32
	var changed atomic.Bool
	config, _ := farChannels(t, func(n int32, ch ssh.Channel) {
		if n > 0 {
			reads := 0
			(&fakeServer{nodes: dirs(), numbered: true}).serveAfter(ch, func(typ byte) bool {
				if typ == 5 {
					reads++
				}
				if reads < 4 { // three look at the file
					return false
				}
				once.Do(func() { close(asked) })
				select {
				case <-looked:
				case <-patience.Done():
				}
				changed.Store(true)
				return true
			})
			return
		}
		f, hold := &fakeServer{nodes: only(data), numbered: true}, holdingReads(patience, asked, 4<<10+1)
		f.answer = func(typ byte, id uint32, body []byte) []byte {
			switch {
			case typ == 8 && looks.Add(1) == 2: // the first was when it was opened
				close(looked)
			case typ == 8 && changed.Load():
				return packet(105, u32(id), u32(1|4|8), u64(uint64(len(data))), u32(regular), u32(9), u32(9))
			}
			return hold(typ, id, body)
		}
		f.serve(ch)
	})
	o := far()
	o.StallAfter, o.HandshakeTimeout = time.Minute, time.Minute
	sum, ended, err := readFar(t, o, config, password("p"), nil)
	if err != nil || !errors.Is(ended, entry.ErrChanged) || sum != sha256.Sum256([]byte(data)) {
		t.Errorf("%v, %v, or other content", err, ended)
	}
	if patience.Err() != nil {
		t.Error("nothing was asked for of another channel")
	}
}
