package connectors

import "testing"

func TestCleanSiteURL(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"https://New.example": "https://new.example", "http://a.example:8080/": "http://a.example:8080", "https://a.example/b/c//": "https://a.example/b/c",
		"http://[::1]:80/x": "http://[::1]:80/x", "https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
	} {
		if got, err := CleanSiteURL(given); got != want || err != nil {
			t.Errorf("%q: %q, %v; not %q", given, got, err, want)
		}
	}
	for _, bad := range []string{
		"", "a.example", "//a.example", "ftp://a.example", "https://", "https://u:p@a.example", "https://a.example?q", "https://a.example?", "https://a.example/#", "https://a b",
		"https://bücher.example", "https://a.example/../b", "https://a.example/'", "https://a.example/%41", "https://a.example/b c", "https://-a.example", "https://a.example:x",
	} {
		if got, err := CleanSiteURL(bad); err == nil {
			t.Errorf("%q is taken as %q", bad, got)
		}
	}
}
