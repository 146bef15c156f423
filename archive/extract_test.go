package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"xvault/internal/entry"
	"xvault/internal/job"
)

func mixed() []item {
	return []item{
		dirItem("d"), fileItem("d/a", "content of a"), dirItem("d/sub"), fileItem("d/sub/x", "x"),
		linkItem(entry.Hardlink, "d/sub/y", "d/a"), fileItem("d.txt", "beside"),
		fileItem("e", "e"), linkItem(entry.Hardlink, "f", "e"), linkItem(entry.Hardlink, "g", "e"),
		{Header: entry.Header{Path: "h", Kind: entry.Socket}},
		linkItem(entry.Symlink, "l", "d/a"),
	}
}

func TestExtractSelection(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, mixed()...)
	for name, c := range map[string]struct {
		paths []string
		want  []string
	}{
		"everything":     {nil, []string{"d", "d/a", "d/sub", "d/sub/x", "d/sub/y", "d.txt", "e", "f", "g", "l"}},
		"one directory":  {[]string{"d"}, []string{"d", "d/a", "d/sub", "d/sub/x", "d/sub/y"}},
		"one file":       {[]string{"d/sub/x"}, []string{"d", "d/sub", "d/sub/x"}},
		"overlapping":    {[]string{"d/sub/x", "d/sub", "d/sub", "l"}, []string{"d", "d/sub", "d/sub/x", "d/sub/y", "l"}},
		"only hardlinks": {[]string{"g", "f"}, []string{"f", "g"}},
		"one hardlink":   {[]string{"d/sub/y"}, []string{"d", "d/sub", "d/sub/y"}},
		"a socket":       {[]string{"h"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, _, err := s.extract(t, ExtractOptions{}, c.paths...)
			if err != nil {
				t.Fatal(err)
			}
			got := tree(t, dir)
			if len(got) != len(c.want) {
				t.Errorf("restored %v, want %v", got, c.want)
			}
			for _, path := range c.want {
				if got[path] == "" {
					t.Errorf("%s is missing", path)
				}
			}
		})
	}
	if _, _, err := s.extract(t, ExtractOptions{}, "e", "nowhere"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a path that is not there: %v", err)
	}
}

// A hard link taken alone has its content, and several of them still share it.
func TestExtractFollowsHardLinks(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, mixed()...)
	dir, report, err := s.extract(t, ExtractOptions{}, "f", "g", "d/sub")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"f": "e", "g": "e", "d/sub/y": "content of a"} {
		if got, err := os.ReadFile(filepath.Join(dir, path)); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	f, g := lstat(t, dir, "f"), lstat(t, dir, "g")
	if !os.SameFile(f, g) {
		t.Error("f and g share their content on the source, but not here")
	}
	if report.Content != (Content{Files: 3, Dirs: 1, Links: 1, Bytes: 14}) {
		t.Errorf("report %+v", report.Content)
	}
}

func lstat(t *testing.T, dir, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Lstat(filepath.Join(dir, path))
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func TestExtractSetID(t *testing.T) {
	t.Parallel()
	it := fileItem("su", "x")
	it.Mode = 0o6755
	s := newKeys(t).write(t, WriterConfig{}, it)
	for _, keep := range []bool{false, true} {
		dir, _, err := s.extract(t, ExtractOptions{KeepSetID: keep})
		if err != nil {
			t.Fatal(err)
		}
		if has := lstat(t, dir, "su").Mode()&(fs.ModeSetuid|fs.ModeSetgid) != 0; has != keep {
			t.Errorf("asked to keep set-ID bits: %v; kept: %v", keep, has)
		}
	}
}

func TestExtractNeverOverwrites(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, dirItem("d"), fileItem("d/a", "from the backup"))
	outside := t.TempDir()
	for name, prepare := range map[string]func(dir string) error{
		"a file": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "d"), 0o755), os.WriteFile(filepath.Join(dir, "d/a"), []byte("mine"), 0o600))
		},
		"a file for a directory":    func(dir string) error { return os.WriteFile(filepath.Join(dir, "d"), []byte("mine"), 0o600) },
		"a symlink for a directory": func(dir string) error { return os.Symlink(outside, filepath.Join(dir, "d")) },
		"a symlink within the target": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "o"), 0o755), os.Symlink("o", filepath.Join(dir, "d")))
		},
		"a symlink for a file, broken": func(dir string) error {
			return errors.Join(os.Mkdir(filepath.Join(dir, "d"), 0o755), os.Symlink(filepath.Join(outside, "new"), filepath.Join(dir, "d/a")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := prepare(dir); err != nil {
				t.Fatal(err)
			}
			before := tree(t, dir)
			root, err := os.OpenRoot(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer closeRoot(t, root)
			if _, err := s.open(t).Extract(context.Background(), root, nil, ExtractOptions{}); err == nil {
				t.Error("it was written over")
			}
			sameTree(t, "the target", tree(t, dir), before)
		})
	}
	t.Cleanup(func() {
		if names, err := os.ReadDir(outside); err != nil || len(names) != 0 {
			t.Errorf("outside of the target: %v, %v", names, err)
		}
	})
}

// A directory that is there is filled, and gets mode and time.
func TestExtractMergesDirectories(t *testing.T) {
	t.Parallel()
	items := []item{dirItem("d"), fileItem("d/a", "a")}
	items[0].Mode = 0o500
	s := newKeys(t).write(t, WriterConfig{}, items...)
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	if _, err := s.open(t).Extract(context.Background(), root, nil, ExtractOptions{}); err != nil {
		t.Fatal(err)
	}
	sameTree(t, "merged", tree(t, dir), wanted(items))
}

func TestExtractLimit(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, fileItem("a", noiseString(1, 5000)), fileItem("b", strings.Repeat("x", 5000)))
	if _, _, err := s.extract(t, ExtractOptions{MaxBytes: 10_000}); err != nil {
		t.Errorf("exactly the limit: %v", err)
	}
	if _, _, err := s.extract(t, ExtractOptions{MaxBytes: 9_999}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a byte over the limit: %v", err)
	}
}

func TestExtractReportsProblems(t *testing.T) {
	t.Parallel()
	k := newKeys(t)
	var buf bytes.Buffer
	w, err := NewWriter(&buf, WriterConfig{Recipients: []string{k.recipient}})
	if err != nil {
		t.Fatal(err)
	}
	_, addErr := w.Add(context.Background(), fileItem("a", "12345").Header, body("123", broken(job.SourceChanged)))
	unreadErr := w.Unreadable(fileItem("b", "").Header, job.PermissionDenied, fs.ErrPermission)
	summary, err := w.Close()
	if err := errors.Join(addErr, unreadErr, err); err != nil {
		t.Fatal(err)
	}
	_, report, err := sealed{k, buf.Bytes(), summary}.extract(t, ExtractOptions{})
	if err != nil || report.Content.Errors != 2 || len(report.Problems) != 2 {
		t.Errorf("report %+v, %v", report, err)
	}
}

func TestExtractCanceled(t *testing.T) {
	t.Parallel()
	s := newKeys(t).write(t, WriterConfig{}, fileItem("a", noiseString(1, 40<<20)), fileItem("b", "b"))
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	_, err = s.open(t).Extract(ctx, root, nil, ExtractOptions{Progress: func(int64) { cancel(why) }})
	if !errors.Is(err, why) {
		t.Errorf("canceled extraction: %v", err)
	}
}

// TestHostileArchives has sealed archives do what no Writer would: every one
// must be refused, and nothing may appear outside of the target.
func TestHostileArchives(t *testing.T) {
	t.Parallel()
	evil := func(path string) (Entry, item) { return forgedFile(path, "evil"), fileItem(path, "evil") }
	link := func(kind entry.Kind, path, target string) (Entry, item) {
		return forgedLink(kind, path, target), linkItem(kind, path, target)
	}
	for name, build := range map[string]func(f *forgery){
		"parent in the index":      func(f *forgery) { f.member(evil("../evil")) },
		"parent inside":            func(f *forgery) { f.member(evil("a/../../evil")) },
		"absolute":                 func(f *forgery) { f.member(evil("/tmp/evil")) },
		"zero byte":                func(f *forgery) { f.member(evil("a\x00b")) },
		"parent in the tar only":   func(f *forgery) { f.member(forgedFile("evil", "evil"), fileItem("../evil", "evil")) },
		"absolute in the tar only": func(f *forgery) { f.member(forgedFile("evil", "evil"), fileItem("/evil", "evil")) },
		"through a symlink": func(f *forgery) {
			f.member(link(entry.Symlink, "l", ".."))
			f.member(evil("l/evil"))
		},
		"through a symlink, inside": func(f *forgery) {
			f.member(forgedDir("d"), dirItem("d"))
			f.member(link(entry.Symlink, "l", "d"))
			f.member(evil("l/evil"))
		},
		"hard link out":      func(f *forgery) { f.member(link(entry.Hardlink, "l", "../outside")) },
		"hard link absolute": func(f *forgery) { f.member(link(entry.Hardlink, "l", "/etc/passwd")) },
		"hard link to symlink": func(f *forgery) {
			f.member(link(entry.Symlink, "a", "/etc/passwd"))
			f.member(link(entry.Hardlink, "l", "a"))
		},
		"hard link to nothing": func(f *forgery) { f.member(link(entry.Hardlink, "l", "a")) },
		"hard link chain": func(f *forgery) {
			f.member(evil("a"))
			f.member(link(entry.Hardlink, "b", "a"))
			f.member(link(entry.Hardlink, "c", "b"))
		},
		"hard link forward": func(f *forgery) { f.member(link(entry.Hardlink, "a", "b")); f.member(evil("b")) },
		"symlink target differs": func(f *forgery) {
			f.member(forgedLink(entry.Symlink, "l", "harmless"), linkItem(entry.Symlink, "l", "/etc/passwd"))
		},
		"out of order":     func(f *forgery) { f.member(evil("b")); f.member(evil("a")) },
		"twice":            func(f *forgery) { f.member(evil("a")); f.member(evil("a")) },
		"another type":     func(f *forgery) { f.member(forgedFile("l", ""), linkItem(entry.Symlink, "l", "/etc/passwd")) },
		"a device":         func(f *forgery) { f.member(Entry{Path: "dev", Kind: entry.Device}, fileItem("dev", "")) },
		"another size":     func(f *forgery) { f.member(forgedFile("a", "much longer content"), fileItem("a", "short")) },
		"another hash":     func(f *forgery) { f.member(forgedFile("a", "12345"), fileItem("a", "67890")) },
		"not a tar":        func(f *forgery) { f.raw(forgedFile("a", "x"), []byte(strings.Repeat("garbage!", 128))) },
		"tar of nothing":   func(f *forgery) { f.raw(forgedFile("a", "x"), make([]byte, 1024)) },
		"tar cut short":    func(f *forgery) { f.member(forgedFile("a", "x"), fileItem("a", "x")); f.tar.Truncate(512) },
		"huge PAX header":  func(f *forgery) { f.raw(forgedFile("a", "x"), hugePAX()) },
		"sparse bomb":      func(f *forgery) { f.raw(sparseEntry(), sparseMember()) },
		"mode differs":     func(f *forgery) { e, it := evil("a"); it.Mode = 0o4755; f.member(e, it) },
		"unknown flag bit": func(f *forgery) { e, it := evil("a"); e.Flags = entry.Parts; f.member(e, it) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKeys(t)
			f := newForgery()
			build(f)
			s := k.reseal(t, f.bytes(t))
			if _, err := s.check(t); !detected(err) {
				t.Errorf("check: %v", err)
			}
			s.wantContained(t)
		})
	}
}

// wantContained extracts into a folder inside of another one, and looks at both.
func (s sealed) wantContained(t *testing.T) {
	t.Helper()
	outer := t.TempDir()
	inner := filepath.Join(outer, "a", "target")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := Open(bytes.NewReader(s.bytes), int64(len(s.bytes)), s.identity)
	if err != nil {
		return // refused at once
	}
	root, err := os.OpenRoot(inner)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	if _, err := r.Extract(context.Background(), root, nil, ExtractOptions{KeepSetID: true}); err == nil {
		t.Error("it was extracted")
	}
	for path := range tree(t, outer) {
		if path != "a" && path != "a/target" && !strings.HasPrefix(path, "a/target/") {
			t.Errorf("%s was made outside of the target", path)
		}
		if strings.HasSuffix(path, "evil") && !strings.HasPrefix(path, "a/target/") {
			t.Errorf("%s", path)
		}
	}
	if _, err := os.Lstat("/tmp/evil"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("/tmp/evil: %v", err)
	}
}

func forgedDir(path string) Entry {
	return Entry{Path: path, Kind: entry.Dir, Mode: 0o755, ModTime: testTime}
}

// hugePAX announces an extended header of a gigabyte.
func hugePAX() []byte {
	var e tarEncoder
	h := fileItem("a", "").Header
	b := bytes.Clone(e.header(&h, "a", 1<<30))
	b[tarType] = typePAX
	sumHeader(b)
	return append(b, make([]byte, 2048)...)
}

// sparseMember has a kilobyte of content and says that it is a terabyte.
func sparseMember() []byte {
	var e tarEncoder
	h := fileItem("s", "").Header
	var pax []byte
	for _, r := range []paxRecord{
		{"GNU.sparse.major", "1"}, {"GNU.sparse.minor", "0"}, {"GNU.sparse.name", "s"},
		{"GNU.sparse.realsize", fmt.Sprint(int64(1) << 40)},
	} {
		pax = appendPAX(pax, r)
	}
	x := bytes.Clone(e.header(&h, "x", int64(len(pax))))
	x[tarType] = typePAX
	sumHeader(x)
	x = append(append(x, pax...), make([]byte, padding(int64(len(pax))))...)
	x = append(x, e.header(&h, "s", 512)...)
	return append(x, append([]byte("0\n"), make([]byte, 510)...)...)
}

func sparseEntry() Entry {
	e := forgedFile("s", "")
	e.Size = 1 << 40
	return e
}

// sumHeader makes a header's checksum right again.
func sumHeader(b []byte) { finishBlock(b[:tarBlock], b[tarType]) }
