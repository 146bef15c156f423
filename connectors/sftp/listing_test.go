package sftp

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"xvault/connectors/sftp/wire"
)

func TestListingSortsAndDropsDoubles(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 15, 16, 17, 255, 256, 257, 271, 272, 273, 4367, 4368, 4369, 20000} {
		l := &listing{}
		rnd := rand.New(rand.NewPCG(1, uint64(n)))
		want := make([]string, n)
		for i := range want {
			want[i] = fmt.Sprintf("%x", rnd.IntN(max(n*4, 1)))
			l.add([]byte(want[i]), []byte("-rw"), wire.Attrs{HasSize: true, Size: uint64(i), HasMode: true, Mode: wire.ModeRegular})
		}
		l.sort()
		slices.Sort(want)
		want = slices.Compact(want)
		var got []string
		for i := range l.count {
			got = append(got, string(l.name(l.entry(i))))
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%d names: got %d of them, or in another order, want %d", n, len(got), len(want))
		}
	}
}

func TestListingChargesWhatItTakes(t *testing.T) {
	t.Parallel()
	if s := unsafe.Sizeof(record{}); s != recordSize {
		t.Errorf("a record takes %d bytes, not %d", s, recordSize)
	}
	l := &listing{}
	for i := range 100_000 {
		l.add(fmt.Appendf(nil, "name-%06d", i), nil, wire.Attrs{})
	}
	if l.size > 100_000*(recordSize+4+16)+1<<20 {
		t.Errorf("%d bytes for 100,000 names", l.size)
	}
	long := &listing{}
	for range 10 {
		name := bytes.Repeat([]byte("x"), 300)
		long.add(name, nil, wire.Attrs{})
		if last := long.nameAt(uint32(long.count - 1)); !bytes.Equal(last, name) {
			t.Error("a long name is cut")
		}
	}
}

func TestListingGivesBackWhatTheServerTold(t *testing.T) {
	t.Parallel()
	want := wire.Attrs{HasSize: true, Size: 7, HasTimes: true, ModTime: 9}
	l := &listing{}
	l.add([]byte("a"), []byte("d"), want)
	if got := l.at(0).attrs(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	l.add([]byte("b"), nil, wire.Attrs{HasSize: true, Size: 1 << 63})
	if got := l.at(1).attrs(); got.Size <= maxSize {
		t.Errorf("an absurd size became %d", got.Size)
	}
}
