package connectortest

import (
	"fmt"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"xvault/connectors"
	"xvault/internal/entry"
	"xvault/internal/job"
)

// direct is a configuration that reaches the server without a proxy.
func direct(t *testing.T, s *Server, paths ...string) map[string]any {
	t.Helper()
	host, port := hostPort(t, s.Addr)
	return s.Config(host, port, paths...)
}

func testAwkwardTree(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	awkward(t, s, s.Root)
	visited, err := collect(deadline(t), opened(t, s, direct(t, s, s.Root)), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkOrder(t, visited)
	want := expected(t, s.Root)
	if s.HardLinks {
		want = linkNames(want)
	}
	want = withoutHidden(s, want)
	visited, want = withoutRefused(t, s, visited, want)
	visited, want = withoutUntold(t, s, visited, want)
	compare(t, coarse(s, visited), coarse(s, want))
}

// withoutHidden drops what the server does not show, and all below it.
func withoutHidden(s *Server, want []got) []got {
	if s.HiddenName == nil {
		return want
	}
	return slices.DeleteFunc(slices.Clone(want), func(g got) bool {
		return slices.ContainsFunc(strings.Split(g.Path, "/"), s.HiddenName)
	})
}

// withoutUntold checks that links of which the server does not tell enough were
// visited with an error each, and drops them.
func withoutUntold(t *testing.T, s *Server, visited, want []got) (rest, wantRest []got) {
	t.Helper()
	for _, g := range want {
		switch {
		case g.Kind == entry.Symlink && slices.Contains(s.HiddenTargets, g.LinkTarget):
			continue
		case g.Kind != entry.Symlink || !slices.Contains(s.UntoldTargets, g.LinkTarget):
			wantRest = append(wantRest, g)
			continue
		}
		i := slices.IndexFunc(visited, func(v got) bool { return v.Path == g.Path })
		if i < 0 || visited[i].err == nil || !strings.Contains(visited[i].err.Message, g.Path) {
			t.Errorf("%q: no error names a link that the server does not tell", g.Path)
			continue
		}
		visited = slices.Delete(slices.Clone(visited), i, i+1)
	}
	return visited, wantRest
}

// coarse drops times that the server does not tell to the second, and kinds that it
// does not tell apart.
func coarse(s *Server, all []got) []got {
	all = slices.Clone(all)
	for i := range all {
		deep := s.CoarseFrom > 0 && len(all[i].Path) >= s.CoarseFrom && all[i].Kind == entry.Dir
		if deep || slices.Contains(s.CoarseTimes, all[i].Kind) {
			all[i].ModTime = time.Time{}
		}
		if s.SpecialsAlike && all[i].Kind == entry.Socket {
			all[i].Kind = entry.FIFO
		}
	}
	return all
}

// withoutRefused checks that names that cannot be asked for were visited with an error
// each, and drops them and all below them.
func withoutRefused(t *testing.T, s *Server, visited, want []got) (rest, wantRest []got) {
	t.Helper()
	if s.RefusedName == nil {
		return visited, want
	}
	refused := func(path string) bool { return slices.ContainsFunc(strings.Split(path, "/"), s.RefusedName) }
	told := map[string]bool{}
	for _, g := range visited {
		switch {
		case !refused(g.Path):
			rest = append(rest, g)
		case g.err == nil || !strings.Contains(g.err.Message, fmt.Sprintf("%q", "/"+g.Path)):
			t.Errorf("%q was visited without an error that names it: %v", g.Path, g.err)
		default:
			told[g.Path] = true
		}
	}
	for _, g := range want {
		parent, _, _ := cutLast(g.Path)
		switch {
		case !refused(g.Path):
			wantRest = append(wantRest, g)
		case !refused(parent) && !told[g.Path]:
			t.Errorf("%q is missing: a silent gap", g.Path)
		}
	}
	return rest, wantRest
}

func cutLast(path string) (parent, name string, ok bool) {
	i := strings.LastIndexByte(path, '/')
	if i < 0 {
		return "", path, false
	}
	return path[:i], path[i+1:], true
}

func testSeveralPaths(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	for _, name := range []string{"a/x", "a-b/x", "b/c/d/e", "b/c/f", "b/g", "z", "not/this"} {
		tr.file(name, 20)
	}
	raw := direct(t, s, tr.path("z"), tr.path("b"), tr.path("a-b/"), tr.path("b/c/d"), tr.path("a"), tr.path("a/x"), tr.path("b/c/f"))
	// A path below an excluded folder is still wanted, for it was named.
	raw["exclude"] = []string{"c"}
	visited, err := collect(deadline(t), opened(t, s, raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkOrder(t, visited)
	var want []got
	for _, name := range []string{"a", "a-b"} {
		want = append(want, expected(t, tr.path(name))...)
	}
	want = append(want, expected(t, tr.path("b"))[0])
	for _, name := range []string{"b/c/d", "b/c/f", "b/g", "z"} {
		want = append(want, expected(t, tr.path(name))...)
	}
	compare(t, coarse(s, visited), coarse(s, want))
}

func testPathIsLink(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.file("releases/2/index.php", 30)
	tr.link("releases/2/current", "..")
	tr.link("current", "releases/2")
	tr.link("index", "releases/2/index.php")
	source := opened(t, s, direct(t, s, tr.path("current"), tr.path("index")))
	probe, err := source.Probe(deadline(t))
	links := slices.DeleteFunc(probe.Warnings, func(w string) bool { return !strings.Contains(w, "is a link to") })
	if err != nil || len(links) != 2 || probe.Paths[0].Kind != "symlink" {
		t.Errorf("probe: %+v, error %v", probe, err)
	}
	visited, err := collect(deadline(t), source, nil)
	if err != nil {
		t.Fatal(err)
	}
	dir, file := find(visited, tr.path("current")), find(visited, tr.path("index"))
	if dir == nil || dir.Kind != entry.Dir || file == nil || file.Kind != entry.File || file.read != 30 {
		t.Errorf("the path that is a link was not followed: %v", summaries(visited))
	}
	inside, link := find(visited, tr.path("current/index.php")), find(visited, tr.path("current/current"))
	if inside == nil || inside.read != 30 || link == nil || link.Kind != entry.Symlink || len(visited) != 4 {
		t.Errorf("behind the link: %v", summaries(visited))
	}
	// A path through a link inside another path has no place of its own.
	_, err = collect(deadline(t), opened(t, s, direct(t, s, s.Root, tr.path("current/index.php"))), nil)
	wantCode(t, "a path through a link", err, job.ConfigInvalid)
}

func testExcludes(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	for _, name := range []string{"keep", "a.tmp", "keep.tmp", "cache/x", "sub/cache/x", "sub/keep", "logs/1", "logs/keep", "file/cache"} {
		tr.file(name, 5)
	}
	raw := direct(t, s, s.Root)
	raw["exclude"] = []string{"*.tmp", "!keep.tmp", "cache/", tr.path("logs/*"), "!" + tr.path("logs/keep")}
	visited, err := collect(deadline(t), opened(t, s, raw), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, g := range visited {
		names = append(names, strings.TrimPrefix("/"+g.Path, s.Root))
	}
	want := []string{"", "/file", "/file/cache", "/keep", "/keep.tmp", "/logs", "/logs/keep", "/sub", "/sub/keep"}
	if fmt.Sprint(names) != fmt.Sprint(want) {
		t.Errorf("visited %q, want %q", names, want)
	}
	raw["exclude"] = []string{"*"}
	_, err = collect(deadline(t), opened(t, s, raw), nil)
	wantCode(t, "everything excluded", err, job.SourceEmpty)
}

func testUnreadable(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{Unprivileged: true})
	if !s.Unprivileged {
		t.Fatal("the server can read everything")
	}
	tr := tree{t, s.Root}
	for _, name := range []string{"a/readable", "b/secret", "c/large", "locked/inside", "unsearchable/inside", "z"} {
		tr.file(name, 100)
	}
	tr.file("c/large", 3<<20)
	for name, mode := range map[string]os.FileMode{"b/secret": 0, "c/large": 0, "locked": 0, "unsearchable": 0o644} {
		tr.check(os.Chmod(tr.path(name), mode))
	}
	visited, err := collect(deadline(t), opened(t, s, direct(t, s, s.Root)), nil)
	if err != nil {
		t.Fatal(err)
	}
	checkOrder(t, visited)
	for name, readable := range map[string]bool{
		"a/readable": true, "b/secret": false, "c/large": false, "locked": false, "unsearchable": false, "z": true,
	} {
		g := find(visited, tr.path(name))
		switch {
		case g == nil:
			t.Errorf("%s is missing: a silent gap", name)
		case readable && (g.err != nil || g.read != 100):
			t.Errorf("%s: %v, %d bytes", name, g.err, g.read)
		case !readable && (g.err == nil || g.err.Code != job.PermissionDenied || !strings.Contains(g.err.Message, name)):
			t.Errorf("%s: %v", name, g.err)
		}
	}
	if s.Place != nil {
		return // a path is more than a file or folder
	}
	_, err = collect(deadline(t), opened(t, s, direct(t, s, tr.path("b/secret"))), nil)
	wantCode(t, "nothing but an unreadable file", err, job.PermissionDenied)
	_, err = collect(deadline(t), opened(t, s, direct(t, s, tr.path("locked/inside"))), nil)
	wantCode(t, "a path that cannot be reached", err, job.PermissionDenied)
}

func testEmpty(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	tr.dir("only/folders")
	_, err := collect(deadline(t), opened(t, s, direct(t, s, s.Root)), nil)
	wantCode(t, "folders without a file", err, job.SourceEmpty)
}

// A folder of very many names is sorted in a bounded memory.
func testManyNames(t *testing.T, start Factory) {
	t.Helper()
	s := start(t, Options{})
	tr := tree{t, s.Root}
	const many = 20_000
	tr.dir("many")
	for i := range many {
		// Not in the order in which a file system would give them anyway.
		f, err := os.Create(tr.path(fmt.Sprintf("many/%05x-%d", (i*7919)%many, i)))
		tr.check(err)
		tr.check(f.Close())
	}
	n, largest := 0, uint64(0)
	var last string
	var stats runtime.MemStats
	err := opened(t, s, direct(t, s, tr.path("many"))).Read(deadline(t), func(item connectors.Item) error {
		if item.Path <= last {
			t.Errorf("%q comes after %q", item.Path, last)
		}
		last = item.Path
		var a, b int
		if _, err := fmt.Sscanf(path.Base(item.Path), "%x-%d", &a, &b); err != nil && path.Base(item.Path) != "many" {
			return nil // what a site is besides
		}
		if n++; n%1000 == 0 {
			runtime.ReadMemStats(&stats)
			largest = max(largest, stats.HeapInuse)
		}
		return nil
	})
	if err != nil || n != many+1 {
		t.Errorf("%d entries of %d, error %v", n, many+1, err)
	}
	t.Logf("heap in use: at most %d MiB", largest>>20)
}
