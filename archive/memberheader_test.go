package archive

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"xvault/internal/entry"
)

// TestForetold: headers that are known beforehand are passed over, and each that
// differs from them in a single bit is not.
func TestForetold(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	long := string(bytes.Repeat([]byte("n"), 300))
	for i, it := range []item{
		fileItem("a", "content"), dirItem("d"), fileItem("d/"+long, ""), fileItem("d/ümlaut", "x"),
		linkItem(entry.Symlink, "l", "d/"+long), linkItem(entry.Hardlink, "m", "a"),
	} {
		it.Size = int64(len(it.content))
		it.UID, it.GID, it.User, it.Group = 1000+i, 33, "somebody", "www-data"
		it.ModTime = it.ModTime.Add(7)
		e := newEntry(&it.Header, 0)
		e.Size = it.Size
		var enc tarEncoder
		raw := bytes.Clone(enc.header(&it.Header, it.Path, it.Size))
		span := &tarSpan{rest: bytes.Clone(raw)}
		owners, ok := span.foretold(e)
		if !ok || len(span.rest) > 0 || span.offset != int64(len(raw)) || owners.uid != int64(it.UID) || owners.group != "www-data" {
			t.Errorf("%s: passed over: %v, %+v", it.Path, ok, owners)
		}
		for range 200 {
			bit := rnd.IntN(8 * len(raw))
			changed := bytes.Clone(raw)
			changed[bit/8] ^= 1 << (bit % 8)
			span := &tarSpan{rest: changed}
			if _, ok := span.foretold(e); ok || len(span.rest) != len(raw) {
				t.Errorf("%s: bit %d changed, and it was passed over", it.Path, bit)
			}
		}
	}
}
