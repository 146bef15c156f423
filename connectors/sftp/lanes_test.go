package sftp_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
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

// far makes a source open more channels and connections as soon as anything has
// come over a line with a round trip, however busy this machine is.
func far() sftp.Options {
	o := quick
	o.WidenAt, o.BusyAt = 1, 2
	return o
}

const oneWay = 10 * time.Millisecond

// largeFile makes a file that nothing compresses, and gives its hash.
func largeFile(t *testing.T, path string, size int64) (sum [32]byte) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.New()
	_, err = io.CopyN(io.MultiWriter(f, hash), rand.NewChaCha8([32]byte{byte(size >> 20)}), size)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	hash.Sum(sum[:0])
	return sum
}

// routes dials where it is told to and remembers what it dialed.
type routes struct {
	mu    sync.Mutex
	dials int
	to    func(n int, address string) (string, error) // nil: where it should go
	conns []*countingConn
}

// countingConn counts what comes in.
type countingConn struct {
	net.Conn
	read atomic.Int64
}

func (c *countingConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func (r *routes) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.dials
	r.dials++
	if r.to != nil {
		var err error
		if address, err = r.to(n, address); err != nil {
			return nil, err
		}
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	c := &countingConn{Conn: conn}
	r.conns = append(r.conns, c)
	return c, nil
}

// conn gives the nth connection, nil where there is none.
func (r *routes) conn(n int) *countingConn {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n >= len(r.conns) {
		return nil
	}
	return r.conns[n]
}

func (r *routes) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dials
}

// readFar reads a path through a line, calling during between pieces of content,
// and gives the hash of the only file there and how it ended.
func readFar(t *testing.T, o sftp.Options, config map[string]any, env connectors.Env, during func(at int64)) (sum [32]byte, ended, err error) {
	t.Helper()
	src, err := sourceWith(t, o, config, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	hash, buf := sha256.New(), make([]byte, 128<<10)
	err = src.Read(ctx, func(item connectors.Item) error {
		if item.Err != nil {
			return item.Err
		}
		if item.Body == nil {
			return nil
		}
		for at := int64(0); ended == nil; {
			var n int
			n, ended = item.Body.Read(buf)
			hash.Write(buf[:n])
			at += int64(n)
			if during != nil {
				during(at)
			}
		}
		if errors.Is(ended, io.EOF) {
			ended = nil
		}
		return nil
	})
	hash.Sum(sum[:0])
	return sum, ended, err
}

func servers(s *testenv.SSHServer) int {
	return strings.Count(s.Log(), "Starting session: subsystem 'sftp'")
}

func TestOneFileThroughManyChannels(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	content := largeFile(t, filepath.Join(s.Root, "f"), 64<<20)
	link := testenv.SlowLink(t, s.Addr(), 4*oneWay) // where a connection needs all channels
	sum, ended, err := readFar(t, far(), link.Config(s, s.Root), connectors.Env{Credential: keyOf(s)}, nil)
	if err != nil || ended != nil {
		t.Fatal(err, ended)
	}
	if sum != content {
		t.Error("the content is not the file's")
	}
	if n := servers(s); n < 10 {
		t.Errorf("%d SFTP servers were used, want at least 10", n)
	}
}

// Many files of all sizes come whole when they are spread over channels.
func TestManyFilesThroughManyChannels(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	want := map[string][32]byte{}
	for i := range 60 {
		path := filepath.Join(s.Root, string(rune('a'+i%26))+strings.Repeat("x", i))
		want[path] = largeFile(t, path, int64(1000+i*i*900))
	}
	link := testenv.SlowLink(t, s.Addr(), oneWay)
	src, err := sourceWith(t, far(), link.Config(s, s.Root), connectors.Env{Credential: keyOf(s)})
	if err != nil {
		t.Fatal(err)
	}
	err = src.Read(t.Context(), func(item connectors.Item) error {
		if item.Body == nil {
			return nil
		}
		hash := sha256.New()
		n, err := io.Copy(hash, item.Body)
		if path := "/" + item.Path; [32]byte(hash.Sum(nil)) != want[path] {
			t.Errorf("%s: %d bytes that are not the file's, %v", path, n, err)
		} else {
			delete(want, path)
		}
		return err
	})
	if err != nil || len(want) > 0 {
		t.Errorf("%v; %d files are missing", err, len(want))
	}
	if n := servers(s); n < 2 {
		t.Errorf("%d SFTP servers were used", n)
	}
}

// A server that allows one session on a connection is read over several.
func TestMoreConnectionsWhereSessionsAreFew(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"MaxSessions 1"}})
	content := largeFile(t, filepath.Join(s.Root, "f"), 96<<20)
	link := testenv.SlowLink(t, s.Addr(), oneWay)
	var dialed routes
	sum, ended, err := readFar(t, far(), link.Config(s, s.Root), connectors.Env{Credential: keyOf(s), Dial: &dialed}, nil)
	if err != nil || ended != nil || sum != content {
		t.Error(err, ended, "or other content")
	}
	if c := dialed.conn(1); c == nil || c.read.Load() < 1<<20 {
		t.Errorf("%d connections, and the second brought little or nothing", dialed.count())
	}
}

// What cannot be had is done without, and a key that is another is told nothing.
func TestNoMoreConnections(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"MaxSessions 1"}})
	content := largeFile(t, filepath.Join(s.Root, "f"), 64<<20)
	stranger := testenv.GoSSH(t, testenv.GoSSHOptions{AnyKey: true})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for what, to := range map[string]func(n int, address string) (string, error){
		"refused": func(int, string) (string, error) { return "", errors.New("refused") },
		"another key": func(n int, address string) (string, error) {
			return stranger.Addr, nil
		},
		"silence": func(int, string) (string, error) { return silent.Addr().String(), nil },
	} {
		link := testenv.SlowLink(t, s.Addr(), oneWay)
		dialed := routes{to: func(n int, address string) (string, error) {
			if n == 0 {
				return address, nil
			}
			return to(n, address)
		}}
		config := link.Config(s, s.Root)
		config["host_keys"], config["trust_on_first_use"] = []string{}, true
		pinned := 0
		env := connectors.Env{Credential: keyOf(s), Dial: &dialed, PinHostKey: func(context.Context, string) error { pinned++; return nil }}
		sum, ended, err := readFar(t, far(), config, env, nil)
		if err != nil || ended != nil || sum != content {
			t.Error(what, err, ended, "or other content")
		}
		if dialed.count() < 2 {
			t.Errorf("%s: no second connection was tried", what)
		}
		if pinned != 1 {
			t.Errorf("%s: pinned %d times", what, pinned)
		}
	}
	if a := stranger.Attempts(); len(a) > 0 {
		t.Errorf("offered to the stranger: %q", a)
	}
}

// When one of several connections breaks, the attempt ends; nothing is missing
// from what passes as whole.
func TestOneOfSeveralConnectionsBreaks(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{Extra: []string{"MaxSessions 1"}})
	largeFile(t, filepath.Join(s.Root, "f"), 128<<20)
	for n := range 2 {
		link := testenv.SlowLink(t, s.Addr(), oneWay)
		var dialed routes
		cut := false
		sum, ended, err := readFar(t, far(), link.Config(s, s.Root), connectors.Env{Credential: keyOf(s), Dial: &dialed}, func(int64) {
			if second := dialed.conn(1); !cut && second != nil && second.read.Load() > 1<<20 {
				cut = true
				if err := dialed.conn(n).Close(); err != nil {
					t.Error(err)
				}
			}
		})
		if !cut {
			t.Fatal("the second connection was not used", sum, ended, err)
		}
		wantCode(t, "the reading", err, job.ConnectFailed)
	}
}

// A file that changes while it is read through many handles says so.
func TestStripedFileChanges(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	path := filepath.Join(s.Root, "f")
	for what, change := range map[string]func() error{
		"rewritten": func() error {
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteAt([]byte("changed"), 63<<20)
			return errors.Join(err, f.Close(), os.Chtimes(path, time.Time{}, time.Unix(1_000_000_000, 0)))
		},
		"grown": func() error {
			f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		},
		"shrunk": func() error { return os.Truncate(path, 40<<20) },
		"replaced": func() error {
			if err := os.WriteFile(path+".new", []byte("short"), 0o600); err != nil {
				return err
			}
			return os.Rename(path+".new", path)
		},
	} {
		content := largeFile(t, path, 64<<20)
		link := testenv.SlowLink(t, s.Addr(), oneWay)
		before := servers(s)
		changed := false
		sum, ended, err := readFar(t, far(), link.Config(s, s.Root), connectors.Env{Credential: keyOf(s)}, func(at int64) {
			if !changed && servers(s) > before+2 {
				changed = true
				if err := change(); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil || !changed {
			t.Fatalf("%s: %v, changed %v", what, err, changed)
		}
		var failed *entry.ContentError
		switch {
		case errors.Is(ended, entry.ErrChanged):
		case what == "shrunk" && errors.As(ended, &failed) && failed.Code == string(job.SourceChanged):
		case what == "replaced" && ended == nil && sum == content:
			// All of it came from the file as it was.
		default:
			t.Errorf("%s: ended with %v", what, ended)
		}
	}
}

// laneServers serves another fake on each channel; the last one on all others.
type laneServers struct {
	mu    sync.Mutex
	fakes []*fakeServer
	used  int
}

func (l *laneServers) serve(ch ssh.Channel) {
	l.mu.Lock()
	f := l.fakes[min(l.used, len(l.fakes)-1)]
	l.used++
	l.mu.Unlock()
	(&fakeServer{nodes: f.nodes, maxRead: f.maxRead, answer: f.answer}).serve(ch)
}

func (l *laneServers) channels() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// SFTP does not tell which file a handle is of: what another server of the same
// machine shows under the same name is not mixed into the file, and servers that
// bring less than they are asked for are asked again.
func TestOtherHandlesThatAreOfNoUse(t *testing.T) {
	t.Parallel()
	random := make([]byte, 12<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(random) // never fails
	file := func(data []byte) map[string]fakeNode {
		nodes := dirs()
		nodes["/f"] = fakeNode{mode: regular, data: string(data)}
		return nodes
	}
	otherMiddle := bytes.Clone(random)
	copy(otherMiddle[len(random)/2:], "other")
	for what, others := range map[string]*fakeServer{
		"another file of the same size": {nodes: file(otherMiddle)},
		"a longer file":                 {nodes: file(append(bytes.Clone(random), 1))},
		"no file":                       {nodes: dirs()},
		"short reads":                   {nodes: file(random), maxRead: 16 << 10},
		"reads that fail": {nodes: file(random), answer: func(typ byte, id uint32, body []byte) []byte {
			// The samples are small: what fails is the reading of 32 KiB.
			if typ != 5 || body[len(body)-2] != 0x80 {
				return nil
			}
			return status(id, 4)
		}},
	} {
		l := &laneServers{fakes: []*fakeServer{{nodes: file(random)}, others}}
		s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: l.serve})
		link := testenv.SlowLink(t, s.Addr, oneWay)
		config := s.Config("/")
		config["host"], config["port"] = link.Host, link.Port
		sum, ended, err := readFar(t, far(), config, password("p"), nil)
		if err != nil || ended != nil || sum != sha256.Sum256(random) {
			t.Error(what, err, ended, "or other content")
		}
		if used := l.channels(); used < 2 {
			t.Errorf("%s: %d channels", what, used)
		}
	}
}
