package archive

import (
	"encoding/binary"

	"github.com/klauspost/compress/zstd"
)

// What is compressed or encrypted already does not get smaller, and trying
// costs as much as hashing it. So each frame is looked at first, and where
// nothing points to anything that could be gained it is stored as it is. The
// answer depends on the frame's bytes alone. In doubt it is to compress.

const (
	// probeMin is the frame from which on a look is cheaper than trying.
	probeMin = 256 << 10

	// A sample of bytes that are evenly distributed has a chi-square of 255,
	// give or take 23; what can be made 2 % smaller by its distribution alone
	// is far above maxUneven.
	sampleSize  = 1 << 10
	sampleEvery = 32 << 10
	maxUneven   = 400
	// maxSamples is how many samples may be uneven: under 1 % of a whole frame.
	maxSamples = 1

	// Even bytes may still be made of words that recur: some pieces are
	// compressed to see. They must not lose 1/128 of their size.
	trialSize  = 16 << 10
	trialEvery = 512 << 10

	// And what recurs at a distance, two copies of one picture, shows when the
	// eight bytes at one of many places are those at another.
	anchorEvery = 1 << 10
	searchEvery = 64 << 10
	tableBits   = 13
)

// prober looks at frames. It is used by one goroutine.
type prober struct {
	// anchors are looked for in the nearest cache: each is 16 bits of what is there, so that
	// hardly any other is gone to, and its number, plus one.
	anchors [1 << tableBits]uint32
	out     []byte
}

// incompressible reports whether a frame is to be stored as it is.
func (p *prober) incompressible(frame []byte, enc *zstd.Encoder) bool {
	return len(frame) >= probeMin && isEven(frame) && !p.shrinks(frame, enc) && !p.repeats(frame)
}

// isEven reports whether all values of a byte are about as frequent, all over
// the frame.
func isEven(frame []byte) bool {
	uneven := 0
	for at := 0; at+sampleSize <= len(frame); at += sampleEvery {
		if chiSquare(frame[at:at+sampleSize]) > maxUneven {
			if uneven++; uneven > maxSamples {
				return false
			}
		}
	}
	return true
}

// chiSquare measures how far a sample is from an even distribution.
func chiSquare(sample []byte) int {
	// Two tables, so that equal bytes side by side do not wait for each other.
	var even, odd [256]uint16
	for i := 0; i+1 < len(sample); i += 2 {
		even[sample[i]]++
		odd[sample[i+1]]++
	}
	sum := 0
	for i := range even {
		n := int(even[i]) + int(odd[i])
		sum += n * n
	}
	return sum*256/len(sample) - len(sample)
}

// shrinks compresses pieces of the frame to see.
func (p *prober) shrinks(frame []byte, enc *zstd.Encoder) bool {
	for at := trialEvery / 2; at+trialSize <= len(frame); at += trialEvery {
		p.out = enc.EncodeAll(frame[at:at+trialSize], p.out[:0])
		if len(p.out) < trialSize-trialSize/128 {
			return true
		}
	}
	return false
}

// repeats looks for the same bytes at two places. Copies of 128 KiB and more are
// hardly ever missed, wherever they are; shorter ones are found the more likely
// the more there are.
func (p *prober) repeats(frame []byte) bool {
	clear(p.anchors[:])
	last := len(frame) - 8
	for at := 0; at <= last; at += anchorEvery {
		place, mark := anchorHash(frame, at)
		p.anchors[place] = mark | uint32(at/anchorEvery+1)
	}
	for from := 0; from <= last; from += searchEvery {
		for at := from; at < min(from+anchorEvery, last); at++ {
			place, mark := anchorHash(frame, at)
			anchor := p.anchors[place]
			if anchor&^0xffff != mark || anchor&0xffff == 0 {
				continue
			}
			found := int(anchor&0xffff-1) * anchorEvery
			if found != at && load64(frame, found) == load64(frame, at) {
				return true
			}
		}
	}
	return false
}

// anchorHash gives the place in the table of the eight bytes there, and what marks them:
// 16 bits, above 16 zeros.
func anchorHash(b []byte, at int) (place, mark uint32) {
	const prime = 0x9E3779B97F4A7C15
	h := load64(b, at) * prime
	return uint32(h >> (64 - tableBits)), uint32(h>>(64-tableBits-16)) << 16
}

func load64(b []byte, at int) uint64 { return binary.LittleEndian.Uint64(b[at:]) }
