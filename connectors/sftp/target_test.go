package sftp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

// targetWith opens a target; it is closed after the test.
func targetWith(t *testing.T, config map[string]any, env connectors.Env, o connectors.TargetOptions) connectors.Target {
	t.Helper()
	kind := sftp.New(quick)
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	canonical, faults := kind.Validate(raw)
	if len(faults) > 0 {
		t.Fatalf("%s is refused: %v", raw, faults)
	}
	o.JobID = "0198c0de-0000-7000-8000-000000000002"
	if o.Existing == "" {
		o.Existing = job.ExistingSkip
	}
	target, err := kind.OpenTarget(canonical, env, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Error(err)
		}
	})
	return target
}

var when = time.Unix(1_700_000_000, 0)

func folderItem(path string) connectors.TargetItem {
	return connectors.TargetItem{Header: entry.Header{Path: strings.Trim(path, "/"), Kind: entry.Dir, Mode: 0o755, UID: os.Getuid(), GID: os.Getgid(), ModTime: when}}
}

func dataItem(path string, body io.Reader, size int) connectors.TargetItem {
	return connectors.TargetItem{Body: body, Header: entry.Header{
		Path: strings.Trim(path, "/"), Kind: entry.File, Size: int64(size), Mode: 0o644, UID: os.Getuid(), GID: os.Getgid(), ModTime: when,
	}}
}

// Over a line whose round trip is 20 ms, 3,000 files must not take a round trip
// each.
func TestManySmallFilesAreWrittenFarAway(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	link := testenv.SlowLink(t, s.Addr(), 10*time.Millisecond)
	const files, trip = 3000, 20 * time.Millisecond
	for _, again := range []bool{false, true} { // new ones, and those that are there
		target := targetWith(t, link.Config(s, s.Root), connectors.Env{Credential: keyOf(s)}, connectors.TargetOptions{})
		began := time.Now()
		for i := range files {
			dir := filepath.Join(s.Root, fmt.Sprintf("%02d", i/100))
			if i%100 == 0 {
				check(t, target.Put(t.Context(), folderItem(dir)))
			}
			check(t, target.Put(t.Context(), dataItem(fmt.Sprintf("%s/%04d", dir, i), bytes.NewReader(make([]byte, 4096)), 4096)))
		}
		check(t, target.Finish(t.Context()))
		took, r := time.Since(began), target.Report()
		t.Logf("%v: %+v", took.Round(time.Millisecond), r)
		if took > files*trip/2 {
			t.Errorf("%d files took %v", files, took)
		}
		if written := r.Files == files; r.Failed > 0 || written == again || again && r.Unchanged != files {
			t.Errorf("report %+v", r)
		}
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disk mounts a small disk below a server's folder.
func disk(t *testing.T, s *testenv.SSHServer, options string) string {
	t.Helper()
	dir := filepath.Join(s.Root, "disk")
	check(t, os.Mkdir(dir, 0o755))
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatalf("mount a small tmpfs (run the tests as root, or under unshare -rm): %v", err)
	}
	t.Cleanup(func() { check(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

func TestAFullDiskEndsTheRestore(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options string
		size    int
	}{"bytes, small files": {"size=2m", 100_000}, "bytes, a large one": {"size=2m", 8 << 20}, "inodes": {"size=8m,nr_inodes=6", 10}} {
		s := testenv.SSHD(t, testenv.SSHOptions{})
		dir := disk(t, s, c.options)
		target := targetWith(t, s.Config(dir), connectors.Env{Credential: keyOf(s)}, connectors.TargetOptions{})
		var err error
		for i := 0; i < 500 && err == nil; i++ {
			err = target.Put(t.Context(), dataItem(fmt.Sprintf("%s/%03d", dir, i), bytes.NewReader(make([]byte, c.size)), c.size))
		}
		finishErr := target.Finish(t.Context())
		if err == nil {
			err = finishErr
		}
		wantCode(t, name, err, job.StorageFull, "full")
		names, readErr := os.ReadDir(dir)
		check(t, readErr)
		for _, n := range names {
			info, err := n.Info()
			check(t, err)
			if info.Size() != int64(c.size) {
				t.Errorf("%s: %s has %d bytes", name, n.Name(), info.Size())
			}
		}
		if r := target.Report(); r.Files != int64(len(names)) {
			t.Errorf("%s: %d files are there, the report says %+v", name, len(names), r)
		}
	}
}

func TestAReadOnlyDiskIsTold(t *testing.T) {
	t.Parallel()
	s := testenv.SSHD(t, testenv.SSHOptions{})
	dir := disk(t, s, "size=1m")
	check(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"))
	target := targetWith(t, s.Config(s.Root), connectors.Env{Credential: keyOf(s)}, connectors.TargetOptions{})
	for _, path := range []string{"disk/a", "disk/b", "else"} {
		check(t, target.Put(t.Context(), dataItem(filepath.Join(s.Root, path), strings.NewReader("x"), 1)))
	}
	check(t, target.Finish(t.Context()))
	r := target.Report()
	if r.Files != 1 || r.Failed != 2 || r.Problems[0].Err.Code != job.PermissionDenied || !strings.Contains(r.Problems[0].Err.Message, "read-only") {
		t.Errorf("report %+v", r)
	}
}

// A server that keeps less than it was given is found out before the file has its
// name.
func TestAServerThatLosesBytesIsTold(t *testing.T) {
	t.Parallel()
	var renamed atomic.Int64
	f := &fakeServer{nodes: map[string]fakeNode{"/": {mode: directory}}, answer: func(typ byte, id uint32, _ []byte) []byte {
		switch typ {
		case 3: // open
			return packet(102, u32(id), str("h"))
		case 8: // fstat
			return packet(105, u32(id), u32(1), u64(3))
		case 18:
			renamed.Add(1)
			return status(id, 0)
		case 4, 6, 10, 13:
			return status(id, 0)
		}
		return nil
	}}
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: f.serve})
	target := targetWith(t, s.Config("/"), password("p"), connectors.TargetOptions{})
	check(t, target.Put(t.Context(), dataItem("/file", strings.NewReader("four"), 4)))
	wantCode(t, "bytes that went", target.Finish(t.Context()), job.Internal, "3 bytes")
	if renamed.Load() > 0 {
		t.Error("the file got its name")
	}
}

// Of a server that is no OpenSSH nobody knows which of a link's two paths it takes
// for which: the wrong one could be made anywhere.
func TestLinksAreNotMadeOnUnknownServers(t *testing.T) {
	t.Parallel()
	var made atomic.Int64
	f := &fakeServer{nodes: map[string]fakeNode{"/": {mode: directory}}, answer: func(typ byte, id uint32, _ []byte) []byte {
		if typ == 20 {
			made.Add(1)
			return status(id, 0)
		}
		return nil
	}}
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: f.serve})
	target := targetWith(t, s.Config("/"), password("p"), connectors.TargetOptions{})
	check(t, target.Put(t.Context(), connectors.TargetItem{Header: entry.Header{Path: "link", Kind: entry.Symlink, LinkTarget: "/etc/cron.d/x", ModTime: when}}))
	check(t, target.Finish(t.Context()))
	if r := target.Report(); made.Load() > 0 || r.Failed != 1 || r.Problems[0].Err.Code != job.ConfigInvalid {
		t.Errorf("%d links were asked for; %+v", made.Load(), r)
	}
}
