package ftp_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/ftp"
	"xvault/internal/job"
	"xvault/internal/secret"
)

// fake is an FTP server that says what a test wants it to say. Left alone it serves
// a small tree in clear.
type fake struct {
	t        *testing.T
	listener net.Listener
	running  sync.WaitGroup

	// lists are the listings of folders, as they are sent.
	lists map[string]string
	files map[string]string
	feats string
	// hook answers a command in place of the server; false: it does not.
	hook func(c *fakeConn, verb, arg string) bool

	mu    sync.Mutex
	heard []string // commands
	conns []net.Conn
}

// fakeConn is a control connection.
type fakeConn struct {
	*fake
	net.Conn
	dir    string
	data   net.Listener
	offset int
}

func newFake(t *testing.T) *fake {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{t: t, listener: l, feats: " MLST type*;size*;modify*;\r\n MDTM\r\n SIZE\r\n REST STREAM\r\n"}
	f.files = map[string]string{"/d/a": "content of a", "/d/b": strings.Repeat("b", 200_000)}
	f.lists = map[string]string{
		"/": "type=dir;modify=20260101000000; d\r\n",
		"/d": "type=cdir;modify=20260101000000; .\r\ntype=file;size=12;modify=20260102030405; a\r\n" +
			"type=file;size=200000;modify=20260102030405; b\r\n",
	}
	f.running.Go(f.accept)
	t.Cleanup(func() {
		_ = l.Close()
		f.mu.Lock()
		for _, c := range f.conns {
			_ = c.Close()
		}
		f.mu.Unlock()
		f.running.Wait()
	})
	return f
}

func (f *fake) accept() {
	for {
		conn, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.mu.Lock()
		f.conns = append(f.conns, conn)
		f.mu.Unlock()
		f.running.Go(func() {
			c := &fakeConn{fake: f, Conn: conn, dir: "/"}
			defer func() { _ = conn.Close(); c.endData() }()
			c.serve()
		})
	}
}

func (c *fakeConn) endData() {
	if c.data != nil {
		_ = c.data.Close()
		c.data = nil
	}
}

func (c *fakeConn) say(format string, args ...any) {
	_, _ = fmt.Fprintf(c.Conn, format+"\r\n", args...)
}

func (c *fakeConn) serve() {
	c.say("220 a fake")
	in := bufio.NewReader(c.Conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb, arg, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		c.mu.Lock()
		c.heard = append(c.heard, verb+" "+arg)
		c.mu.Unlock()
		if c.hook == nil || !c.hook(c, verb, arg) {
			c.answer(verb, arg)
		}
	}
}

func (c *fakeConn) path(arg string) string {
	if strings.HasPrefix(arg, "/") {
		return arg
	}
	return strings.TrimSuffix(c.dir, "/") + "/" + strings.TrimPrefix(arg, "./")
}

func (c *fakeConn) answer(verb, arg string) {
	switch verb {
	case "USER":
		c.say("331 go on")
	case "PASS":
		c.say("230 come in")
	case "FEAT":
		c.say("211-these\r\n%s211 end", c.feats)
	case "TYPE", "NOOP":
		c.say("200 ok")
	case "CWD":
		if _, ok := c.lists[c.path(arg)]; !ok {
			c.say("550 no such folder")
			return
		}
		c.dir = c.path(arg)
		c.say("250 ok")
	case "PWD":
		c.say(`257 "%s"`, c.dir)
	case "EPSV":
		c.say("229 (|||%d|)", c.listen())
	case "SIZE", "MDTM":
		content, ok := c.files[c.path(arg)]
		switch {
		case !ok:
			c.say("550 no such file")
		case verb == "SIZE":
			c.say("213 %d", len(content))
		default:
			c.say("213 20260102030405")
		}
	case "REST":
		_, _ = fmt.Sscan(arg, &c.offset)
		c.say("350 go on")
	case "MLSD", "LIST":
		c.transfer(c.lists[c.dir], true)
	case "RETR":
		content, ok := c.files[c.path(arg)]
		if !ok {
			c.say("550 no such file")
			return
		}
		offset := c.offset
		c.offset = 0
		c.transfer(content[offset:], true)
	default:
		c.say("502 what?")
	}
}

func (c *fakeConn) listen() int {
	c.endData()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0
	}
	c.data = l
	return l.Addr().(*net.TCPAddr).Port //nolint:errcheck // of a TCP listener
}

// transfer sends data, and says so where it is wanted.
func (c *fakeConn) transfer(data string, finish bool) {
	c.say("150 here it comes")
	conn, err := c.data.Accept()
	if err != nil {
		return
	}
	_, _ = conn.Write([]byte(data))
	_ = conn.Close()
	if finish {
		c.say("226 done")
	}
}

// receive takes data, says so, and forgets it.
func (c *fakeConn) receive() {
	c.say("150 send it")
	conn, err := c.data.Accept()
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, conn)
	_ = conn.Close()
	c.say("226 done")
}

func (f *fake) said(verb string) (args []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.heard {
		if arg, ok := strings.CutPrefix(line, verb+" "); ok {
			args = append(args, arg)
		}
	}
	return args
}

func (f *fake) config(paths ...string) map[string]any {
	address := f.listener.Addr().(*net.TCPAddr) //nolint:errcheck // of a TCP listener
	return map[string]any{"host": address.IP.String(), "port": address.Port, "username": "someone", "paths": paths, "tls": "none"}
}

var fakeCredential = job.Credential{Type: "password", Password: secret.New("a password")}

// impatient gives up on the fake within a second.
var impatient = ftp.Options{Patience: time.Second, SmallFile: 100_000, ListingMemory: 1 << 20}

// visited is what came of a reading.
type visited struct {
	content map[string]string
	errors  map[string]error
}

// read reads everything through a type.
func read(t *testing.T, kind connectors.Type, config map[string]any, change ...func(*connectors.Env)) (visited, error) {
	t.Helper()
	env := connectors.Env{Credential: fakeCredential, Dial: connectors.NewDialer(connectors.DialerConfig{})}
	for _, c := range change {
		c(&env)
	}
	source := opened(t, kind, config, env)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := visited{map[string]string{}, map[string]error{}}
	var last []string
	err := source.Read(ctx, func(item connectors.Item) error {
		path := strings.Split(item.Path, "/")
		if slices.Compare(path, last) <= 0 {
			t.Errorf("%q comes after %q", path, last)
		}
		last = path
		if item.Err != nil {
			got.errors[item.Path] = item.Err
		}
		if item.Body == nil {
			return nil
		}
		content, err := drain(item.Body)
		got.content[item.Path] = content
		if err != nil {
			got.errors[item.Path] = err
		}
		return nil
	})
	return got, err
}
