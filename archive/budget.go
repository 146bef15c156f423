package archive

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// ErrBusy says that as many archives are being written as the budget was made
// for.
var ErrBusy = errors.New("as many archives as the memory budget allows are being written already")

// BudgetConfig says how much memory the writers and readers of one process may
// take.
type BudgetConfig struct {
	// Writers is how many archives may be written at once; one more fails with
	// ErrBusy. Each has a guaranteed share (two frames and, for members of
	// unknown length, one part), so that no archive ever waits for another.
	// Default 4.
	Writers int
	// Extra is the memory in bytes that they share beyond that for frames in
	// flight; it makes them faster. Readers that share the budget lend theirs
	// from it as well. Default 32 MiB.
	Extra int64
	// Workers is how many frames are compressed at once, all archives taken
	// together. Default: the number of cores. The result does not depend on it.
	Workers int
}

// Budget bounds the buffers and the compressors of all writers of a process, and
// what readers decompress ahead (Reader.Share). It may be used from many
// goroutines.
type Budget struct {
	workers int

	mu       sync.Mutex
	seats    int // archives that may still begin
	writers  int // archives being written
	readings int // spans being read
	extra    int // slots that may still be lent
	free     []*slot
	levels   map[zstd.EncoderLevel]*zstd.Encoder
}

// slot holds the two buffers of one frame. Both are taken at once, so that
// whoever has one can finish with it.
type slot struct {
	in  []byte // plaintext, of fixed capacity
	out []byte // compressed; nil until something is, and grows to what the data needs
}

// slotSize is what a slot takes where nothing can be compressed.
const slotSize = MaxFrame + maxFrameSealed

// ownSlots is the guaranteed share: one frame fills while one is compressed.
const ownSlots = 2

// NewBudget makes a budget.
func NewBudget(cfg BudgetConfig) (*Budget, error) {
	if cfg.Writers == 0 {
		cfg.Writers = 4
	}
	if cfg.Extra == 0 {
		cfg.Extra = 32 << 20
	}
	if cfg.Workers == 0 {
		cfg.Workers = runtime.GOMAXPROCS(0)
	}
	if cfg.Writers < 0 || cfg.Extra < 0 || cfg.Workers < 0 {
		return nil, fmt.Errorf("archive budget: negative value in %+v", cfg)
	}
	return &Budget{
		workers: cfg.Workers,
		seats:   cfg.Writers,
		extra:   int(cfg.Extra / slotSize),
		levels:  make(map[zstd.EncoderLevel]*zstd.Encoder),
	}, nil
}

// join takes one archive's place.
func (b *Budget) join() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.seats == 0 {
		return ErrBusy
	}
	b.seats--
	b.writers++
	return nil
}

// leave gives the place back. With the last archive all memory goes.
func (b *Budget) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.seats++
	b.writers--
	if b.writers == 0 {
		clear(b.levels)
	}
	b.trim()
}

// trim lets go of the buffers when nobody is left to use them.
func (b *Budget) trim() {
	if b.writers == 0 && b.readings == 0 {
		b.free = nil
	}
}

// beginReading lends slots to read frames ahead: one always, and of the others
// wanted as many as are left.
func (b *Budget) beginReading(wanted int) []*slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readings++
	lent := min(max(wanted-1, 0), b.extra)
	b.extra -= lent
	slots := make([]*slot, 1+lent)
	for i := range slots {
		slots[i] = b.takeSlot()
	}
	return slots
}

// endReading takes them back.
func (b *Budget) endReading(slots []*slot) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.readings--
	b.extra += len(slots) - 1
	b.free = append(b.free, slots...)
	b.trim()
}

// ownSlot gives a slot of an archive's guaranteed share.
func (b *Budget) ownSlot() *slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.takeSlot()
}

// extraSlot gives a slot of the shared memory, or nil if none is left.
func (b *Budget) extraSlot() *slot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.extra == 0 {
		return nil
	}
	b.extra--
	return b.takeSlot()
}

func (b *Budget) takeSlot() *slot {
	if n := len(b.free); n > 0 {
		s := b.free[n-1]
		b.free = b.free[:n-1]
		return s
	}
	return &slot{in: make([]byte, 0, MaxFrame)}
}

// putSlots takes back an archive's slots, extra of which were lent.
func (b *Budget) putSlots(slots []*slot, extra int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, slots...)
	b.extra += extra
}

// encoder gives the compressor of a level, which all archives share.
func (b *Budget) encoder(level zstd.EncoderLevel) (*zstd.Encoder, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if enc, ok := b.levels[level]; ok {
		return enc, nil
	}
	workers := b.workers
	if level == zstd.SpeedFastest {
		workers = min(workers, maxQuick)
	}
	enc, err := newEncoder(level, workers)
	if err != nil {
		return nil, err
	}
	b.levels[level] = enc
	return enc, nil
}

// newEncoder makes a compressor of frames. Its settings are part of the
// promise that the same entries give the same bytes.
func newEncoder(level zstd.EncoderLevel, workers int) (*zstd.Encoder, error) {
	enc, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(level),
		zstd.WithEncoderConcurrency(workers),
		zstd.WithWindowSize(MaxFrame),
		zstd.WithLowerEncoderMem(true),
		// Base64 and the like have no matches, and get smaller all the same.
		zstd.WithAllLitEntropyCompression(true),
		// Every frame, however small, says how long its content is.
		zstd.WithSingleSegment(true),
		// The seal authenticates every byte, and each file has its own hash.
		zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, fmt.Errorf("make a zstd encoder: %w", err)
	}
	return enc, nil
}
