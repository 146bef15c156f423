package ftp_test

import (
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
	"xvault/connectors/ftp"
	"xvault/internal/job"
)

// unixFake is a server without MLSD: three folders with six files, one of which
// begins with a dot and is shown with -a alone.
func unixFake(t *testing.T) *fake {
	t.Helper()
	const dir, file = "drwxr-xr-x 2 0 0 4096 Jan  2 03:04 ", "-rw-r--r-- 1 0 0 1 Jan  2 03:04 "
	f := newFake(t)
	f.feats = " SIZE\r\n MDTM\r\n"
	f.files = map[string]string{"/x": "x"}
	f.lists = map[string]string{"/": dir + "d\r\n" + dir + "e\r\n" + file + "x\r\n", "/d": dir + "in\r\n", "/d/in": "", "/e": ""}
	for _, name := range []string{"/d/in/a", "/d/in/b", "/d/c", "/e/.dot"} {
		at := strings.LastIndexByte(name, '/')
		f.files[name] = name[at+1 : at+2]
		f.lists[name[:at]] += file + name[at+1:] + "\r\n"
	}
	return f
}

// visible is a listing without the names that begin with a dot.
func visible(list string) string {
	var shown strings.Builder
	for line := range strings.Lines(list) {
		if !strings.Contains(line, " .") {
			shown.WriteString(line)
		}
	}
	return shown.String()
}

// asName makes LIST take its option for a name, and say something to that.
func (f *fake) asName(say func(c *fakeConn)) {
	f.hook = func(c *fakeConn, verb, arg string) bool {
		switch {
		case verb != "LIST":
			return false
		case arg == "":
			c.transfer(visible(f.lists[c.dir]), true)
		default:
			say(c)
		}
		return true
	}
}

// A server that takes the -a of LIST for a name has no such name, in one way or
// another. What LIST shows without it is read, all of it.
func TestListTakesNoOption(t *testing.T) {
	t.Parallel()
	all := []string{"d/c", "d/in/a", "d/in/b"}
	for name, say := range map[string]func(c *fakeConn){
		"500":            func(c *fakeConn) { c.say("500 what?") },
		"501":            func(c *fakeConn) { c.say("501 no such option") },
		"550":            func(c *fakeConn) { c.say("550 -a: no such file") },
		"451":            func(c *fakeConn) { c.say("451 -a: no such file") },
		"nothing":        func(c *fakeConn) { c.transfer("", true) },
		"nothing at all": func(c *fakeConn) { c.transfer("", false); c.say("226 error: -a not found") },
		"late 550":       func(c *fakeConn) { c.transfer("", false); c.say("550 -a: no such file") },
		"words":          func(c *fakeConn) { c.transfer("ls: -a: No such file or directory\r\n", true) },
		"its own name":   func(c *fakeConn) { c.transfer("-rw-r--r-- 1 0 0 1 Jan  2 03:04 -a\r\n", true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, paths := range [][]string{{"/d"}, {"/d", "/x"}, {"/d/in", "/d/c", "/x"}} {
				f := unixFake(t)
				f.asName(say)
				got, err := read(t, ftp.New(impatient), f.config(paths...))
				want := all
				if len(paths) > 1 {
					want = append(slices.Clone(all), "x")
				}
				if err != nil || len(got.errors) > 0 || len(got.content) != len(want) {
					t.Errorf("%q: files %v, want %v; %v, %v", paths, got.content, want, got.errors, err)
				}
				for _, path := range want {
					if got.content[path] != f.files["/"+path] {
						t.Errorf("%q: %s holds %q", paths, path, got.content[path])
					}
				}
			}
			f := unixFake(t)
			f.asName(say)
			source := opened(t, ftp.New(impatient), f.config("/d"), connectors.Env{Credential: fakeCredential, Dial: connectors.NewDialer(connectors.DialerConfig{})})
			probe, err := source.Probe(t.Context())
			if err != nil || !slices.ContainsFunc(probe.Warnings, func(w string) bool { return strings.Contains(w, "begin with a dot") }) {
				t.Errorf("probe: %q, %v", probe.Warnings, err)
			}
		})
	}
}

// One answer does not prove that the option is not taken: where it is, no name that
// begins with a dot is lost, whatever else goes wrong.
func TestListTakesOption(t *testing.T) {
	t.Parallel()
	for name, wrong := range map[string]func(c *fakeConn, nth int) bool{
		"refused once": func(c *fakeConn, nth int) bool {
			if nth == 1 {
				c.say("550 not now")
			}
			return nth == 1
		},
		"made in between": func(c *fakeConn, nth int) bool {
			if nth == 1 {
				c.transfer("", true)
			}
			return nth == 1
		},
		"refused after names": func(c *fakeConn, _ int) bool {
			if c.dir == "/" {
				c.transfer(c.lists["/"], false)
				c.say("451 and something went wrong")
			}
			return c.dir == "/"
		},
		"refused in a folder": func(c *fakeConn, _ int) bool {
			if c.dir == "/d/in" {
				c.say("550 no permission")
			}
			return c.dir == "/d/in"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := unixFake(t)
			nth := 0
			f.hook = func(c *fakeConn, verb, arg string) bool {
				switch {
				case verb != "LIST":
					return false
				case arg == "":
					c.transfer(visible(f.lists[c.dir]), true)
					return true
				}
				nth++
				return wrong(c, nth)
			}
			got, err := read(t, ftp.New(withConnections(impatient, 1)), f.config("/d", "/e"))
			files, refused := 4, name == "refused in a folder"
			if refused {
				files = 2 // of the others, and nothing is taken for all that is there
			}
			if err != nil || len(got.content) != files || got.content["e/.dot"] != "." || refused != codeIn(got.errors["d/in"], job.PermissionDenied) {
				t.Errorf("files %v, %v, %v", got.content, got.errors, err)
			}
		})
	}
}

// A folder that neither way of asking may list is one error, and proves nothing.
func TestListIsRefused(t *testing.T) {
	t.Parallel()
	f := unixFake(t)
	f.hook = func(c *fakeConn, verb, arg string) bool {
		if verb == "LIST" && c.dir == "/d/in" {
			c.say("550 no permission")
			return true
		}
		return false
	}
	got, err := read(t, ftp.New(impatient), f.config("/d/in", "/d/c", "/e"))
	if err != nil || !codeIn(got.errors["d/in"], job.PermissionDenied) || got.content["e/.dot"] != "." || got.content["d/c"] != "c" {
		t.Errorf("files %v, %v, %v", got.content, got.errors, err)
	}
}
