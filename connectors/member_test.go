package connectors_test

import (
	"testing"

	"pgregory.net/rapid"

	"xvault/connectors"
)

func TestNamesAreEncoded(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"shop": "shop", "my-shop_2.0": "my-shop_2.0", "a b": "a%20b", "a/b": "a%2Fb", "..": "%2E.", "-x": "%2Dx", "100%": "100%25",
		"größe": "größe", "数据": "数据", "bad\xff": "bad%FF", "a\nb": "a%0Ab", "a+b@c$": "a%2Bb%40c%24", "x\u0301": "x%CC%81",
	} {
		if got := connectors.EncodeName(name); got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOf(rapid.Byte()).Draw(t, "name"))
		encoded := connectors.EncodeName(name)
		if back, err := connectors.DecodeName(encoded); err != nil || back != name {
			t.Fatalf("%q is %q, and that %q, %v", name, encoded, back, err)
		}
	})
}
