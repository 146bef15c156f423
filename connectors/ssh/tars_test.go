package ssh_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
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
	o := calm
	o.TarsAfter, o.WidenAt = time.Millisecond, 1
	return o
}

// plantMany makes 30 MiB of files that are small enough for tar, and gives their hashes
// by path. What a tar of a test sends is another content for some of them.
func plantMany(t *testing.T, root string) map[string][32]byte {
	t.Helper()
	source := rand.NewChaCha8([32]byte{2})
	hashes := map[string][32]byte{}
	for i := range 120 {
		b := make([]byte, 256<<10)
		_, _ = source.Read(b) // never fails
		if i%4 == 0 {
			copy(b, "padded-content")
		}
		path := filepath.Join(root, fmt.Sprintf("%03d", i))
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		hashes[path] = sha256.Sum256(b)
	}
	return hashes
}

// checked reads a source that holds these files and calls onFile before each.
func checked(t *testing.T, src connectors.Source, want map[string][32]byte, onFile func()) {
	t.Helper()
	var paths []string
	err := src.Read(t.Context(), func(item connectors.Item) error {
		if item.Err != nil {
			return item.Err
		}
		if item.Body == nil {
			return nil
		}
		onFile()
		path := "/" + item.Path
		paths = append(paths, path)
		hash := sha256.New()
		if _, err := io.Copy(hash, item.Body); err != nil {
			return err
		}
		if [32]byte(hash.Sum(nil)) != want[path] {
			t.Errorf("%q has another content", path)
		}
		return nil
	})
	if err != nil || !slices.Equal(paths, slices.Sorted(maps.Keys(want))) {
		t.Errorf("%v, and these paths in this order: %q", err, paths)
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

// readFar reads a server 60 ms away. What is started is to be in use before everything
// is read: the first visit for which the log says as much waits for that.
func readFar(t *testing.T, s *testenv.SSHServer, o sftp.Options, root string, want map[string][32]byte, says string, until func(log string) bool) string {
	t.Helper()
	link := testenv.SlowLink(t, s.Addr(), 30*time.Millisecond)
	src, log := openBy(t, ssh.New(o), s, link.Config(s, root), connectors.NewDialer(connectors.DialerConfig{}))
	waited := false
	checked(t, src, want, func() {
		if !waited && strings.Contains(log.String(), says) {
			waited = true
			testenv.Eventually(t, 2*time.Minute, func() bool { return until(log.String()) }, "more tars")
		}
	})
	return log.String()
}

// The first tar is the real one, and writes down what it sends; others do what the
// script says.
func tarsWhere(dir, others string) fake {
	return fake{"tar": realTar + "mkdir " + dir + "/first 2>/dev/null && others=no\n" +
		"[ -n \"$others\" ] || { " + others + "; exit; }\n" + writesDown(dir)}
}

func writesDown(dir string) string { return `/usr/bin/tar "$@" | tee ` + dir + `/sent.$$` }

const moreConns = "one more connection to the server"

func oneMore(log string) bool { return strings.Contains(log, "one more tar") }

// twoTold: of two tars it is known whether there are.
func twoTold(log string) bool {
	return strings.Count(log, "one more tar")+strings.Count(log, "one tar less") >= 2
}

// Far away several tars bring what one brings, also where others than the first are
// of no use.
func TestSeveralTars(t *testing.T) {
	t.Parallel()
	first := testenv.SSHD(t, testenv.SSHOptions{})
	root := first.Root
	files := plantMany(t, root)
	folders := farAway()
	folders.FindMemory = 1 // lists folder by folder
	sessions := func(n int) testenv.SSHOptions {
		return testenv.SSHOptions{Extra: []string{fmt.Sprint("MaxSessions ", n)}}
	}
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
		"several":          {o: farAway(), others: writesDown, sent: 3, log: "one more tar"},
		"sessions are few": {opts: sessions(3), o: folders, others: writesDown, sent: 1, log: "one tar less"},
		"no more sessions": {opts: sessions(2), o: farAway(), others: writesDown, sent: 2, log: moreConns},
		"others fail": {o: farAway(), others: func(dir string) string {
			return "mkdir " + dir + `/second 2>/dev/null && { /usr/bin/tar "$@" | head -c 50000; kill -9 $$; }; ` + complaining("tar: x: odd")
		}, sent: 1, log: "ended early"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := dir()
			opts := tarsWhere(d, c.others(d)).options(t)
			opts.Extra = append(opts.Extra, c.opts.Extra...)
			says, until := "more tars on the server", twoTold
			if c.log == moreConns {
				says, until = "one tar less", oneMore // there are more connections where all are refused
			}
			log := readFar(t, testenv.SSHD(t, opts), c.o, root, files, says, until)
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
	files := plantMany(t, s.Root)
	o := calm
	o.TarsAfter = time.Millisecond
	src, log := open(t, ssh.New(o), s, s.Config(s.Root))
	checked(t, src, files, func() {})
	// A machine that is busy may find itself far away.
	if found := regexp.MustCompile(`more tars .*round_trip=(\S+)`).FindStringSubmatch(log.String()); found != nil {
		if trip, err := time.ParseDuration(found[1]); err != nil || trip < 2*time.Millisecond {
			t.Errorf("more tars were started at %s, %v", found[1], err)
		}
		return
	}
	if all := sent(t, d); len(all) != 1 {
		t.Errorf("what tars sent is %d; the log says %s", all, log)
	}
}
