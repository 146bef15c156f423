package postgres

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestFitName(t *testing.T) {
	t.Parallel()
	const suffix = "_restored_456789ab"
	if got := fitName("shop", suffix); got != "shop"+suffix {
		t.Errorf("a short one: %q", got)
	}
	long := "tenant_0198f3a2-7c1b-7d53-9d1e-1f2a3b4c5d6e_app_"
	seen := map[string]string{}
	for _, name := range []string{long + "prod", long + "test", strings.Repeat("ü", 30) + "a", strings.Repeat("ü", 30) + "b"} {
		got := fitName(name, suffix)
		if len(got) > maxName || !utf8.ValidString(got) || !strings.HasSuffix(got, suffix) || !strings.HasPrefix(got, name[:20]) {
			t.Errorf("%q becomes %q", name, got)
		}
		if other, ok := seen[got]; ok {
			t.Errorf("%q and %q become %q", name, other, got)
		}
		seen[got] = name
	}
}
