package connectors

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// EncodeName makes a safe file name of a name that someone else chose, that of a
// database: letters and digits of any script, "_", "-" and "." stand for
// themselves, every other byte is percent-encoded, and so is a leading "." or "-".
// DecodeName undoes it.
func EncodeName(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		r, size := utf8.DecodeRuneInString(name[i:])
		safe := r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || i > 0 && (r == '-' || r == '.'))
		for _, c := range []byte(name[i : i+size]) {
			if safe {
				b.WriteByte(c)
			} else {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += size
	}
	return b.String()
}

// DecodeName gives the name of which EncodeName made a file name.
func DecodeName(encoded string) (string, error) { return url.PathUnescape(encoded) }
