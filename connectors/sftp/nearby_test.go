package sftp_test

import (
	"fmt"
	"strings"
	"sync"
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
					case <-time.After(30 * time.Second):
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
