package connectortest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// got is a visited entry.
type got struct {
	entry.Header
	sum     [sha256.Size]byte
	read    int64
	ended   error // of the body, in place of io.EOF
	err     *job.Error
	content []byte // of files up to keepContent
	inode   uint64 // of a look at the disk
}

const keepContent = 8 << 20

// collect reads everything, as an archive does: an error of a body that is not of its
// entry alone ends it. onVisit runs before an entry's content is read.
func collect(ctx context.Context, source connectors.Source, onVisit func(connectors.Item)) ([]got, error) {
	var all []got
	err := source.Read(ctx, func(item connectors.Item) error {
		if onVisit != nil {
			onVisit(item)
		}
		if item.Vanished {
			return nil
		}
		g := got{Header: item.Header, err: item.Err}
		if item.Body != nil {
			g.drain(item.Body)
		}
		all = append(all, g)
		if g.ended != nil && !ofEntry(g.ended) {
			return g.ended
		}
		return nil
	})
	return all, err
}

// drain reads in odd steps, for a body must not depend on whole ones.
func (g *got) drain(body io.Reader) {
	hash := sha256.New()
	step := make([]byte, 70_001)
	for {
		n, err := body.Read(step)
		g.read += int64(n)
		_, _ = hash.Write(step[:n]) // never fails
		if g.read <= keepContent {
			g.content = append(g.content, step[:n]...)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				g.ended = err
			}
			break
		}
	}
	hash.Sum(g.sum[:0])
}

// expected is what a look at the disk shows of a path and all below it, in the
// order of the archive.
func expected(t *testing.T, path string) []got {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	all := []got{look(t, path, info)}
	if !info.IsDir() {
		return all
	}
	names, err := os.ReadDir(path) // sorted by name as bytes
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		all = append(all, expected(t, filepath.Join(path, n.Name()))...)
	}
	return all
}

func look(t *testing.T, path string, info fs.FileInfo) got {
	t.Helper()
	stat := info.Sys().(*syscall.Stat_t) //nolint:errcheck // of the local disk
	g := got{Header: entry.Header{
		Path: path[1:], Kind: kind(info.Mode()), Mode: stat.Mode & 0o7777, UID: int(stat.Uid), GID: int(stat.Gid), ModTime: time.Unix(stat.Mtim.Sec, 0),
	}}
	g.inode = stat.Ino
	switch g.Kind {
	case entry.File:
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		g.Size, g.sum = info.Size(), sha256.Sum256(b)
	case entry.Symlink:
		target, err := os.Readlink(path)
		if err != nil {
			t.Fatal(err)
		}
		g.LinkTarget = target
	}
	return g
}

// linkNames turns later names of a file into links to the first.
func linkNames(all []got) []got {
	first := map[uint64]string{}
	for i := range all {
		g := &all[i]
		if g.Kind != entry.File {
			continue
		}
		if path, ok := first[g.inode]; ok {
			g.Kind, g.LinkTarget, g.Size, g.sum = entry.Hardlink, path, 0, [sha256.Size]byte{}
			continue
		}
		first[g.inode] = g.Path
	}
	return all
}

func kind(m fs.FileMode) entry.Kind {
	switch {
	case m.IsDir():
		return entry.Dir
	case m&fs.ModeSymlink != 0:
		return entry.Symlink
	case m&fs.ModeNamedPipe != 0:
		return entry.FIFO
	case m&fs.ModeSocket != 0:
		return entry.Socket
	case m&fs.ModeDevice != 0:
		return entry.Device
	default:
		return entry.File
	}
}

// summary is an entry as tests compare it: names of owners and content aside,
// which not every server tells.
func (g *got) summary() string {
	content := ""
	if g.Kind == entry.File {
		content = fmt.Sprintf(" %d bytes %x", g.Size, g.sum[:6])
	}
	return fmt.Sprintf("%q kind %d mode %04o owner %d:%d at %d -> %q%s", g.Path, g.Kind, g.Mode, g.UID, g.GID, g.ModTime.Unix(), g.LinkTarget, content)
}

// compare checks that exactly what is expected was visited, in order and whole.
func compare(t *testing.T, visited, want []got) {
	t.Helper()
	for _, g := range visited {
		switch {
		case g.err != nil || g.ended != nil:
			t.Errorf("%q: %v %v", g.Path, g.err, g.ended)
		case g.read != g.Size:
			t.Errorf("%q: %d bytes came, %d were announced", g.Path, g.read, g.Size)
		}
	}
	a, b := summaries(visited), summaries(want)
	if slices.Equal(a, b) {
		return
	}
	t.Errorf("visited %d entries, want %d", len(a), len(b))
	shown := 0
	for i := 0; i < max(len(a), len(b)) && shown < 10; i++ {
		var x, y string
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			t.Errorf("entry %d\n got %s\nwant %s", i, x, y)
			shown++
		}
	}
}

func summaries(all []got) []string {
	s := make([]string, len(all))
	for i := range all {
		s[i] = all[i].summary()
	}
	return s
}

// checkOrder checks the order of the archive by its definition.
func checkOrder(t *testing.T, visited []got) {
	t.Helper()
	for i := 1; i < len(visited); i++ {
		a, b := strings.Split(visited[i-1].Path, "/"), strings.Split(visited[i].Path, "/")
		if slices.Compare(a, b) >= 0 {
			t.Errorf("%q comes before %q", visited[i-1].Path, visited[i].Path)
		}
	}
}

// find gives the visited entry of a path below root; nil if there is none.
func find(visited []got, path string) *got {
	for i := range visited {
		if visited[i].Path == path[1:] {
			return &visited[i]
		}
	}
	return nil
}
