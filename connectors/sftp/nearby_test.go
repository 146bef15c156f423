package sftp_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"xvault/internal/testenv"
)

// A server nearby that is slow to answer answers through more channels: many small files
// through all of them, and a large one, for which one channel is enough, through one.
func TestASlowServerNearby(t *testing.T) {
	t.Parallel()
	const files = 3000
	names := []string{"large"}
	for i := range files {
		names = append(names, fmt.Sprint(i))
	}
	nodes := dirs(names...)
	for _, name := range names {
		nodes["/"+name] = fakeNode{mode: regular, data: name}
	}
	large := strings.Repeat("x", 32<<20)
	nodes["/large"] = fakeNode{mode: regular, data: large}

	var mu sync.Mutex
	channels, small, opened := 0, map[int]int{}, 0
	more := make(chan struct{})
	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	serve := func(ch ssh.Channel) {
		mu.Lock()
		channels++
		n := channels
		if n == 3 {
			close(more)
		}
		mu.Unlock()
		f := &fakeServer{nodes: nodes}
		f.answer = func(typ byte, _ uint32, body []byte) []byte {
			switch typ {
			case 3: // open
				mu.Lock()
				defer mu.Unlock()
				if text(body) == "/large" {
					opened++
				} else {
					small[n]++
				}
			case 5: // read
				if n == 1 { // which the others come for
					select {
					case <-more:
					case <-patience.Done():
					}
				}
			}
			return nil
		}
		f.serve(ch)
	}
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: serve})
	o := quick
	o.WidenAt = 1 << 40 // that it is far away is no reason
	o.StallAfter = time.Minute
	src, err := sourceWith(t, o, s.Config("/"), password("p"))
	if err != nil {
		t.Fatal(err)
	}
	wantBytes := int64(len(large))
	for _, name := range names[1:] {
		wantBytes += int64(len(name))
	}
	if n, bytes := readAll(t, src); n != files+1 || bytes != wantBytes {
		t.Errorf("%d files with %d bytes", n, bytes)
	}
	mu.Lock()
	defer mu.Unlock()
	if channels != 3 || small[2] == 0 || small[3] == 0 {
		t.Errorf("small files were opened through %d channels: %v", channels, small)
	}
	if opened != 1 {
		t.Errorf("the large file was opened %d times", opened)
	}
}

// A server that ends channels which are idle ends no backup: here the two that came for a
// small file end while a large one is read, before which nothing was read through them.
func TestIdleChannelsMayEnd(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("x", 48<<20)
	nodes := dirs("a", "large")
	nodes["/a"] = fakeNode{mode: regular, data: "a"}
	nodes["/large"] = fakeNode{mode: regular, data: large}

	patience, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	more, idle, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
	var channels, ended atomic.Int32
	var once sync.Once
	serve := func(ch ssh.Channel) {
		f := &fakeServer{nodes: nodes}
		n := channels.Add(1)
		if n == 3 {
			close(more)
		}
		if n > 1 {
			greeting, end := make([]byte, 9), make(chan struct{})
			_, _ = io.ReadFull(ch, greeting) // the test finds out
			_, _ = ch.Write(f.reply(1, nil))
			go func() {
				defer close(end)
				_, _ = io.Copy(io.Discard, ch) // nothing is asked, and the end comes from here
			}()
			select {
			case <-idle:
			case <-patience.Done():
			}
			_ = ch.Close()
			<-end
			if ended.Add(1) == 2 {
				close(over)
			}
			return
		}
		reads := 0
		f.answer = func(typ byte, _ uint32, _ []byte) []byte {
			if typ != 5 {
				return nil
			}
			select {
			case <-more:
			case <-patience.Done():
			}
			if reads++; reads > 16 {
				once.Do(func() { close(idle) })
				select { // what is left is read when they have ended
				case <-over:
				case <-patience.Done():
				}
			}
			return nil
		}
		f.serve(ch)
	}
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: serve})
	o := quick
	o.WidenAt = 1 << 40
	o.StallAfter = time.Minute
	src, err := sourceWith(t, o, s.Config("/"), password("p"))
	if err != nil {
		t.Fatal(err)
	}
	if n, bytes := readAll(t, src); n != 2 || bytes != int64(len(large))+1 {
		t.Errorf("%d files with %d bytes", n, bytes)
	}
	if channels.Load() != 3 || ended.Load() != 2 {
		t.Errorf("%d channels, of which %d ended", channels.Load(), ended.Load())
	}
}
