package schedule

import (
	"encoding/binary"
	"hash/fnv"
	"time"
)

// spread is a part of most that id and slot alone decide, evenly over many of
// them, in whole milliseconds.
func spread(id [16]byte, slot time.Time, most time.Duration) time.Duration {
	if most < time.Millisecond {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write(id[:]) // a hash never fails
	_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(slot.Unix())))
	sum := h.Sum64()
	// The last bytes that went in have hardly reached the upper bits.
	sum ^= sum >> 32
	sum *= 0x9e3779b97f4a7c15
	sum ^= sum >> 29
	return time.Duration(sum%uint64(most/time.Millisecond)) * time.Millisecond
}
