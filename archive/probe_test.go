package archive

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func noiseBytes(seed uint64, n int) []byte { return []byte(noiseString(seed, n)) }

// spliced puts piece into noise.
func spliced(at int, piece []byte) []byte {
	frame := noiseBytes(3, MaxFrame)
	copy(frame[at:], piece)
	return frame
}

// tokens are even in their bytes, but repeat themselves every few words.
func tokens(n int) []byte {
	random := rand.New(rand.NewPCG(1, 2))
	words := noiseBytes(4, 6*1000)
	var out []byte
	for len(out) < n {
		w := random.IntN(1000)
		out = append(out, words[6*w:6*w+6]...)
	}
	return out[:n]
}

func zipped(t *testing.T, n int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	random := rand.New(rand.NewPCG(1, 3))
	for b.Len() < n {
		line := strings.Repeat(string(rune('a'+random.IntN(26))), 1+random.IntN(9))
		if _, err := io.WriteString(w, line+noiseString(random.Uint64(), 3)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()[:n]
}

// TestProbe: what cannot be compressed is stored as it is, and nothing else.
func TestProbe(t *testing.T) {
	t.Parallel()
	enc, err := newEncoder(zstd.SpeedDefault, 1)
	if err != nil {
		t.Fatal(err)
	}
	counters := make([]byte, 0, MaxFrame)
	for i := 0; len(counters) < MaxFrame; i++ {
		counters = binary.LittleEndian.AppendUint32(counters, uint32(i))
	}
	tests := map[string]struct {
		frame []byte
		want  bool
	}{
		"noise":                {noiseBytes(1, MaxFrame), true},
		"a little noise":       {noiseBytes(1, probeMin), true},
		"too little to look":   {noiseBytes(1, probeMin-1), false},
		"gzip":                 {zipped(t, MaxFrame), true},
		"empty":                {nil, false},
		"text":                 {[]byte(textOf(MaxFrame)), false},
		"zeros":                {make([]byte, MaxFrame), false},
		"base64":               {[]byte(base64.StdEncoding.EncodeToString(noiseBytes(1, MaxFrame/4*3))), false},
		"tokens":               {tokens(MaxFrame), false},
		"counters":             {counters, false},
		"text within noise":    {spliced(1<<20+777, []byte(textOf(100<<10))), false},
		"zeros at the end":     {spliced(MaxFrame-(128<<10), make([]byte, 128<<10)), false},
		"a copy, unaligned":    {spliced(3<<20+12345, noiseBytes(3, 1<<20)[:130<<10]), false},
		"a copy at the end":    {spliced(MaxFrame-(130<<10), noiseBytes(3, 1<<20)[77:77+130<<10]), false},
		"a few zeros in noise": {spliced(40<<10, make([]byte, 1<<10)), true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var look prober
			for range 2 { // whatever it looked at before
				if got := look.incompressible(tt.frame, enc); got != tt.want {
					t.Errorf("stored as it is: %v, want %v", got, tt.want)
				}
			}
			if !tt.want || len(tt.frame) == 0 {
				return
			}
			if packed := enc.EncodeAll(tt.frame, nil); len(packed) < len(tt.frame)*98/100 {
				t.Errorf("%d bytes could have been %d", len(tt.frame), len(packed))
			}
		})
	}
}

// TestStoredFrame: any decoder reads a stored frame, and it is as long as said.
func TestStoredFrame(t *testing.T) {
	t.Parallel()
	dec, err := newDecoder(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 255, storedBlock, storedBlock + 1, 300_000, MaxFrame - 1, MaxFrame} {
		content := noiseBytes(uint64(n), n)
		var out bytes.Buffer
		if err := writeStoredFrame(&out, content); err != nil {
			t.Fatal(err)
		}
		if int64(out.Len()) != storedFrame(int64(n)) || out.Len() > maxFrameSealed {
			t.Errorf("%d bytes in a frame of %d", n, out.Len())
		}
		got, err := decodeBounded(dec, out.Bytes(), MaxFrame)
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("%d bytes: decoded %d, %v", n, len(got), err)
		}
	}
}
