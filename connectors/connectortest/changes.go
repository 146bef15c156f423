package connectortest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// ballast is so much that what comes after it in order is listed, but not read,
// when the first of it is visited.
func ballast(tr tree) {
	tr.t.Helper()
	for i := range 48 {
		tr.file(fmt.Sprintf("a-ballast/%02d", i), 1<<20)
	}
}

// onFirstFile runs a change when the first file is visited.
func onFirstFile(change func()) func(connectors.Item) { return onFile(1, change) }

// onFile runs a change when the n-th file is visited.
func onFile(n int, change func()) func(connectors.Item) {
	return func(item connectors.Item) {
		if item.Kind != entry.File {
			return
		}
		if n--; n == 0 {
			change()
		}
	}
}

func testSmallFilesChange(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	ballast(tr)
	for _, name := range []string{"z/grows", "z/shrinks", "z/vanishes", "z/rewritten", "z/link", "z/dir", "z/same", "z-gone/inside"} {
		tr.file(name, 10_000)
	}
	tr.link("z/was-link", "same")
	tr.dir("z/to-file")
	visited, err := collect(deadline(t), opened(t, s, direct(t, s, s.Root)), onFile(20, func() { // not at the first, for even a slow server has listed all by then
		tr.check(os.WriteFile(tr.path("z/grows"), pattern("grown", 50_000), 0o600))
		tr.check(os.Truncate(tr.path("z/shrinks"), 100))
		tr.check(os.Remove(tr.path("z/vanishes")))
		tr.check(os.WriteFile(tr.path("z/rewritten"), pattern("other", 10_000), 0o600))
		tr.check(os.Remove(tr.path("z/link")))
		tr.link("z/link", "/etc/passwd")
		tr.check(os.Remove(tr.path("z/dir")))
		tr.file("z/dir/inside", 5)
		tr.check(os.Remove(tr.path("z/was-link")))
		tr.file("z/was-link", 10)
		tr.check(os.RemoveAll(tr.path("z-gone")))
		tr.check(os.Remove(tr.path("z/to-file")))
		tr.file("z/to-file", 10)
	}))
	if err != nil {
		t.Fatal(err)
	}
	for name, versions := range map[string][][]byte{
		"z/grows":     {pattern("z/grows", 10_000), pattern("grown", 50_000)},
		"z/shrinks":   {pattern("z/shrinks", 10_000), pattern("z/shrinks", 100)},
		"z/rewritten": {pattern("z/rewritten", 10_000), pattern("other", 10_000)},
		"z/same":      {pattern("z/same", 10_000)},
		"z/vanishes":  {pattern("z/vanishes", 10_000)},
		"z/was-link":  {pattern("z/was-link", 10)},
		"z/link":      {pattern("z/link", 10_000)},
		"z/to-file":   {pattern("z/to-file", 10)},
	} {
		g := find(visited, tr.path(name))
		mayBeGone := name == "z/vanishes"
		switch {
		case g == nil && mayBeGone:
		case g == nil:
			t.Errorf("%s is missing: a silent gap", name)
		case g.Kind == entry.Symlink && (name == "z/link" || name == "z/was-link"):
		case g.Kind == entry.Dir && name == "z/to-file":
		case g.err != nil || g.read != g.Size:
			t.Errorf("%s: %v, %d of %d bytes", name, g.err, g.read, g.Size)
		case g.ended == nil && !isOneOf(g.content, versions...):
			t.Errorf("%s: content that the file never had", name)
		}
	}
	if g := find(visited, tr.path("z/dir")); g == nil || g.err == nil && g.read != 10_000 && g.Kind != entry.Dir || g.err != nil && g.err.Code != job.SourceChanged {
		t.Errorf("a file that became a folder: %+v", g)
	}
}

// A disk that is unmounted looks like very many files that vanish: that must not
// pass as a backup of what was left.
func testManyFilesVanish(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	ballast(tr)
	const files = 3000
	for i := range files {
		tr.file(fmt.Sprintf("z/%04d", i), 10)
	}
	vanished := 0
	count := func(item connectors.Item) {
		if item.Vanished {
			vanished++
		}
	}
	// Not at the first, for even a slow server has listed them by then.
	empty := onFile(20, func() { tr.check(os.RemoveAll(tr.path("z"))) })
	visited, err := collect(deadline(t), opened(t, s, direct(t, s, s.Root)), func(item connectors.Item) { empty(item); count(item) })
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, g := range visited {
		if g.err != nil && g.err.Code == job.SourceChanged {
			told++
		}
	}
	if vanished == 0 || told == 0 {
		t.Errorf("of %d files that went, %d vanished and %d were errors", files, vanished, told)
	}
}

func testLargeFileGrows(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.file("large", 24<<20)
	visited, err := collect(deadline(t), opened(t, s, direct(t, s, s.Root)), onFirstFile(func() {
		f, err := os.OpenFile(tr.path("large"), os.O_APPEND|os.O_WRONLY, 0)
		tr.check(err)
		_, err = f.Write(make([]byte, 1<<20))
		tr.check(err)
		tr.check(f.Close())
	}))
	if err != nil {
		t.Fatal(err)
	}
	g := find(visited, tr.path("large"))
	if g == nil || g.Size != 24<<20 || g.read != g.Size || !errors.Is(g.ended, entry.ErrChanged) {
		t.Errorf("a file that grew: %d bytes of %d, ended by %v", g.read, g.Size, g.ended)
	}
}

func testLargeFileShrinks(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.file("large", 24<<20)
	tr.file("next", 10)
	visited, err := collect(deadline(t), opened(t, s, direct(t, s, s.Root)), onFirstFile(func() {
		tr.check(os.Truncate(tr.path("large"), 12<<20))
	}))
	if err != nil {
		t.Fatal(err)
	}
	g := find(visited, tr.path("large"))
	var content *entry.ContentError
	if !errors.As(g.ended, &content) || content.Code != string(job.SourceChanged) || g.read > g.Size {
		t.Errorf("a file that shrank: %d bytes of %d, ended by %v", g.read, g.Size, g.ended)
	}
	if whole := pattern("large", 24<<20); g.read <= keepContent && !bytes.HasPrefix(whole, g.content) {
		t.Error("what came of the file is not its start")
	}
	if g := find(visited, tr.path("next")); g == nil || g.read != 10 {
		t.Error("the next file was not read")
	}
}

// What a link leads to, out of the tree, must not be stored as if it were in it.
func testDirectoryBecomesLink(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	outside := tree{t, tr.path("outside")}
	outside.file("secret", 20_000)
	outside.file("inner/secret", 20_000)
	in := tree{t, tr.path("in")}
	ballast(in)
	in.file("dir/secret", 10_000)
	in.file("dir/inner/secret", 10_000)
	in.file("dir/own", 10)
	visited, err := collect(deadline(t), opened(t, s, direct(t, s, in.root)), onFirstFile(func() {
		in.check(os.Rename(in.path("dir"), tr.path("moved")))
		in.link("dir", "../outside")
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range visited {
		if g.read == 20_000 {
			t.Errorf("%q was read through the link", g.Path)
		}
	}
}
