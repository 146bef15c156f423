package ssh_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/connectors/ssh"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// What is stored of files that change all the time is what was in them at one
// time, or it says that it is not.
func TestFilesThatChangeAllTheTime(t *testing.T) {
	t.Parallel()
	for _, kind := range []connectors.Type{ssh.New(calm), sftp.New(calm)} {
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			s := testenv.SSHD(t, testenv.SSHOptions{})
			const files = 40
			for i := range files {
				rewrite(t, filepath.Join(s.Root, fmt.Sprintf("%02d", i)), 'a')
			}
			var writing sync.WaitGroup
			var stop atomic.Bool
			writing.Go(func() {
				for n := 0; !stop.Load(); n++ {
					rewrite(t, filepath.Join(s.Root, fmt.Sprintf("%02d", n*7%files)), byte('a'+n%26))
				}
			})
			defer writing.Wait()
			defer stop.Store(true)
			told, torn := 0, 0
			for range 5 {
				src, _ := open(t, kind, s, s.Config(s.Root))
				err := src.Read(t.Context(), func(item connectors.Item) error {
					if item.Body == nil {
						return nil
					}
					b, err := io.ReadAll(item.Body)
					switch whole := len(b) == changing && bytes.Count(b, b[:1]) == len(b); {
					case errors.Is(err, entry.ErrChanged):
						told++
					case err != nil:
						return err
					case int64(len(b)) != item.Size:
						t.Errorf("%q: %d bytes of %d", item.Path, len(b), item.Size)
					case !whole && len(b)%step != 0 && len(b)%page != 0:
						t.Errorf("%q: a length of %d that it never had", item.Path, len(b))
					case !whole && bytes.IndexByte(b, 0) >= 0:
						t.Errorf("%q: bytes that it never had", item.Path)
					case !whole:
						torn++ // half written when it was read, which is what was there
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Logf("of %d, %d changed while they were read, %d were half written", 5*files, told, torn)
		})
	}
}

const (
	changing = 600_000
	step     = 60_000
	page     = 4096 // by which a file grows within one write, as others see it
)

// rewrite writes a file anew, in steps.
func rewrite(t *testing.T, path string, letter byte) {
	t.Helper()
	f, err := os.Create(path)
	content := bytes.Repeat([]byte{letter}, step)
	for range changing / step {
		if err == nil {
			_, err = f.Write(content)
		}
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		t.Error(err)
	}
}

// A tar that hangs is a disk that hangs.
func TestTarHangs(t *testing.T) {
	t.Parallel()
	o := calm
	o.StallAfter /= 4
	// It hangs for as long as the server that started it is there.
	s := testenv.SSHD(t, fake{"tar": realTar + "while kill -0 $PPID; do sleep 0.1; done"}.options(t))
	plant(t, s.Root)
	src, _ := open(t, ssh.New(o), s, s.Config(s.Root))
	err := src.Read(t.Context(), func(connectors.Item) error { return nil })
	if job.CodeOf(err) != job.Timeout {
		t.Errorf("a tar that hangs: %v", err)
	}
}

// So is one of several, once it is waited for.
func TestOneOfSeveralTarsHangs(t *testing.T) {
	t.Parallel()
	o := farAway()
	o.StallAfter /= 4
	d := testenv.Dir(t)
	if err := os.Chmod(d, 0o777); err != nil {
		t.Fatal(err)
	}
	s := testenv.SSHD(t, tarsWhere(d, "while kill -0 $PPID; do sleep 0.1; done").options(t))
	plantMany(t, s.Root)
	link := testenv.SlowLink(t, s.Addr(), 30*time.Millisecond)
	src, log := openBy(t, ssh.New(o), s, link.Config(s, s.Root), connectors.NewDialer(connectors.DialerConfig{}))
	waited := false
	err := src.Read(t.Context(), func(connectors.Item) error {
		if !waited && strings.Contains(log.String(), "more tars on the server") {
			waited = true
			testenv.Eventually(t, 2*time.Minute, func() bool { return oneMore(log.String()) }, "more tars")
		}
		return nil
	})
	if job.CodeOf(err) != job.Timeout || !strings.Contains(err.Error(), "tar") {
		t.Errorf("one tar of several that hangs: %v", err)
	}
}

// A tar that nobody waits for is not one that hangs: while a large file is visited, it
// holds back the end of what it has, and files that there is no room for keep it from
// being told to send that.
func TestNobodyWaitsForTar(t *testing.T) {
	t.Parallel()
	o := calm
	o.StallAfter, o.KeepAlive, o.Ahead = 2*time.Second, 2*time.Second, 1 // the least
	s := testenv.SSHD(t, testenv.SSHOptions{})
	const films = 10
	for i := range films {
		for name, size := range map[string]int{"film": 1<<20 + 1, "thumbnail": 1 << 10} {
			if err := os.WriteFile(filepath.Join(s.Root, fmt.Sprint(i, name)), bytes.Repeat([]byte{'a'}, size), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	src, log := open(t, ssh.New(o), s, s.Config(s.Root))
	visited := 0
	err := src.Read(t.Context(), func(item connectors.Item) error {
		if item.Body == nil {
			return nil
		}
		if visited++; visited == 1 {
			time.Sleep(o.StallAfter + o.KeepAlive) // the visit itself takes so long
		}
		_, err := io.Copy(io.Discard, item.Body)
		return err
	})
	if err != nil || visited != 2*films || !strings.Contains(log.String(), "read through its shell") {
		t.Errorf("%d files, %v; the log says %s", visited, err, log)
	}
}

// A probe tells which way a source would be read.
func TestProbeTellsTheWay(t *testing.T) {
	t.Parallel()
	for want, opts := range map[string]testenv.SSHOptions{"shell, with GNU tar": {}, "SFTP alone, because": onlySFTP} {
		s := testenv.SSHD(t, opts)
		src, _ := open(t, ssh.New(calm), s, s.Config(s.Root))
		result, err := src.Probe(t.Context())
		if err != nil || !strings.HasPrefix(result.Transport, want) {
			t.Errorf("the probe tells %q, error %v, want %q", result.Transport, err, want)
		}
	}
}
