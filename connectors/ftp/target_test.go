package ftp_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xvault/connectors"
	"xvault/connectors/connectortest"
	"xvault/connectors/ftp"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

func TestTargetSuite(t *testing.T) {
	t.Parallel()
	connectortest.RunTarget(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
		t.Helper()
		return served(t, "proftpd", o)
	})
}

// What differs between servers.
func TestTargetSuiteOnOthers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"vsftpd", "pure-ftpd"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			connectortest.RunSomeTarget(t, func(t *testing.T, o connectortest.Options) *connectortest.Server {
				t.Helper()
				return served(t, kind, o)
			}, "RestoresAnAwkwardTree", "KeepsToTheRule", "FollowsNoLink", "FollowsAChosenLink", "WithoutPrivileges")
		})
	}
}

var when = time.Unix(1_700_000_000, 0)

// targetWith opens a target; it is closed after the test.
func targetWith(t *testing.T, kind connectors.Type, config map[string]any, env connectors.Env, o connectors.TargetOptions) connectors.Target {
	t.Helper()
	raw, err := json.Marshal(config)
	check(t, err)
	canonical, faults := kind.Validate(raw)
	if len(faults) > 0 {
		t.Fatalf("%s is refused: %v", raw, faults)
	}
	o.JobID = "0198c0de-0000-7000-8000-000000000003"
	if o.Existing == "" {
		o.Existing = job.ExistingSkip
	}
	if env.Dial == nil {
		env.Dial = connectors.NewDialer(connectors.DialerConfig{})
	}
	target, err := kind.OpenTarget(canonical, env, o)
	check(t, err)
	t.Cleanup(func() { check(t, target.Close()) })
	return target
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fileItem(path string, body io.Reader, size int) connectors.TargetItem {
	return connectors.TargetItem{Body: body, Header: entry.Header{
		Path: strings.Trim(path, "/"), Kind: entry.File, Size: int64(size), Mode: 0o644, ModTime: when,
	}}
}

// putFiles puts files of a size until it ends.
func putFiles(t *testing.T, target connectors.Target, dir string, files, size int) error {
	t.Helper()
	var err error
	for i := 0; i < files && err == nil; i++ {
		err = target.Put(t.Context(), fileItem(fmt.Sprintf("%s/%03d", dir, i), bytes.NewReader(make([]byte, size)), size))
	}
	if finishErr := target.Finish(t.Context()); err == nil {
		err = finishErr
	}
	return err
}

func TestAFullDiskEndsTheRestore(t *testing.T) {
	t.Parallel()
	for _, kind := range kinds {
		s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
		for name, size := range map[string]int{"small files": 200_000, "a large one": 8 << 20} {
			dir := filepath.Join(s.Root, name)
			check(t, os.Mkdir(dir, 0o755))
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m,mode=777"); err != nil {
				t.Fatalf("mount a small tmpfs (run the tests as root, or under unshare -rm): %v", err)
			}
			t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
			target := targetWith(t, ftp.New(quick), s.Config(dir), connectors.Env{Credential: s.Credential()}, connectors.TargetOptions{})
			wantCode(t, kind+", "+name, putFiles(t, target, dir, 50, size), job.StorageFull, "full")
			names, err := os.ReadDir(dir)
			check(t, err)
			for _, n := range names {
				info, err := n.Info()
				check(t, err)
				if info.Size() != int64(size) {
					t.Errorf("%s, %s: %s has %d bytes", kind, name, n.Name(), info.Size())
				}
			}
			if r := target.Report(); r.Files != int64(len(names)) {
				t.Errorf("%s, %s: %d files are there, the report says %+v", kind, name, len(names), r)
			}
		}
	}
}

// Where the connection for data breaks at 1, 50 and 99 % of a file, writing goes on
// where the server has it; where it always breaks, the restore fails and no half file
// has the name.
func TestUploadsBreak(t *testing.T) {
	t.Parallel()
	const size = 6 << 20
	content := make([]byte, size)
	seed := [32]byte{6}
	_, _ = rand.NewChaCha8(seed).Read(content) // never fails
	for _, kind := range append([]string{"proftpd that begins at the start only"}, kinds...) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			name, _, strict := strings.Cut(kind, " ")
			o := testenv.FTPOptions{Kind: name}
			if strict {
				o.Extra = []string{"AllowStoreRestart off"}
			}
			s := testenv.FTPD(t, o)
			for _, percent := range []int64{1, 50, 99} {
				for _, breaks := range []int64{1, 1000} {
					cut := cutting(s.Addr(), size*percent/100, breaks)
					cut.writes = true
					path := fmt.Sprintf("%s/%d-%d", s.Root, percent, breaks)
					target := targetWith(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential(), Dial: cut}, connectors.TargetOptions{})
					err := target.Put(t.Context(), fileItem(path, bytes.NewReader(content), size))
					if finishErr := target.Finish(t.Context()); err == nil {
						err = finishErr
					}
					got, readErr := os.ReadFile(path)
					whole := readErr == nil && sha256.Sum256(got) == sha256.Sum256(content)
					if once := breaks == 1; whole != once || once != (err == nil) || !whole && !os.IsNotExist(readErr) {
						t.Errorf("%d breaks at %d %%: %v; %d bytes, %v", breaks, percent, err, len(got), readErr)
					}
					if err != nil && job.CodeOf(err) != job.ConnectFailed {
						t.Errorf("%d breaks at %d %%: %v", breaks, percent, err)
					}
				}
			}
		})
	}
}

// Fewer connections than are wanted, and a server that replaces nothing by renaming.
func TestATargetOnAStrictServer(t *testing.T) {
	t.Parallel()
	s := testenv.FTPD(t, testenv.FTPOptions{Kind: "proftpd", MaxClients: 1, Extra: []string{"AllowOverwrite off"}})
	for i := range 20 {
		put(t, fmt.Sprintf("%s/%03d", s.Root, i), []byte("old"))
		check(t, s.Own(fmt.Sprintf("%s/%03d", s.Root, i)))
	}
	target := targetWith(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential()}, connectors.TargetOptions{Existing: job.ExistingOverwrite})
	check(t, putFiles(t, target, s.Root, 40, 5000))
	if r := target.Report(); r.Files != 40 || r.Overwritten != 20 || r.Failed > 0 {
		t.Errorf("report %+v", r)
	}
	names, err := os.ReadDir(s.Root)
	check(t, err)
	for _, n := range names {
		if info, err := n.Info(); err != nil || info.Size() != 5000 || len(n.Name()) != 3 {
			t.Errorf("%s: %d bytes, %v", n.Name(), info.Size(), err)
		}
	}
}

// What the server died over is put right by the next attempt: a file that stood aside
// comes back, and a temporary one goes.
func TestANextAttemptTidies(t *testing.T) {
	t.Parallel()
	s := testenv.FTPD(t, testenv.FTPOptions{Kind: "proftpd"})
	prefix := filepath.Join(s.Root, connectors.TempPrefix+"0198c0de-0000-7000-8000-000000000003-")
	sum := sha256.Sum256([]byte("name"))
	for _, path := range []string{prefix + "12345678-0011223344556677-new", fmt.Sprintf("%s%x-old", prefix, sum[:8])} {
		put(t, path, []byte("old"))
		check(t, s.Own(path))
	}
	target := targetWith(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential()}, connectors.TargetOptions{Again: true})
	check(t, target.Put(t.Context(), fileItem(s.Root+"/name", strings.NewReader("newer"), 5)))
	check(t, target.Finish(t.Context()))
	names, err := os.ReadDir(s.Root)
	check(t, err)
	if b, err := os.ReadFile(s.Root + "/name"); err != nil || string(b) != "old" || len(names) != 1 || target.Report().Skipped != 1 {
		t.Errorf("there is %v; %q, %v; %+v", names, b, err, target.Report())
	}
}

// A name with a line break ends no command, and only that file fails.
func TestNamesWithLineBreaksAreTold(t *testing.T) {
	t.Parallel()
	s := testenv.FTPD(t, testenv.FTPOptions{Kind: "vsftpd"})
	target := targetWith(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential()}, connectors.TargetOptions{})
	for _, name := range []string{"new\nline", "cr\rDELE fine", "sub\n/x", "fine"} {
		check(t, target.Put(t.Context(), fileItem(s.Root+"/"+name, strings.NewReader("x"), 1)))
	}
	check(t, target.Finish(t.Context()))
	r := target.Report()
	names, err := os.ReadDir(s.Root)
	check(t, err)
	if r.Failed != 3 || r.Files != 1 || len(names) != 1 || r.Problems[0].Err.Code != job.ConfigInvalid || !strings.Contains(r.Problems[0].Err.Message, "line break") {
		t.Errorf("there is %v; %+v", names, r)
	}
}

// A server that is killed in the middle of an upload fails the attempt, which is tried
// again. ProFTPD is killed in the suite.
func TestServerIsKilledWhileItIsWrittenTo(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"vsftpd", "pure-ftpd"} {
		s := testenv.FTPD(t, testenv.FTPOptions{Kind: kind})
		target := targetWith(t, ftp.New(quick), s.Config(s.Root), connectors.Env{Credential: s.Credential()}, connectors.TargetOptions{})
		const size = 48 << 20
		body := io.MultiReader(bytes.NewReader(make([]byte, 2<<20)), once(s.Kill), bytes.NewReader(make([]byte, size-2<<20)))
		err := target.Put(t.Context(), fileItem(s.Root+"/large", body, size))
		if finishErr := target.Finish(t.Context()); err == nil {
			err = finishErr
		}
		wantCode(t, kind, err, job.ConnectFailed)
		if _, err := os.Lstat(s.Root + "/large"); !os.IsNotExist(err) {
			t.Errorf("%s: half a file: %v", kind, err)
		}
	}
}

// once runs something when it is read, and has no bytes.
type once func()

func (f once) Read([]byte) (int, error) {
	f()
	return 0, io.EOF
}

// A server that keeps less than it was given is found out before the file has its
// name.
func TestAServerThatLosesBytesIsTold(t *testing.T) {
	t.Parallel()
	for _, size := range []int{4, 300_000} {
		f := newFake(t)
		f.hook = func(c *fakeConn, verb, arg string) bool {
			switch {
			case verb == "STOR":
				c.receive()
			case verb == "SIZE" && strings.Contains(arg, connectors.TempPrefix):
				c.say("213 3")
			case verb == "MKD" || verb == "DELE" || verb == "SITE":
				c.say("250 ok")
			default:
				return false
			}
			return true
		}
		f.feats = " SIZE\r\n"
		f.lists["/"], f.lists["/d"] = "", ""
		target := targetWith(t, ftp.New(impatient), f.config("/d"), connectors.Env{Credential: fakeCredential}, connectors.TargetOptions{})
		wantCode(t, "bytes that went", putFiles(t, target, "/d", 1, size), job.Internal, "3 bytes")
		if named := f.said("RNTO"); len(named) > 0 {
			t.Errorf("the file got its name: %q", named)
		}
	}
}

// Where the connection breaks before the server can say that a file has its name, it is
// found out whether it does.
func TestARenamingWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	for _, done := range []bool{true, false} {
		f := newFake(t)
		f.feats = " SIZE\r\n"
		f.lists["/"], f.lists["/d"] = "", ""
		var broke, named atomic.Bool
		f.hook = func(c *fakeConn, verb, arg string) bool {
			temporary := strings.Contains(arg, connectors.TempPrefix)
			switch {
			case verb == "STOR":
				c.receive()
			case verb == "SIZE" && temporary != named.Load():
				c.say("213 4")
			case verb == "SIZE":
				c.say("550 no such file")
			case verb == "RNFR":
				c.say("350 go on")
			case verb == "RNTO" && broke.CompareAndSwap(false, true):
				named.Store(done)
				_ = c.Close()
			case verb == "RNTO":
				named.Store(true)
				c.say("250 ok")
			default:
				return false
			}
			return true
		}
		target := targetWith(t, ftp.New(impatient), f.config("/d"), connectors.Env{Credential: fakeCredential}, connectors.TargetOptions{})
		check(t, putFiles(t, target, "/d", 1, 4))
		want := 1
		if !done {
			want = 2
		}
		if r := target.Report(); r.Files != 1 || r.Failed > 0 || len(f.said("RNTO")) != want || len(f.said("STOR")) != 1 {
			t.Errorf("done %v: %d renamings, %d uploads, %+v", done, len(f.said("RNTO")), len(f.said("STOR")), r)
		}
	}
}

// A server whose renaming replaces nothing, and a connection that breaks while the old
// file stands aside: the new one gets its name, and the old one does not stay.
func TestTheReplacedFileDoesNotStayAside(t *testing.T) {
	t.Parallel()
	for _, breaks := range []int{2, 3, 4} { // at this renaming, before it is done or with its answer
		for _, done := range []bool{true, false} {
			f := newFake(t)
			f.feats = " SIZE\r\n"
			names := map[string]bool{"000": true}
			var mu sync.Mutex
			var renamings int
			var from string
			f.hook = func(c *fakeConn, verb, arg string) bool {
				mu.Lock()
				defer mu.Unlock()
				arg = path.Base(arg)
				switch verb {
				case "STOR":
					names[arg] = true
					c.receive()
				case "SIZE":
					if names[arg] {
						c.say("213 4")
					} else {
						c.say("550 no such file")
					}
				case "DELE":
					if names[arg] {
						delete(names, arg)
						c.say("250 ok")
					} else {
						c.say("550 no such file")
					}
				case "RNFR":
					if from = arg; names[arg] {
						c.say("350 go on")
					} else {
						c.say("550 no such file")
					}
				case "RNTO":
					renamings++
					fits := !names[arg]
					if fits && (renamings != breaks || done) {
						delete(names, from)
						names[arg] = true
					}
					switch {
					case renamings == breaks:
						_ = c.Close()
					case fits:
						c.say("250 ok")
					default:
						c.say("550 exists")
					}
				default:
					return false
				}
				return true
			}
			f.lists["/"], f.lists["/d"] = "", "-rw-r--r-- 1 u g 9 Jan 1 2020 000\r\n"
			target := targetWith(t, ftp.New(impatient), f.config("/d"), connectors.Env{Credential: fakeCredential}, connectors.TargetOptions{Existing: job.ExistingOverwrite})
			check(t, putFiles(t, target, "/d", 1, 4))
			mu.Lock()
			if r := target.Report(); r.Files != 1 || r.Failed > 0 || len(names) != 1 || !names["000"] {
				t.Errorf("renaming %d breaks, done %v: %v is there, %+v", breaks, done, names, r)
			}
			mu.Unlock()
		}
	}
}
