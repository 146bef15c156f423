package wordpress

import (
	"testing"

	"xvault/connectors"
)

// WordPress keeps its folder where its address has another host than the site's.
func TestOldAddresses(t *testing.T) {
	t.Parallel()
	for _, c := range [][4]string{ // home, siteurl, url, the new siteurl
		{"https://a.example", "https://a.example/wp", "https://new.example/b", "https://new.example/b/wp"},
		{"https://www.a.example", "https://a.example/wp", "https://new.example", "https://new.example/wp"},
		{"https://www.a.example/blog", "http://a.example/blog/wp", "https://new.example", "https://new.example/wp"},
		{"https://www.a.example/blog", "https://a.example/wp", "https://new.example", "https://new.example"},
		{"https://www.a.example", "https://a.example", "https://new.example", "https://new.example"},
	} {
		at := &target{opts: connectors.TargetOptions{SiteURL: c[2]}, about: &about{Site: aboutSite{Home: c[0], SiteURL: c[1]}}}
		m := newMover(at.oldAddresses(nil))
		for from, want := range map[string]string{c[0] + "/x": c[2] + "/x", c[1] + "/x": c[3] + "/x"} {
			if got, _ := m.change([]byte(from)); string(got) != want {
				t.Errorf("%q: %q becomes %q, not %q", c, from, got, want)
			}
		}
	}
}

func TestMoves(t *testing.T) {
	t.Parallel()
	address := func(text string) webAddress {
		a, ok := parseAddress(text)
		if !ok {
			t.Fatal(text)
		}
		return a
	}
	m := newMover([]move{
		{address("https://old.example"), address("https://new.example/b")},
		{address("http://old.example/shop/"), address("http://shop.example:8080")},
		{address("https://a.old.example"), address("https://a.new.example")},
		{address("https://port.example:81"), address("https://port.example")},
	})
	for in, want := range map[string]string{
		"": "", "none": "none", "old.example": "old.example", "me@old.example": "me@old.example",
		"https://old.example": "https://new.example/b", "http://OLD.example/": "https://new.example/b/",
		"//old.example/x": "//new.example/b/x", "see https://old.example.": "see https://new.example/b.",
		`{"u":"https:\/\/old.example\/p\/"}`: `{"u":"https:\/\/new.example\/b\/p\/"}`,
		`"https:\\\/\\\/old.example\\\/p"`:   `"https:\\\/\\\/new.example\\\/b\\\/p"`,
		"u=https%3A%2F%2Fold.example%2Fp":    "u=https%3A%2F%2Fnew.example%2Fb%2Fp",
		"https%3a%2f%2fold.example%3Fq":      "https%3a%2f%2fnew.example%2fb%3Fq",
		"https://old.example/shop":           "http://shop.example:8080", "https://old.example/shop/1": "http://shop.example:8080/1",
		"https://old.example/shopping": "https://new.example/b/shopping", "https://old.example/shop.html": "https://new.example/b/shop.html",
		"%2F%2Fold.example%2Fshop%2F": "%2F%2Fshop.example%3A8080%2F",
		"https://a.old.example/x":     "https://a.new.example/x", "https://b.old.example": "https://b.old.example",
		"https://old.example.com": "https://old.example.com", "https://old.example-b.com": "https://old.example-b.com",
		"https://old.example:8080/": "https://old.example:8080/", "https://old.example@evil": "https://old.example@evil",
		"ftp://old.example": "ftp://old.example", "a//old.example": "a//old.example", "https://notold.example": "https://notold.example",
		"https://port.example:81/x https://port.example/": "https://port.example/x https://port.example/",
		"https://port.example:815":                        "https://port.example:815",
		"https://old.examplehttps://old.example":          "https://old.examplehttps://new.example/b",
		"url(https://old.example),'https://old.example'":  "url(https://new.example/b),'https://new.example/b'",
		"https://old.example\u4f60https://old.example?a":  "https://new.example/b\u4f60https://new.example/b?a",
	} {
		got, places := m.change([]byte(in))
		if string(got) != want || (places == 0) != (in == want) {
			t.Errorf("%q becomes %q (%d), not %q", in, got, places, want)
		}
	}
	if hosts := m.hosts(); len(hosts) != 2 {
		t.Errorf("hosts %q", hosts)
	}
}
