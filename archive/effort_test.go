package archive

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"testing"

	"github.com/klauspost/compress/zstd"

	"xvault/internal/entry"
)

// hexNoise is what columns of hashes and keys look like.
func hexNoise(seed uint64, n int) []byte {
	return []byte(hex.EncodeToString(noiseBytes(seed, n/2)))
}

func bothWays(t *testing.T) encoders {
	t.Helper()
	e, err := newBudget(t, BudgetConfig{Workers: 1}).encoders(zstd.SpeedDefault)
	if err != nil || e.quick == nil {
		t.Fatalf("%+v, %v", e, err)
	}
	return e
}

func taskOf(content []byte) *task {
	return &task{slot: &slot{in: content}, done: make(chan struct{})}
}

// TestEncode: a frame is compressed in the quick way only where it comes out as the
// one did that was weighed.
func TestEncode(t *testing.T) {
	t.Parallel()
	e := bothWays(t)
	const size = 512 << 10
	hashes, text := hexNoise(1, size), []byte(textOf(size))
	weighed := taskOf(hashes)
	weighed.weigh = true
	if got := e.encode(weighed); weighed.thorough != len(got) || weighed.quick == 0 || weighed.quick > weighed.thorough+weighed.thorough/maxLoss {
		t.Fatalf("weighed: quick %d, thorough %d, given %d", weighed.quick, weighed.thorough, len(got))
	}
	for name, tt := range map[string]struct {
		content []byte
		expect  int
		want    *zstd.Encoder
	}{
		"nothing weighed":         {hashes, 0, e.thorough},
		"more of the same":        {hexNoise(2, size), weighed.quick, e.quick},
		"content of another kind": {text, weighed.quick, e.thorough},
	} {
		next := taskOf(tt.content)
		next.expect = tt.expect
		if got := e.encode(next); !bytes.Equal(got, tt.want.EncodeAll(tt.content, nil)) {
			t.Errorf("%s: %d bytes, which is not what was to be expected", name, len(got))
		}
	}
	if only := (encoders{thorough: e.thorough}).encode(weighed); len(only) != weighed.thorough {
		t.Errorf("without a quick way: %d bytes instead of %d", len(only), weighed.thorough)
	}
}

// TestBase64: what has no matches gets smaller all the same.
func TestBase64(t *testing.T) {
	t.Parallel()
	content := []byte(base64.StdEncoding.EncodeToString(noiseBytes(6, 300<<10)))
	e := bothWays(t)
	for _, enc := range []*zstd.Encoder{e.thorough, e.quick} {
		if got := len(enc.EncodeAll(content, nil)); got > len(content)*77/100 {
			t.Errorf("%d bytes of base64 became %d", len(content), got)
		}
	}
}

// A level other than the default is what somebody asked for.
func TestLevelAskedFor(t *testing.T) {
	t.Parallel()
	b := newBudget(t, BudgetConfig{Workers: 1})
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedBetterCompression, zstd.SpeedBestCompression} {
		if e, err := b.encoders(level); err != nil || e.quick != nil || e.thorough == nil {
			t.Errorf("%v: %+v, %v", level, e, err)
		}
	}
}

// TestEffort puts in the frames of one member and looks which are weighed, and which
// are compressed in the quick way.
func TestEffort(t *testing.T) {
	t.Parallel()
	const frames = 600
	tests := map[string]struct {
		quick   func(frame int) int // against a thorough 1000
		weighed []int
		fast    func(frame int) bool
	}{
		"as good": {
			func(int) int { return 1005 },
			[]int{4, 36, 68, 100, 132, 164, 196, 228, 260, 292, 324, 356, 388, 420, 452, 484, 516, 548, 580},
			func(i int) bool { return i >= weighFirst+weighLag },
		},
		"worse": {
			func(int) int { return 1006 },
			[]int{4, 68, 196, 452},
			func(int) bool { return false },
		},
		"stored as it is": {
			func(int) int { return 0 },
			[]int{4, 68, 196, 452},
			func(int) bool { return false },
		},
		"as good for a while": {
			func(i int) int { return 1000 + i - weighFirst },
			[]int{4, 36, 100, 228, 484},
			func(i int) bool { return i >= weighFirst+weighLag && i < weighFirst+weighEvery+weighLag },
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var e effort
			first := taskOf(make([]byte, MaxFrame))
			first.marked = true
			e.begin(entry.SizeUnknown)
			e.next(first)
			var weighed []int
			for i := range frames {
				f := taskOf(first.slot.in)
				e.next(f)
				if f.weigh {
					weighed = append(weighed, i)
					f.quick, f.thorough = tt.quick(i), 1000
				}
				close(f.done)
				if fast := f.expect > 0; fast != tt.fast(i) {
					t.Fatalf("frame %d: quick is %v", i, fast)
				}
			}
			if !slices.Equal(weighed, tt.weighed) {
				t.Errorf("weighed: %v, want %v", weighed, tt.weighed)
			}
			e.begin(longMember - 1)
			for range frames {
				f := taskOf(first.slot.in)
				if e.next(f); f.weigh || f.expect != 0 {
					t.Fatalf("what was learned goes on behind the member: %+v", e)
				}
			}
		})
	}
}
