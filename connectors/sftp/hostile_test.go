package sftp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/connectors/sftp"
	"xvault/internal/entry"
	"xvault/internal/job"
	"xvault/internal/testenv"
)

type visited struct {
	connectors.Item
	data  string
	ended error
}

// readFake reads everything that a fake server has.
func readFake(t *testing.T, f *fakeServer, o sftp.Options) ([]visited, error) {
	t.Helper()
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: f.serve})
	src, err := sourceWith(t, o, s.Config("/"), password("p"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var all []visited
	err = src.Read(ctx, func(item connectors.Item) error {
		v := visited{Item: item}
		if item.Body != nil {
			// A size that is a lie must not be read to its end.
			b, err := io.ReadAll(io.LimitReader(item.Body, 64<<20))
			v.data = string(b)
			if err != nil && !errors.Is(err, io.EOF) {
				v.ended = err
			}
		}
		all = append(all, v)
		return nil
	})
	return all, err
}

func paths(all []visited) []string {
	list := make([]string, 0, len(all))
	for _, v := range all {
		list = append(list, v.Path)
	}
	return list
}

func dirs(names ...string) map[string]fakeNode {
	nodes := map[string]fakeNode{"/": {mode: directory}}
	for _, n := range names {
		nodes[n] = fakeNode{mode: directory}
	}
	return nodes
}

func TestHostileNamesEndTheReading(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"", "a/b", "../up", "/etc/passwd", "nul\x00", strings.Repeat("n", 5000)} {
		f := &fakeServer{openssh: i%2 == 0, nodes: dirs(), batches: func(_ string, n int) []string {
			if n == 0 {
				return []string{".", "..", "fine", name}
			}
			return nil
		}}
		_, err := readFake(t, f, quick)
		wantCode(t, fmt.Sprintf("%.20q", name), err, job.Internal, "impossible name")
	}
}

// bothWays tries what is wrong with a folder where its batches are asked for one by
// one, and where several are on their way.
func bothWays(t *testing.T, try func(t *testing.T, f *fakeServer)) {
	t.Helper()
	t.Parallel()
	for name, openssh := range map[string]bool{"one by one": false, "several at once": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			try(t, &fakeServer{nodes: dirs(), openssh: openssh})
		})
	}
}

func TestDoubledNamesAreVisitedOnce(t *testing.T) {
	bothWays(t, func(t *testing.T, f *fakeServer) {
		t.Helper()
		f.batches = func(_ string, n int) []string {
			if n < 3 {
				return []string{"b", "a", "b", "..", "."}
			}
			return nil
		}
		f.nodes["/a"], f.nodes["/b"] = fakeNode{mode: regular, data: "A"}, fakeNode{mode: regular, data: "B"}
		all, err := readFake(t, f, quick)
		if err != nil || !slices.Equal(paths(all), []string{"a", "b"}) {
			t.Errorf("visited %q, error %v", paths(all), err)
		}
	})
}

func TestEndlessFolderEnds(t *testing.T) {
	bothWays(t, func(t *testing.T, f *fakeServer) {
		t.Helper()
		o := quick
		o.ListingMemory = 4 << 20
		f.batches = func(_ string, n int) []string {
			names := make([]string, 500)
			for i := range names {
				names[i] = fmt.Sprintf("%d-%d", n, i)
			}
			return names
		}
		_, err := readFake(t, f, o)
		wantCode(t, "endless folder", err, job.ConfigInvalid, "more names than fit")
	})
}

func TestEmptyBatchesEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, f *fakeServer) {
		t.Helper()
		f.batches = func(string, int) []string { return []string{} }
		_, err := readFake(t, f, quick)
		wantCode(t, "batches of no names", err, job.Internal)
	})
}

func TestEndlessDotsEnd(t *testing.T) {
	bothWays(t, func(t *testing.T, f *fakeServer) {
		t.Helper()
		f.batches = func(string, int) []string { return []string{".", ".."} }
		_, err := readFake(t, f, quick)
		wantCode(t, "dots without an end", err, job.Internal, "without an end")
	})
}

// Answers are kept until it is their entry's turn, thousands of them.
func TestLongAnswersEnd(t *testing.T) {
	t.Parallel()
	f := &fakeServer{nodes: dirs(), answer: func(typ byte, id uint32, _ []byte) []byte {
		if typ != 19 {
			return nil
		}
		return packet(104, u32(id), u32(1), str(strings.Repeat("x", 200<<10)), str(""), u32(0))
	}}
	f.nodes["/link"] = fakeNode{mode: symlink, link: "x"}
	_, err := readFake(t, f, quick)
	wantCode(t, "a link of 200 KiB", err, job.Internal)
}

// A path in a path in a path, and so on: a thousand of them must not make a
// question of every three.
func TestManyNestedPaths(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	f := &fakeServer{nodes: dirs(), answer: func(typ byte, _ uint32, _ []byte) []byte {
		if typ == 7 {
			asked.Add(1)
		}
		return nil
	}}
	var roots []string
	for path := ""; len(roots) < 200; {
		path += "/d"
		f.nodes[path] = fakeNode{mode: directory}
		roots = append(roots, path)
	}
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: f.serve})
	if err := probe(t, s.Config(roots...), password("p")); err != nil {
		t.Fatal(err)
	}
	if n := asked.Load(); n > 3*int64(len(roots)) {
		t.Errorf("%d questions for %d paths", n, len(roots))
	}
}

func TestEndlessDepthEnds(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("d", 200)
	f := &fakeServer{nodes: dirs(), batches: func(_ string, n int) []string {
		if n == 0 {
			return []string{name, "file"}
		}
		return nil
	}}
	for path := ""; len(path) < 5000; {
		path += "/" + name
		f.nodes[path] = fakeNode{mode: directory}
		f.nodes[path+"/file"] = fakeNode{mode: regular}
	}
	f.nodes["/file"] = fakeNode{mode: regular}
	all, err := readFake(t, f, quick)
	if err != nil {
		t.Fatal(err)
	}
	refused := slices.IndexFunc(all, func(v visited) bool { return v.Err != nil })
	if refused < 0 || len(all[refused].Path) > 5000 || all[refused].Err.Code != job.PermissionDenied {
		t.Errorf("no entry tells that the path is too long, among %d", len(all))
	}
}

func TestSizesThatLie(t *testing.T) {
	t.Parallel()
	f := &fakeServer{nodes: dirs()}
	f.nodes["/absurd"] = fakeNode{mode: regular, data: "x", size: 1 << 62}
	f.nodes["/huge"] = fakeNode{mode: regular, data: "y", size: 1 << 40}
	f.nodes["/negative"] = fakeNode{mode: regular, data: "z", size: 1<<64 - 1}
	f.nodes["/large"] = fakeNode{mode: regular, data: strings.Repeat("l", 100), size: 8 << 20}
	f.nodes["/small"] = fakeNode{mode: regular, data: "real", size: 100}
	f.nodes["/zero"] = fakeNode{mode: regular, data: strings.Repeat("proc", 1000), size: 1}
	all, err := readFake(t, f, quick)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		var content *entry.ContentError
		switch v.Path {
		case "absurd", "huge", "negative":
			if v.Err == nil {
				t.Errorf("%s of %d bytes is believed", v.Path, v.Size)
			}
		case "large":
			if !errors.As(v.ended, &content) || content.Code != string(job.SourceChanged) {
				t.Errorf("large: ended by %v", v.ended)
			}
		case "small":
			if v.data != "real" || v.Size != 4 || v.Err != nil {
				t.Errorf("small: %d bytes announced, %q, %v", v.Size, v.data, v.Err)
			}
		case "zero":
			if len(v.data) != 4000 || v.Size != 4000 {
				t.Errorf("a file with more than it announces: %d bytes of %d", len(v.data), v.Size)
			}
		}
	}
	if len(all) != 6 {
		t.Errorf("%d entries, want 6: %q", len(all), paths(all))
	}
}

// A server may bring fewer bytes than it was asked for, without being at the end.
func TestShortReadsAreFilled(t *testing.T) {
	t.Parallel()
	for _, most := range []int{1000, 4096, 5000, 20_000} {
		f := &fakeServer{nodes: dirs(), maxRead: most}
		f.nodes["/small"] = fakeNode{mode: regular, data: strings.Repeat("0123456789", 9999)}
		f.nodes["/large"] = fakeNode{mode: regular, data: strings.Repeat("abcdefghijk", 300_000)}
		f.nodes["/round"] = fakeNode{mode: regular, data: strings.Repeat("r", 4*most)}
		all, err := readFake(t, f, quick)
		if err != nil || len(all) != 3 {
			t.Fatalf("at most %d bytes: %d entries, error %v", most, len(all), err)
		}
		for _, v := range all {
			if v.data != f.nodes["/"+v.Path].data || v.ended != nil || v.Err != nil {
				t.Errorf("at most %d bytes: %s has %d bytes, %v, %v", most, v.Path, len(v.data), v.ended, v.Err)
			}
		}
	}
}

func TestTypeOnlyInTheLongName(t *testing.T) {
	t.Parallel()
	f := &fakeServer{nodes: dirs("/d"), longOnly: true}
	f.nodes["/d/f"] = fakeNode{mode: regular, data: "x"}
	f.nodes["/d/l"] = fakeNode{mode: symlink, link: "/nowhere"}
	all, err := readFake(t, f, quick)
	if err != nil || !slices.Equal(paths(all), []string{"d", "d/f", "d/l"}) || all[1].data != "x" || all[2].LinkTarget != "/nowhere" {
		t.Errorf("visited %q, error %v", paths(all), err)
	}
}

// A server looks the entries of a folder up by their paths: where one above it turns
// into a link while they are listed, they are those of another folder.
func TestFolderTurnsIntoALinkWhileListed(t *testing.T) {
	t.Parallel()
	f := &fakeServer{nodes: dirs("/d", "/d/inner")}
	f.nodes["/d/inner/f"] = fakeNode{mode: regular, data: "own"}
	f.batches = func(dir string, n int) []string {
		switch {
		case n > 0:
			return nil
		case dir == "/d/inner":
			f.nodes["/d"] = fakeNode{mode: symlink, link: "/outside"}
			f.nodes["/d/inner/f"] = fakeNode{mode: regular, data: "of another folder"}
			return []string{".", "f"}
		case dir == "/d":
			return []string{".", "inner"}
		default:
			return []string{".", "d", "other"}
		}
	}
	f.nodes["/other"] = fakeNode{mode: regular, data: "x"}
	all, err := readFake(t, f, quick)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range all {
		if v.data == "of another folder" {
			t.Errorf("%q was read through a link", v.Path)
		}
	}
}

// A server that opens few files at once refuses the others; they are read later.
func TestFewOpenFiles(t *testing.T) {
	t.Parallel()
	f := &fakeServer{nodes: dirs(), maxOpen: 2}
	for i := range 50 {
		f.nodes[fmt.Sprintf("/f%02d", i)] = fakeNode{mode: regular, data: fmt.Sprint(i)}
	}
	o := quick
	o.Handles = 2
	all, err := readFake(t, f, o)
	if err != nil || len(all) != 50 {
		t.Fatalf("%d entries, error %v", len(all), err)
	}
	for i, v := range all {
		if v.data != fmt.Sprint(i) {
			t.Errorf("%s: %q, %v", v.Path, v.data, v.Err)
		}
	}
}

func TestBrokenProtocolEnds(t *testing.T) {
	t.Parallel()
	for what, bad := range map[string]func(id uint32) []byte{
		"no such request":  func(id uint32) []byte { return packet(101, u32(id+1000), u32(0)) },
		"huge packet":      func(uint32) []byte { return []byte{0x7f, 0xff, 0xff, 0xff, 104, 0, 0, 0, 0} },
		"tiny packet":      func(uint32) []byte { return []byte{0, 0, 0, 1, 104, 0, 0, 0, 0} },
		"ends early":       func(id uint32) []byte { return packet(104, u32(id), u32(1000), str("a"), str("")) },
		"lying length":     func(id uint32) []byte { return packet(104, u32(id), u32(1), u32(1<<31)) },
		"wrong type":       func(id uint32) []byte { return packet(102, u32(id), str("h")) },
		"success, no data": func(id uint32) []byte { return status(id, 0) },
		"endless extras":   func(id uint32) []byte { return packet(104, u32(id), u32(1), str("a"), str(""), u32(1<<31), u32(1<<31)) },
	} {
		f := &fakeServer{nodes: dirs(), answer: func(typ byte, id uint32, _ []byte) []byte {
			if typ == 12 {
				return bad(id)
			}
			return nil
		}}
		_, err := readFake(t, f, quick)
		wantCode(t, what, err, job.Internal)
	}
	for what, bad := range map[string]func(id uint32) []byte{
		"too much data":  func(id uint32) []byte { return packet(103, u32(id), str(strings.Repeat("x", 5000))) },
		"no data":        func(id uint32) []byte { return packet(103, u32(id), str("")) },
		"data cut short": func(id uint32) []byte { return packet(103, u32(id), u32(100), []byte("x")) },
	} {
		f := &fakeServer{nodes: dirs(), answer: func(typ byte, id uint32, _ []byte) []byte {
			if typ == 5 {
				return bad(id)
			}
			return nil
		}}
		f.nodes["/f"] = fakeNode{mode: regular, data: "four"}
		_, err := readFake(t, f, quick)
		wantCode(t, what, err, job.Internal)
	}
}

// A server whose disk hangs still answers for itself.
func TestHangingDiskIsNoticed(t *testing.T) {
	t.Parallel()
	o := quick
	o.StallAfter = time.Second
	hang := make(chan struct{})
	f := &fakeServer{nodes: dirs(), answer: func(typ byte, _ uint32, _ []byte) []byte {
		if typ == 5 {
			<-hang
		}
		return nil
	}}
	f.nodes["/f"] = fakeNode{mode: regular, data: "four"}
	s := testenv.GoSSH(t, testenv.GoSSHOptions{Password: "p", SFTP: f.serve})
	t.Cleanup(func() { close(hang) })
	src, err := sourceWith(t, o, s.Config("/"), password("p"))
	if err != nil {
		t.Fatal(err)
	}
	err = src.Read(t.Context(), func(connectors.Item) error { return nil })
	wantCode(t, "hanging disk", err, job.Timeout, "hangs")
}

// A disk that fails for one file leaves the others.
func TestOneFileFails(t *testing.T) {
	t.Parallel()
	f := &fakeServer{nodes: dirs()}
	f.answer = func(typ byte, id uint32, body []byte) []byte {
		if typ != 5 {
			return nil
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		if o := f.open[text(body)]; o != nil && strings.HasPrefix(o.path, "/bad") {
			return status(id, 4)
		}
		return nil
	}
	f.nodes["/bad"] = fakeNode{mode: regular, data: "four"}
	f.nodes["/bad-large"] = fakeNode{mode: regular, data: strings.Repeat("x", 3<<20)}
	f.nodes["/good"] = fakeNode{mode: regular, data: "fine"}
	all, err := readFake(t, f, quick)
	if err != nil || len(all) != 3 {
		t.Fatalf("%d entries, error %v", len(all), err)
	}
	var content *entry.ContentError
	if all[0].Err == nil || !errors.As(all[1].ended, &content) || all[2].data != "fine" {
		t.Errorf("bad: %v; large: %v; good: %q", all[0].Err, all[1].ended, all[2].data)
	}
}
