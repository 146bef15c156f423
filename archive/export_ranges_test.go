//go:build !race

package archive

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

var exportSelections = [][]string{
	nil, {""}, {"home"}, {"home/a/data.bin"}, {"home/b"}, {"home/b/link2"}, {"home/b/sym"}, {"db/big.dump"}, {"db"}, {"home/a/empty"},
	{"many/0007", "home/b/link1", "db/small.sql", "home/b/link2"}, {"home/b", "home/a"}, {"home/a/text", "home/a/data.bin", "home/b/\xff\xfe"},
	{"many/0000", "many/0001", "many/0002", "many/0299"}, {"home/z", "home/b/none"},
}

// What Extract restores from the artifact, stock tar restores from an export.
func TestExportRestoresAsExtractDoes(t *testing.T) {
	t.Parallel()
	s := exportTree(t)
	r := s.open(t)
	for _, paths := range exportSelections {
		want, report, err := s.extract(t, ExtractOptions{}, slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return p == "" })...)
		if err != nil {
			t.Fatal(err)
		}
		for _, zstd := range []bool{false, true} {
			x, stream := exported(t, r, zstd, paths...)
			sameSelected(t, fmt.Sprintf("%q, zstd %v", paths, zstd), tree(t, untar(t, stream, zstd)), tree(t, want))
			if x.Content != report.Content {
				t.Errorf("%q: exports %+v, extracts %+v", paths, x.Content, report.Content)
			}
		}
	}
}

func TestExportRanges(t *testing.T) {
	t.Parallel()
	r := exportTree(t).open(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	for _, paths := range exportSelections {
		for _, zstd := range []bool{false, true} {
			x, whole := exported(t, r, zstd, paths...)
			size := x.Size()
			ranges := [][2]int64{{0, 0}, {0, 1}, {size - 1, 1}, {size, 0}, {0, size / 2}, {size / 2, size - size/2}}
			for range 6 { // short ones, for the race detector looks at each byte
				from := random.Int64N(size)
				ranges = append(ranges, [2]int64{from, random.Int64N(min(size-from, 256<<10) + 1)})
			}
			for _, s := range x.segments[:min(len(x.segments), 4)] { // at the seams
				ranges = append(ranges, [2]int64{s.out, min(s.size, 256<<10)}, [2]int64{max(s.out-1, 0), 2}, [2]int64{s.out, 1})
			}
			for _, want := range ranges {
				var got bytes.Buffer
				if err := x.WriteRange(t.Context(), &got, want[0], want[1]); err != nil {
					t.Fatalf("%q, zstd %v, range %v of %d: %v", paths, zstd, want, size, err)
				}
				if !bytes.Equal(got.Bytes(), whole[want[0]:want[0]+want[1]]) {
					t.Fatalf("%q, zstd %v: range %v of %d has other bytes", paths, zstd, want, size)
				}
			}
			for _, beyond := range [][2]int64{{-1, 1}, {0, size + 1}, {size + 1, 0}, {size, 1}, {0, -1}} {
				if err := x.WriteRange(t.Context(), io.Discard, beyond[0], beyond[1]); err == nil {
					t.Errorf("range %v of %d was written", beyond, size)
				}
			}
		}
	}
}
