package sftp

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// The order of the archive is that of components, which is not that of whole
// paths.
func TestComparePathsComparesComponents(t *testing.T) {
	t.Parallel()
	component := rapid.StringOfN(rapid.SampledFrom([]rune("\x01 !-./0aA\u00fc")), 1, 4, -1).Filter(func(s string) bool { return !strings.Contains(s, "/") })
	path := rapid.SliceOfN(component, 1, 4)
	rapid.Check(t, func(t *rapid.T) {
		a, b := path.Draw(t, "a"), path.Draw(t, "b")
		got := comparePaths("/"+strings.Join(a, "/"), "/"+strings.Join(b, "/"))
		if want := slices.Compare(a, b); sign(got) != want {
			t.Fatalf("%q against %q: %d, want %d", a, b, got, want)
		}
	})
}

func sign(n int) int { return min(1, max(-1, n)) }
