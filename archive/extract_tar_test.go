package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// extractStream restores a stream into a folder with something in it already,
// beside which a file stands that nobody may touch.
func extractStream(t *testing.T, r io.Reader, opts ExtractOptions) (dir string, content Content, err error) {
	t.Helper()
	parent := t.TempDir()
	writeFile(t, filepath.Join(parent, "outside"), []byte("untouched"))
	dir = filepath.Join(parent, "dst")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(dir, "present"), []byte("present"))
	if err := os.Symlink("..", filepath.Join(dir, "up")); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	content, err = ExtractTar(t.Context(), r, root, opts)
	for name, want := range map[string]string{"outside": "untouched", "dst/present": "present"} {
		b, readErr := os.ReadFile(filepath.Join(parent, name))
		if readErr != nil || string(b) != want {
			t.Errorf("%s is %q, %v", name, b, readErr)
		}
	}
	entries, readErr := os.ReadDir(parent)
	if readErr != nil || len(entries) != 2 {
		t.Errorf("beside the folder: %v, %v", entries, readErr)
	}
	return dir, content, err
}

// What Extract restores from an artifact, ExtractTar restores from its export.
func TestExtractTarRestoresAsExtractDoes(t *testing.T) {
	t.Parallel()
	s := exportTree(t)
	r := s.open(t)
	for _, paths := range [][]string{nil, {"home/b"}, {"db"}} {
		want, report, err := s.extract(t, ExtractOptions{}, paths...)
		if err != nil {
			t.Fatal(err)
		}
		_, stream := exported(t, r, false, paths...)
		dir := t.TempDir()
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		content, err := ExtractTar(t.Context(), iotest.HalfReader(bytes.NewReader(stream)), root, ExtractOptions{})
		closeRoot(t, root)
		if err != nil {
			t.Fatal(err)
		}
		sameSelected(t, "of the tar", tree(t, dir), tree(t, want))
		report.Content.Skipped = 0 // of which a tar does not know
		if content != report.Content {
			t.Errorf("%+v, want %+v", content, report.Content)
		}
	}
}

func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		body := []byte("hostile")
		if h.Typeflag != tar.TypeReg {
			body = nil
		}
		h.Size, h.Mode = int64(len(body)), 0o644
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestExtractTarIsSafe(t *testing.T) {
	t.Parallel()
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	link := func(typ byte, name, target string) tar.Header {
		return tar.Header{Typeflag: typ, Name: name, Linkname: target}
	}
	for what, headers := range map[string][]tar.Header{
		"up":                         {file("../outside")},
		"up from below":              {file("a/../../outside")},
		"absolute":                   {file("/etc/passwd")},
		"dot":                        {file("./x")},
		"over a file":                {file("present")},
		"a folder over a file":       {{Typeflag: tar.TypeDir, Name: "present/"}},
		"below a file":               {file("present/x")},
		"through a link that is":     {file("up/outside2")},
		"through a link that comes":  {link(tar.TypeSymlink, "l", ".."), file("l/outside2")},
		"over a link that comes":     {link(tar.TypeSymlink, "l", "../outside"), file("l")},
		"a folder through a link":    {link(tar.TypeSymlink, "l", ".."), {Typeflag: tar.TypeDir, Name: "l/new/"}},
		"a hard link out":            {link(tar.TypeLink, "h", "../outside")},
		"a hard link to absolute":    {link(tar.TypeLink, "h", "/etc/passwd")},
		"a hard link through a link": {link(tar.TypeSymlink, "l", ".."), link(tar.TypeLink, "h", "l/outside")},
		"a hard link to a link":      {link(tar.TypeSymlink, "l", "../outside"), link(tar.TypeLink, "h", "l")},
		"a device":                   {{Typeflag: tar.TypeChar, Name: "dev", Devmajor: 1, Devminor: 3}},
		"a pipe":                     {{Typeflag: tar.TypeFifo, Name: "pipe"}},
		"a link to nothing":          {link(tar.TypeSymlink, "l", "")},
		"twice":                      {file("x"), file("x")},
		"an empty component":         {file("a//b")},
	} {
		dir, _, err := extractStream(t, bytes.NewReader(tarOf(t, headers...)), ExtractOptions{})
		if err == nil {
			t.Errorf("%s: taken", what)
		}
		if strings.Contains(what, "twice") {
			continue
		}
		if _, err := os.Lstat(filepath.Join(dir, "h")); err == nil {
			t.Errorf("%s: the hard link was made", what)
		}
	}
}

func TestExtractTarOfWhatIsCut(t *testing.T) {
	t.Parallel()
	whole := tarOf(t, tar.Header{Typeflag: tar.TypeReg, Name: "a"}, tar.Header{Typeflag: tar.TypeReg, Name: "b"})
	broken := errors.New("the connection broke")
	for _, at := range []int{100, 515, 1024 + 300, 1024 + 515, len(whole) - 1} {
		dir, _, err := extractStream(t, io.MultiReader(bytes.NewReader(whole[:at]), iotest.ErrReader(broken)), ExtractOptions{})
		if !errors.Is(err, broken) {
			t.Errorf("cut at %d: %v", at, err)
		}
		for _, name := range []string{"a", "b"} {
			if b, err := os.ReadFile(filepath.Join(dir, name)); err == nil && string(b) != "hostile" {
				t.Errorf("cut at %d: %s holds %q", at, name, b)
			}
		}
	}
	if _, _, err := extractStream(t, bytes.NewReader(whole), ExtractOptions{MaxBytes: 10}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a bomb: %v", err)
	}
}

func TestChildrenAndSearch(t *testing.T) {
	t.Parallel()
	r := exportTree(t).open(t)
	names := func(entries []Entry) []string {
		var out []string
		for _, e := range entries {
			out = append(out, e.Path)
		}
		return out
	}
	all := func(dir string, limit int) []string {
		t.Helper()
		var got []string
		after := ""
		for {
			page, err := r.Children(t.Context(), dir, after, limit)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, names(page)...)
			if len(page) < limit {
				return got
			}
			after = page[len(page)-1].Path
		}
	}
	for _, limit := range []int{1, 2, 3, 1000} {
		if got := all("", limit); !slices.Equal(got, []string{"db", "home", "many"}) {
			t.Errorf("topmost: %q", got)
		}
		if got := all("home", limit); !slices.Equal(got, []string{"home/a", "home/b", "home/pipe", "home/z"}) {
			t.Errorf("home: %q", got)
		}
		if got := all("many", limit); len(got) != 300 || got[299] != "many/0299" {
			t.Errorf("many: %d", len(got))
		}
	}
	var found []string
	next := ""
	for {
		var page []Entry
		var err error
		page, next, err = r.Search(t.Context(), "many", next, 7, 50, func(e *Entry) bool { return strings.HasSuffix(e.Path, "7") })
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, names(page)...)
		if next == "" {
			break
		}
	}
	if len(found) != 30 || found[29] != "many/0297" {
		t.Errorf("found %q", found)
	}
	if _, err := r.Children(t.Context(), "nowhere", "", 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("nowhere: %v", err)
	}
}
