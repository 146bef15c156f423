package ssh_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/testenv"
)

// farAway has more tars started as soon as one has been waited for.
func farAway() sftp.Options {
	o := quick
	o.TarsAfter, o.WidenAt = time.Millisecond, 1
	return o
}

// plantMany makes some 24 MiB of small files. What a tar of a test sends is another
// content for some of them.
func plantMany(t *testing.T, root string) {
	t.Helper()
	source := rand.NewChaCha8([32]byte{2})
	for i := range 1500 {
		b := make([]byte, 1+i%16<<11)
		_, _ = source.Read(b) // never fails
		if i%16 == 0 {
			b = []byte("padded-content")
		}
		if err := os.WriteFile(filepath.Join(root, fmt.Sprint(i)), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// sent tells how many bytes each of the tars sent that wrote that down.
func sent(t *testing.T, dir string) (all []int64) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "sent.*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, info.Size())
	}
	return all
}

// packFar reads a server 40 ms away.
func packFar(t *testing.T, s *testenv.SSHServer, o sftp.Options, root string) ([32]byte, string) {
	t.Helper()
	link := testenv.SlowLink(t, s.Addr(), 20*time.Millisecond)
	src, log := openBy(t, ssh.New(o), s, link.Config(s, root), connectors.NewDialer(connectors.DialerConfig{}))
	waited := false
	got := pack(t, src, func() {
		// What is started is to be in use before everything is read.
		if !waited && strings.Contains(log.String(), "more tars on the server") {
			waited = true
			testenv.Eventually(t, 20*time.Second, func() bool {
				return strings.Count(log.String(), "one more tar")+strings.Count(log.String(), "one tar less") > 1
			}, "more tars")
		}
	})
	return sha256.Sum256(got), log.String()
}

// The first tar is the real one, and writes down what it sends; others do what the
// script says.
func tarsWhere(dir, others string) fake {
	return fake{"tar": realTar + "mkdir " + dir + "/first 2>/dev/null && others=no\n" +
		"[ -n \"$others\" ] || { " + others + "; exit; }\n" + writesDown(dir)}
}

func writesDown(dir string) string { return `/usr/bin/tar "$@" | tee ` + dir + `/sent.$$` }

// Far away several tars bring what one brings, also where others than the first are
// of no use.
func TestSeveralTars(t *testing.T) {
	t.Parallel()
	first := testenv.SSHD(t, testenv.SSHOptions{})
	root := first.Root
	plantMany(t, root)
	whole := sha256.Sum256(packPlain(t, first, root))
	folders := farAway()
	folders.FindMemory = 1 // lists folder by folder
	few := testenv.SSHOptions{Extra: []string{"MaxSessions 3"}}
	dir := func() string {
		d := testenv.Dir(t)
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
		return d
	}
	for name, c := range map[string]struct {
		opts   testenv.SSHOptions
		o      sftp.Options
		others func(dir string) string // what tars do after the first
		sent   int                     // by how many tars, at least
		log    string
	}{
		"three":                {o: farAway(), others: writesDown, sent: 3, log: "one more tar"},
		"three and many finds": {o: folders, others: writesDown, sent: 3, log: "one more tar"},
		"sessions are few":     {opts: few, o: farAway(), others: writesDown, sent: 1, log: "one tar less"},
		"others are killed":    {o: farAway(), others: func(string) string { return `/usr/bin/tar "$@" | head -c 50000; kill -9 $$` }, sent: 1, log: "ended early"},
		"others complain":      {o: farAway(), others: func(string) string { return complaining("tar: x: odd") }, sent: 1, log: "one more tar"},
		"others do not start":  {o: farAway(), others: func(string) string { return `exit 1` }, sent: 1, log: "more tars on the server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dir()
			opts := tarsWhere(d, c.others(d)).options(t)
			opts.Extra = append(opts.Extra, c.opts.Extra...)
			got, log := packFar(t, testenv.SSHD(t, opts), c.o, root)
			if got != whole {
				t.Errorf("the tar is another than over SFTP; the log says %s", log)
			}
			if all := sent(t, d); len(all) < c.sent {
				t.Errorf("what tars sent is %d, want %d of them; the log says %s", all, c.sent, log)
			}
			if !strings.Contains(log, c.log) {
				t.Errorf("the log does not say %q: %s", c.log, log)
			}
		})
	}
}

// Nearby one tar is the fastest.
func TestOneTarNearby(t *testing.T) {
	t.Parallel()
	d := testenv.Dir(t)
	s := testenv.SSHD(t, fake{"tar": realTar + writesDown(d)}.options(t))
	plantMany(t, s.Root)
	o := quick
	o.TarsAfter = time.Millisecond
	src, log := open(t, ssh.New(o), s, s.Config(s.Root))
	pack(t, src, nil)
	if all := sent(t, d); len(all) != 1 {
		t.Errorf("what tars sent is %d; the log says %s", all, log)
	}
}
