package ssh_test

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/entry"
	"xvault/internal/testenv"
)

// Both ways give artifacts with the same tar, byte for byte, but for what SFTP cannot see.
func TestBothWaysGiveTheSameTar(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	plant(t, s.Root)
	folders := calm
	folders.FindMemory = 1 // lists folder by folder
	over, _ := open(t, sftp.New(calm), s, s.Config(s.Root))
	want, about := tarOf(t, over)
	if about.Content.Files < 390 || about.Content.Skipped != 2 || len(want) < 7<<20 {
		t.Fatalf("this proves little: %+v, %d bytes of tar", about.Content, len(want))
	}
	for name, o := range map[string]sftp.Options{"all at once": calm, "folder by folder": folders} {
		src, log := open(t, ssh.New(o), s, s.Config(s.Root))
		got, found := tarOf(t, src)
		if !strings.Contains(log.String(), "read through its shell") || !strings.Contains(log.String(), "GNU tar") || !strings.Contains(log.String(), "GNU findutils") {
			t.Errorf("%s: the log says %s", name, log)
		}
		if strings.Contains(log.String(), "ended early") {
			t.Errorf("%s: the log says %s", name, log)
		}
		if !bytes.Equal(got, want) {
			at := differ(got, want)
			block := at &^ 511
			t.Errorf("%s: %d bytes of tar, over SFTP %d; the first difference is at %d, in %.600q, over SFTP %.600q", name, len(got), len(want), at, got[block:], want[block:])
		}
		if found.Content != about.Content {
			t.Errorf("%s: %+v, over SFTP %+v", name, found.Content, about.Content)
		}
	}
}

func differ(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// fake is a folder of programs that come before those of the system.
type fake map[string]string

func (f fake) options(t *testing.T) testenv.SSHOptions {
	t.Helper()
	dir := testenv.Dir(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=" + dir + ":/usr/bin:/bin"}
	for name, script := range f {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("#!/bin/bash\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if name == ".bashrc" {
			env = append(env, "HOME="+dir)
		}
	}
	return testenv.SSHOptions{Env: env}
}

const realTar = `[ "$1" = --version ] && exec /usr/bin/tar --version
`

// complaining is a tar that sends another content than a file has, and says something
// about each batch.
func complaining(words string) string {
	return `/usr/bin/tar "$@" 2> >(sed 's/^/` + words + `\n/' >&2) | LC_ALL=C sed s/padded-content/zeroed-content/`
}

// packPlain reads a tree over SFTP alone.
func packPlain(t *testing.T, s *testenv.SSHServer, root string) []byte {
	t.Helper()
	src, _ := open(t, sftp.New(calm), s, s.Config(root))
	return pack(t, src, nil)
}

// Whatever is odd about a server's shell and programs, everything is read.
func TestOddServers(t *testing.T) {
	t.Parallel()
	const shell, alone = "read through its shell", "over SFTP alone"
	const early = "ended early"
	// All of them serve one tree, which is read over SFTP alone once.
	first := testenv.SSHD(t, testenv.SSHOptions{})
	root := first.Root
	plant(t, root)
	whole := packPlain(t, first, root)
	patient := calm
	patient.StallAfter = 30 * time.Second
	for name, c := range map[string]struct {
		opts testenv.SSHOptions
		fake fake
		log  []string
	}{
		"nothing but SFTP":    {opts: onlySFTP, log: []string{alone}},
		"no login":            {opts: testenv.SSHOptions{User: "nobody"}, log: []string{alone}},
		"start files end":     {fake: fake{".bashrc": "exit 1"}, log: []string{alone}},
		"one session":         {opts: testenv.SSHOptions{Extra: []string{"MaxSessions 1"}}, log: []string{alone}},
		"two sessions":        {opts: testenv.SSHOptions{Extra: []string{"MaxSessions 2"}}},
		"start files talk":    {fake: fake{".bashrc": "echo hello; echo tar: oops >&2; printf 'no line end'"}, log: []string{shell}},
		"start files babble":  {fake: fake{".bashrc": "head -c 200000 /dev/urandom"}, log: []string{alone, "prints other things"}},
		"start files read":    {fake: fake{".bashrc": "read -r -t 1 x"}, log: []string{alone}},
		"other tar":           {fake: fake{"tar": "echo 'bsdtar 3.6.2 - libarchive 3.6.2'"}, log: []string{alone, "no GNU tar"}},
		"old tar":             {fake: fake{"tar": "echo 'tar (GNU tar) 1.26'"}, log: []string{alone, "older than 1.29"}},
		"no tar":              {fake: fake{"tar": "exit 127"}, log: []string{alone, "no GNU tar"}},
		"other find":          {fake: fake{"find": "echo 'BusyBox v1.36'"}, log: []string{alone, "no GNU findutils"}},
		"find fails":          {fake: fake{"find": `[ "$1" = --version ] && exec /usr/bin/find --version; /usr/bin/find "$@"; exit 1`}, log: []string{shell, "without a word"}},
		"find is killed":      {fake: fake{"find": `[ "$1" = --version ] && exec /usr/bin/find --version; /usr/bin/find "$@" | head -c 20000; kill -9 $$`}, log: []string{shell}},
		"find says odd words": {fake: fake{"find": `/usr/bin/find "$@"; echo "find: odd" >&2`}, log: []string{shell, "find: odd"}},
		"find leaves out":     {fake: fake{"find": `[ "$1" = --version ] && exec /usr/bin/find --version; /usr/bin/find "$@" | head -c 20000`}, log: []string{shell}},
		"another root":        {fake: fake{"find": `[ "$1" = --version ] && exec /usr/bin/find --version; /usr/bin/find "$@" | sed -z 's/^d0 [0-7]*/d0 711/'`}, log: []string{alone, "shows other files"}},
		"tar is killed":       {fake: fake{"tar": realTar + `/usr/bin/tar "$@" | head -c 500000; kill -9 $$`}, log: []string{shell, early}},
		"tar is cut":          {fake: fake{"tar": realTar + `/usr/bin/tar "$@" | head -c 500001`}, log: []string{shell, early}},
		"tar says nothing":    {fake: fake{"tar": realTar + `exec /usr/bin/tar "$@" 2>/dev/null`}, log: []string{shell}},
		"tar complains":       {fake: fake{"tar": realTar + complaining("tar: x: odd")}, log: []string{shell}},
		"tar pads":            {fake: fake{"tar": realTar + complaining("tar: padded: File shrank by 14 bytes; padding with zeros")}, log: []string{shell}},
		"tar sees changes":    {fake: fake{"tar": realTar + complaining("tar: padded: file changed as we read it")}, log: []string{shell}},
		"tar garbles":         {fake: fake{"tar": realTar + `/usr/bin/tar "$@" | tr 7 8`}, log: []string{shell, early}},
		"tar sends others":    {fake: fake{"tar": realTar + `cat >/dev/null & exec /usr/bin/tar -cPf - --format=posix --pax-option=delete=atime,delete=ctime,delete=mtime /etc`}, log: []string{shell, "not asked for"}},
		"tar climbs":          {fake: fake{"tar": realTar + `exec /usr/bin/tar "$@" --transform 's,^/,/../,'`}, log: []string{shell, early}},
		"tar has options":     {opts: testenv.SSHOptions{Env: []string{"TAR_OPTIONS=--exclude=*", "POSIXLY_CORRECT=1"}}, log: []string{shell}},
		"tar never ends":      {fake: fake{"tar": realTar + `exec cat /dev/zero`}, log: []string{shell, early}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opts := c.opts
			if c.fake != nil {
				opts = c.fake.options(t)
			}
			s := testenv.SSHD(t, opts)
			src, log := open(t, ssh.New(patient), s, s.Config(root))
			got, want := pack(t, src, nil), whole
			if opts.User != "" {
				want = packPlain(t, s, root) // who may not read everything
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%d bytes of tar, over SFTP %d; the first difference is at %d", len(got), len(want), differ(got, want))
			}
			if !slices.Contains(c.log, early) && !slices.Contains(c.log, "not asked for") && strings.Contains(log.String(), early) {
				t.Errorf("the log says %s", log)
			}
			for _, part := range c.log {
				if !strings.Contains(log.String(), part) {
					t.Errorf("the log does not say %q: %s", part, log)
				}
			}
		})
	}
}

// A shell that is slow is waited for longer than a listing, and asked once more where
// everything was to be listed at once; one that is no use is not asked again.
func TestSlowShells(t *testing.T) {
	t.Parallel()
	const shell = "read through its shell"
	patient := calm
	patient.FindPatience, patient.ShellPatience, patient.StallAfter = time.Second, time.Minute, time.Minute
	slow := testenv.SSHD(t, fake{".bashrc": "sleep 4"}.options(t))
	if err := os.WriteFile(filepath.Join(slow.Root, "small"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, exclude := range map[string][]string{"all at once": {}, "folder by folder": {"*.none"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := slow.Config(slow.Root)
			config["exclude"] = exclude
			src, log := open(t, ssh.New(patient), slow, config)
			probed, err := src.Probe(t.Context())
			if err != nil || !strings.HasPrefix(probed.Transport, "shell, with") {
				t.Errorf("the probe tells %q, error %v", probed.Transport, err)
			}
			pack(t, src, nil)
			if !strings.Contains(log.String(), shell) {
				t.Errorf("the log says %s", log)
			}
		})
	}
	t.Run("of no use", func(t *testing.T) {
		t.Parallel()
		s := testenv.SSHD(t, fake{".bashrc": "sleep 2"}.options(t))
		path := filepath.Join(s.Root, "large")
		if err := os.WriteFile(path, make([]byte, 4<<20), 0o644); err != nil {
			t.Fatal(err)
		}
		src, _ := open(t, ssh.New(patient), s, s.Config(path))
		pack(t, src, nil)
		if n := strings.Count(s.Log(), "Starting session: command"); n != 1 {
			t.Errorf("%d commands were run, want 1", n)
		}
	})
}

// What hangs at the beginning is not waited for, and what a tar says is understood
// whatever it calls itself. There are more files than are on their way at once.
func TestOddServersAndManyFiles(t *testing.T) {
	t.Parallel()
	const shell, alone = "read through its shell", "over SFTP alone"
	root := testenv.Dir(t)
	for i := range 3000 {
		if err := os.WriteFile(filepath.Join(root, strconv.Itoa(i)), []byte{'x'}, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	hasty := calm
	hasty.ShellPatience, hasty.FindPatience = 2*time.Second, 2*time.Second
	for name, c := range map[string]struct {
		fake fake
		o    sftp.Options
		log  string
	}{
		"find hangs":       {fake{"find": `[ "$1" = --version ] && exec /usr/bin/find --version; exec sleep 20`}, hasty, alone},
		"start files hang": {fake{".bashrc": "exec sleep 20"}, hasty, alone},
		"no error output":  {fake{".bashrc": "exec 2>/dev/null"}, calm, alone},
		"tar is a script":  {fake{"tar": realTar + `exec /usr/bin/tar "$@"`}, calm, shell},
		"tar says nothing": {fake{"tar": realTar + `exec /usr/bin/tar "$@" 2>/dev/null`}, calm, shell},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testenv.SSHD(t, c.fake.options(t))
			src, log := open(t, ssh.New(c.o), s, s.Config(root))
			var files int
			err := src.Read(t.Context(), func(item connectors.Item) error {
				if item.Kind == entry.File && item.Err == nil {
					files++
					_, err := io.Copy(io.Discard, item.Body)
					return err
				}
				return nil
			})
			if err != nil || files != 3000 || !strings.Contains(log.String(), c.log) {
				t.Errorf("%v, %d files, the log says %s", err, files, log)
			}
			if c.log == shell && name == "tar is a script" && strings.Contains(log.String(), "ended early") {
				t.Errorf("the log says %s", log)
			}
		})
	}
}
