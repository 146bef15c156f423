package connectors_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"xvault/connectors"
)

var update = flag.Bool("update", false, "write golden files anew; needs git")

// gitVerdicts is what git itself leaves out of a tree. A path that ends with a
// slash is a directory.
type gitVerdicts struct {
	Tree  []string     `json:"tree"`
	Cases []gitVerdict `json:"cases"`
}

type gitVerdict struct {
	Patterns []string `json:"patterns"`
	Ignored  []string `json:"ignored"`
}

const goldenExcludes = "testdata/excludes.golden.json"

// Git is the judge of what a gitignore-style pattern means; its verdicts on
// chosen and on random patterns are kept in the golden file.
func TestExcludesMeanWhatGitMeans(t *testing.T) {
	t.Parallel()
	if *update {
		writeGolden(t)
	}
	b, err := os.ReadFile(goldenExcludes)
	if err != nil {
		t.Fatal(err)
	}
	var golden gitVerdicts
	if err := json.Unmarshal(b, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) < 200 {
		t.Fatalf("only %d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		excludes, faults := connectors.ParseExcludes(c.Patterns)
		if len(faults) > 0 {
			t.Errorf("%q: %v", c.Patterns, faults)
			continue
		}
		if got := excluded(excludes, golden.Tree); !slices.Equal(got, c.Ignored) {
			t.Errorf("patterns %q\nexcludes %q\ngit says %q", c.Patterns, got, c.Ignored)
		}
	}
}

// excluded walks down as a connector does: an excluded directory is not entered.
func excluded(e connectors.Excludes, tree []string) []string {
	got := []string{}
	for _, p := range tree {
		parts := strings.Split(strings.TrimSuffix(p, "/"), "/")
		for i := range parts {
			if e.Match(parts[:i], parts[i], i+1 < len(parts) || strings.HasSuffix(p, "/")) {
				got = append(got, p)
				break
			}
		}
	}
	return got
}

func writeGolden(t *testing.T) {
	t.Helper()
	tree := []string{
		"a/", "a/b/", "a/b/c", "a/b/a/", "a/b/a/b", "a/c", "a/x.tmp", "b/", "b/a/", "b/a/c", "b/a/b/", "b/a/b/c", "b/x.log",
		"c", "d/", "d/a/", "d/a/x/", "d/a/x/a/", "d/a/x/a/b", "x.tmp", "y.log", "[z]", "!n", "#h", "s ", "back\\slash",
		"cache/", "cache/f", "d/cache", "ü", "A1", "-d", "e/", "e/.hidden", ".hidden", "e/sub.d/", "e/sub.d/f", "*", "e/*",
	}
	slices.Sort(tree)
	chosen := [][]string{
		{"*.tmp"}, {"/a"}, {"a/b"}, {"a/"}, {"b/"}, {"/c"}, {"c"}, {"**/c"}, {"a/**"}, {"a/**/c"}, {"**/a/b"}, {"d/**/b"}, {"**"}, {"*"},
		{"**/"}, {"/**"}, {"*", "!a/"}, {"*", "!a", "!a/b"}, {"a/*", "!a/b"}, {"a", "!a/c"}, {"[abc]"}, {"[!abc]"}, {"[^abc]"},
		{"[a-c]"}, {"[[:upper:]][[:digit:]]"}, {"\\[z\\]"}, {"[[]z]"}, {"\\!n"}, {"\\#h"}, {"s\\ "}, {"s "}, {"back\\\\slash"},
		{"cache/"}, {"/cache"}, {"cache"}, {"?"}, {"??"}, {"-d"}, {".*"}, {"*.d/"}, {"e/*"}, {"/*"}, {"/*/"}, {"*/c"}, {"*/*/c"},
		{"**/b/**"}, {"b/**/b/**"}, {"a**"}, {"**c"}, {"e/**d"}, {"\\*"}, {"[*]"}, {"[]]"}, {"[]-a]"}, {"[a-]*"}, {"x.[tl]*"}, {"*.tmp", "!x.tmp"},
		{"!x.tmp", "*.tmp"}, {"*.*", "!*.log"}, {"a/b/../c*"}, {"[[:alpha:][:digit:]]1"}, {"[\\a]"}, {"[\\]]"}, {"**/**/c"}, {"a/**/**/b"},
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b", "c", "d", "x", "*", "**", "?", "/", "/", "**/", "/**", "[ab]", "[!a]", ".tmp", "*.log", "e"}
	for len(chosen) < 1500 {
		var patterns []string
		for range 1 + rnd.IntN(3) {
			var p strings.Builder
			if rnd.IntN(4) == 0 {
				p.WriteString("!")
			}
			for range 1 + rnd.IntN(5) {
				p.WriteString(pieces[rnd.IntN(len(pieces))])
			}
			patterns = append(patterns, p.String())
		}
		chosen = append(chosen, patterns)
	}
	dir := t.TempDir()
	git(t, dir, nil, "init", "-q")
	for _, p := range tree {
		full := filepath.Join(dir, p)
		if strings.HasSuffix(p, "/") {
			check(t, os.MkdirAll(full, 0o700))
		} else {
			check(t, os.MkdirAll(filepath.Dir(full), 0o700))
			check(t, os.WriteFile(full, nil, 0o600))
		}
	}
	var cases []gitVerdict
	for _, patterns := range chosen {
		if _, faults := connectors.ParseExcludes(patterns); len(faults) > 0 {
			continue // what git takes but never matches is refused
		}
		if slices.ContainsFunc(patterns, oddStars) {
			continue
		}
		check(t, os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(strings.Join(patterns, "\n")+"\n"), 0o600))
		// A path with its slash would be taken for something below itself.
		asked := strings.ReplaceAll(strings.Join(tree, "\x00")+"\x00", "/\x00", "\x00")
		out := git(t, dir, []byte(asked), "check-ignore", "--no-index", "--stdin", "-z")
		ignored := []string{}
		for _, p := range tree {
			if bytes.Contains(append([]byte{0}, out...), []byte("\x00"+strings.TrimSuffix(p, "/")+"\x00")) {
				ignored = append(ignored, p)
			}
		}
		cases = append(cases, gitVerdict{patterns, ignored})
	}
	b, err := json.MarshalIndent(gitVerdicts{tree, cases}, "", " ")
	check(t, err)
	check(t, os.MkdirAll("testdata", 0o750))
	check(t, os.WriteFile(goldenExcludes, append(b, '\n'), 0o600))
}

// oddStars finds "a**", which git documents as "a*" but, after its shortcut for
// literal prefixes, matches across slashes.
func oddStars(pattern string) bool {
	for s := range strings.SplitSeq(strings.TrimPrefix(pattern, "!"), "/") {
		if strings.Contains(s, "**") && s != "**" {
			return true
		}
	}
	return false
}

func git(t *testing.T, dir string, input []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(input)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.Output()
	// Exit code 1 says that nothing is ignored.
	if err != nil && cmd.ProcessState.ExitCode() != 1 {
		t.Fatalf("git %v: %v", args, err)
	}
	return out
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestExcludesRefuse(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"", "  ", "#x", "!", "/", "//", "a//b", "a/../b", "./a", "[a", "a\\", "a[[:nope:]]", "x\x00y", "[a/b]"} {
		if _, faults := connectors.ParseExcludes([]string{"ok", p}); faults[1] == nil || faults[0] != nil {
			t.Errorf("%q: faults %v", p, faults)
		}
	}
}

func TestExcludesTakeTimeWithMeasure(t *testing.T) {
	t.Parallel()
	e, _ := connectors.ParseExcludes([]string{strings.Repeat("*a", 100) + "b", strings.Repeat("**/a/", 100) + "b"})
	dir := slices.Repeat([]string{"a"}, 500)
	for range 100 {
		if e.Match(dir, strings.Repeat("a", 255), true) {
			t.Fatal("matches")
		}
	}
}
