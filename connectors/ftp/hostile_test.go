package ftp_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/ftp"
	"xvault/internal/entry"
	"xvault/internal/job"
)

func TestFakeIsRead(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	got, err := read(t, ftp.New(impatient), f.config("/d"))
	if err != nil || len(got.errors) > 0 || got.content["d/a"] != f.files["/d/a"] || got.content["d/b"] != f.files["/d/b"] {
		t.Errorf("%d files, %v, %v", len(got.content), got.errors, err)
	}
}

// What a broken or hostile server says ends the reading, or stands in the folder's
// error; it never makes the tree smaller, and takes neither memory nor time.
func TestHostileListings(t *testing.T) {
	t.Parallel()
	const dots, a = "type=cdir; .\r\n", "type=file;size=12;modify=20260102030405; a\r\n"
	for name, c := range map[string]struct {
		list, done string
		code       job.Code // of the reading; empty: the folder has an error instead
	}{
		"up":             {list: a + "type=dir; ..\r\n", code: job.Internal},
		"slash":          {list: a + "type=file;size=1; ../../etc/passwd\r\n", code: job.Internal},
		"NUL":            {list: a + "type=file;size=1; x\x00y\r\n", code: job.Internal},
		"long name":      {list: a + "type=file;size=1; " + strings.Repeat("n", 2000) + "\r\n", code: job.Internal},
		"endless line":   {list: a + strings.Repeat("x", 1<<20), code: job.Internal},
		"no line":        {list: dots + a + "what is this?\r\n"},
		"negative":       {list: dots + a + "type=file;size=-1; x\r\n"},
		"cut in a line":  {list: dots + a + "type=file;size=1;", code: job.ConnectFailed},
		"says truncated": {list: dots + a, done: "226 Output truncated to 1 matches"},
		"says failed":    {list: dots + a, done: "226 Transfer done (but failed to open directory)."},
		"is refused":     {list: dots + a, done: "426 the connection broke", code: job.ConnectFailed},
		"falls silent":   {list: dots + a, done: "none", code: job.Timeout},
		"ten thousand":   {list: dots + a + strings.Repeat("type=OS.unix=fifo; x\r\n", 9998)},
		"too many":       {list: dots + a + strings.Repeat("type=OS.unix=fifo; x\r\n", 30_000)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.lists["/d"] = c.list
			f.hook = func(conn *fakeConn, verb, _ string) bool {
				if verb != "MLSD" || conn.dir != "/d" {
					return false
				}
				conn.transfer(c.list, c.done == "")
				if c.done != "" && c.done != "none" {
					conn.say("%s", c.done)
				}
				return true
			}
			got, err := read(t, ftp.New(impatient), f.config("/d"))
			if c.code != "" {
				wantCode(t, "read", err, c.code)
				return
			}
			if err != nil || !codeIn(got.errors["d"], job.PermissionDenied) || got.content["d/a"] != f.files["/d/a"] {
				t.Errorf("read: %v, errors %v, %d files", err, got.errors, len(got.content))
			}
			t.Log(got.errors["d"])
		})
	}
}

// A listing that never ends is left where the memory for it is full.
func TestEndless(t *testing.T) {
	t.Parallel()
	for name, hook := range map[string]func(c *fakeConn, verb string) bool{
		"listing": func(c *fakeConn, verb string) bool {
			if verb != "MLSD" || c.dir != "/d" {
				return false
			}
			c.say("150 here it comes")
			conn, err := c.data.Accept()
			if err != nil {
				return true
			}
			_, err = io.WriteString(conn, "type=file;size=12;modify=20260102030405; a\r\n")
			for i := 0; err == nil; i++ {
				_, err = io.WriteString(conn, "type=OS.unix=fifo; "+strings.Repeat("n", i%200+1)+"\r\n")
			}
			_ = conn.Close()
			c.say("426 at last")
			return true
		},
		"reply line": func(c *fakeConn, verb string) bool {
			for verb == "FEAT" {
				if _, err := io.WriteString(c.Conn, strings.Repeat("x", 4096)); err != nil {
					break
				}
			}
			return verb == "FEAT"
		},
		"reply": func(c *fakeConn, verb string) bool {
			for verb == "PWD" {
				if _, err := io.WriteString(c.Conn, "257-more\r\n"); err != nil {
					break
				}
			}
			return verb == "PWD"
		},
		"waiting": func(c *fakeConn, verb string) bool {
			for verb == "CWD" {
				if _, err := io.WriteString(c.Conn, "150 wait\r\n"); err != nil {
					break
				}
			}
			return verb == "CWD"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFake(t)
			f.hook = func(c *fakeConn, verb, _ string) bool { return hook(c, verb) }
			got, err := read(t, ftp.New(impatient), f.config("/d"))
			if name == "listing" && err == nil && codeIn(got.errors["d"], job.PermissionDenied) {
				return
			}
			wantCode(t, "read", err, job.ConnectFailed)
		})
	}
}

// The server may name any address for a data connection: the one of the control
// connection is taken.
func TestPassiveAddressIsTheServersOwn(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.hook = func(c *fakeConn, verb, _ string) bool {
		switch verb {
		case "EPSV":
			c.say("500 what?")
		case "PASV":
			port := c.listen()
			c.say("227 Entering Passive Mode (10,1,2,3,%d,%d)", port>>8, port&255)
		default:
			return false
		}
		return true
	}
	got, err := read(t, ftp.New(impatient), f.config("/d"))
	if err != nil || got.content["d/a"] != f.files["/d/a"] {
		t.Errorf("%v, %v", got.errors, err)
	}
}

// A transfer that ends early is never taken for the file, whatever the server says.
func TestShortTransfers(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"a", "b"} {
		for name, end := range map[string]func(c *fakeConn){
			"called complete": func(c *fakeConn) { c.say("226 done") },
			"refused":         func(c *fakeConn) { c.say("426 broken") },
			"silent":          func(*fakeConn) {},
			"hung up":         func(c *fakeConn) { _ = c.Close() },
		} {
			t.Run(file+" "+name, func(t *testing.T) {
				t.Parallel()
				f := newFake(t)
				f.hook = func(c *fakeConn, verb, arg string) bool {
					if verb != "RETR" || arg != file {
						return false
					}
					content := f.files["/d/"+file]
					c.transfer(content[min(c.offset, len(content)-1):len(content)-1], false)
					c.offset = 0
					end(c)
					return true
				}
				got, err := read(t, ftp.New(impatient), f.config("/d"))
				if err == nil && got.errors["d/"+file] == nil {
					t.Errorf("%d of %d bytes passed as the file", len(got.content["d/"+file]), len(f.files["/d/"+file]))
				}
				t.Log(err, got.errors)
			})
		}
	}
}

// A large file goes on where the data connection broke, if it is the same.
func TestResume(t *testing.T) {
	t.Parallel()
	for _, rest := range []bool{true, false} {
		f := newFake(t)
		breaks := 0
		f.hook = func(c *fakeConn, verb, arg string) bool {
			switch {
			case verb == "REST" && !rest:
				c.say("502 what?")
				return true
			case verb != "RETR" || arg != "b" || breaks == 4:
				return false
			}
			breaks++
			content := f.files["/d/b"][c.offset:]
			c.offset = 0
			c.transfer(content[:min(len(content), 50_000*breaks)], false)
			c.say("426 broken")
			return true
		}
		got, err := read(t, ftp.New(impatient), f.config("/d"))
		if err != nil || len(got.errors) > 0 || got.content["d/b"] != f.files["/d/b"] {
			t.Errorf("resumed: %d bytes, %v, %v", len(got.content["d/b"]), got.errors, err)
		}
		if rest && !slices.ContainsFunc(f.said("REST"), func(offset string) bool { return offset != "0" }) {
			t.Errorf("the file began anew each time: REST %q", f.said("REST"))
		}
	}
}

// What changed while the connection was away is not glued together unseen.
func TestResumeOfAnotherFile(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]string{"shrunk": strings.Repeat("c", 1000), "rewritten": strings.Repeat("c", 200_001)} {
		f := newFake(t)
		f.hook = func(c *fakeConn, verb, arg string) bool {
			if verb != "RETR" || arg != "b" || f.files["/d/b"] == after {
				return false
			}
			c.transfer(f.files["/d/b"][:120_000], false)
			f.files["/d/b"] = after
			c.say("426 broken")
			return true
		}
		got, err := read(t, ftp.New(withConnections(impatient, 1)), f.config("/d"))
		var content *entry.ContentError
		switch end := got.errors["d/b"]; {
		case err != nil:
			t.Errorf("%s: %v", name, err)
		case name == "shrunk" && (!errors.As(end, &content) || content.Code != string(job.SourceChanged)):
			t.Errorf("a file that shrank ended with %v", end)
		case name == "rewritten" && (!errors.Is(end, entry.ErrChanged) || len(got.content["d/b"]) != 200_000):
			t.Errorf("a file that was rewritten ended with %v after %d bytes", end, len(got.content["d/b"]))
		}
	}
}

func withConnections(o ftp.Options, n int) ftp.Options {
	o.Connections = n
	return o
}

// Without TLS nothing is encrypted, and that is said; with TLS nothing about the user
// is sent before it is up.
func TestClear(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var log bytes.Buffer
	env := connectors.Env{Credential: fakeCredential, Dial: connectors.NewDialer(connectors.DialerConfig{}), Log: slog.New(slog.NewTextHandler(&log, nil))}
	source := opened(t, ftp.New(impatient), f.config("/d"), env)
	probe, err := source.Probe(t.Context())
	if err != nil || len(probe.Warnings) == 0 || !strings.Contains(probe.Warnings[0], "nothing is encrypted") {
		t.Errorf("probe: %+v, %v", probe, err)
	}
	if !strings.Contains(log.String(), "nothing is encrypted") || strings.Contains(log.String(), "a password") {
		t.Errorf("the log says %s", log.String())
	}
	for _, way := range []string{"explicit", "implicit"} {
		f := newFake(t)
		config := f.config("/d")
		config["tls"] = way
		_, err = read(t, ftp.New(impatient), config)
		wantCode(t, way+" TLS with a server that has none", err, job.ConnectFailed)
		if users, passwords := f.said("USER"), f.said("PASS"); len(users)+len(passwords) > 0 {
			t.Errorf("%s: the server heard %q and %q", way, users, passwords)
		}
	}
}

// A server without MLSD, of the Windows kind, that knows no option of LIST.
func TestWindowsServer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.feats = " SIZE\r\n MDTM\r\n"
	f.lists["/"] = "01-02-26  03:04AM       <DIR>          d\r\n"
	f.lists["/d"] = "01-02-26  03:04AM                   12 a\r\n01-02-26  03:04AM               200000 b\r\n01-02-26  03:04AM       <DIR>          sub dir\r\n"
	f.lists["/d/sub dir"] = ""
	f.hook = func(c *fakeConn, verb, arg string) bool {
		if verb == "LIST" && arg != "" {
			c.say("501 no such option")
			return true
		}
		return false
	}
	var times []time.Time
	source := opened(t, ftp.New(impatient), f.config("/d"), connectors.Env{Credential: fakeCredential, Dial: connectors.NewDialer(connectors.DialerConfig{})})
	err := source.Read(t.Context(), func(item connectors.Item) error {
		if item.Err != nil {
			return item.Err
		}
		if item.Body != nil {
			times = append(times, item.ModTime)
			_, err := drain(item.Body)
			return err
		}
		return nil
	})
	want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if err != nil || len(times) != 2 || !times[0].Equal(want) || !times[1].Equal(want) {
		t.Errorf("times %v, %v", times, err)
	}
}

// A small file that is far longer than it was listed is read when its turn comes, not
// held in memory.
func TestFileLongerThanListed(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.lists["/d"] = "type=cdir; .\r\ntype=file;size=3;modify=20260102030405; b\r\ntype=file;modify=20260102030405; a\r\n"
	got, err := read(t, ftp.New(impatient), f.config("/d"))
	if err != nil || len(got.errors) > 0 || got.content["d/b"] != f.files["/d/b"] || got.content["d/a"] != f.files["/d/a"] {
		t.Errorf("%d and %d bytes, %v, %v", len(got.content["d/a"]), len(got.content["d/b"]), got.errors, err)
	}
}
