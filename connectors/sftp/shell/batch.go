package shell

import "sync"

// Want is a file that is wanted of a tar.
type Want struct {
	Path    string // absolute
	Size    int64
	ModTime int64 // in whole seconds
	// Good says, once its batch is done, that Data is the file's content: read
	// whole while it had the size and the time above, and did not change.
	Good bool
	Data []byte
	// Owner is the caller's own.
	Owner any
}

// Batch is some files that are settled together.
type Batch struct {
	Wants []*Want
	// Settled is called once, before Done is closed, by a goroutine of the tar.
	Settled func(*Batch)
	// Done is closed when it is known of every file whether it is good.
	Done chan struct{}

	// The rest belongs to the tar that has it.
	settled int  // files that came, or are known not to come
	absent  int  // of those, that did not come
	sealed  bool // no more files come in
	told    bool // everything that tar said of it was heard
	words   int  // how much tar said that explains no absent file
	excused int  // how many absent files it explained
	number  int
	bytes   int64
	upTo    int64    // where its last file ends in tar's output, as far as is known
	placed  int64    // of bytes, for how many there was a buffer
	room    []byte   // the rest of the buffer that is being filled
	lent    [][]byte // buffers to give back
}

// NewBatch makes an empty batch.
func NewBatch(settled func(*Batch)) *Batch {
	return &Batch{Settled: settled, Done: make(chan struct{})}
}

func (b *Batch) complete() bool { return b.sealed && b.told && b.settled == len(b.Wants) }

// judge decides which files are good. A file that came is one unless tar said
// something that cannot be told apart from words about it.
func (b *Batch) judge() {
	if b.words == 0 && b.excused == b.absent {
		return
	}
	b.spoil()
}

func (b *Batch) spoil() {
	for _, w := range b.Wants {
		w.Good = false
	}
}

// sharedLength is of the buffers that small files share; larger ones have their own.
const sharedLength = 64 << 10

// buffers are lent to batches and used again. Their lengths are powers of two, from
// leastBuffer on, so that no more than half of what is lent is wasted.
type buffers struct {
	pools [pooledSizes]sync.Pool
}

const (
	leastBuffer = 8 << 10
	pooledSizes = 9 // up to 2 MiB
)

// get gives a buffer of at least a length; what is in it is left over.
func (bs *buffers) get(n int) []byte {
	size, i := leastBuffer, 0
	for size < n {
		size, i = size*2, i+1
	}
	if i >= pooledSizes {
		return make([]byte, n)
	}
	if b, ok := bs.pools[i].Get().(*[]byte); ok {
		return *b
	}
	return make([]byte, size)
}

func (bs *buffers) put(b []byte) {
	for i := range bs.pools {
		if len(b) == leastBuffer<<i {
			bs.pools[i].Put(&b)
		}
	}
}

// take gives room for a file's content. Called with the lock held.
func (bs *buffers) take(b *Batch, size int64) []byte {
	n := int(size)
	if n > len(b.room) {
		// A batch that is not sealed may have more to come than it knows.
		length := n
		if n <= sharedLength/2 {
			length = max(n, int(min(b.bytes-b.placed, sharedLength)))
		}
		buf := bs.get(length)
		b.lent = append(b.lent, buf)
		if len(buf)-n < len(b.room) {
			b.placed += size
			return buf[:n:n]
		}
		b.room = buf
	}
	room := b.room[:n:n]
	b.room = b.room[n:]
	b.placed += size
	return room
}

// Release gives back a batch's buffers; nobody may look at its data any more.
func (t *Tar) Release(b *Batch) {
	for _, buf := range b.lent {
		t.buffers.put(buf)
	}
	b.lent, b.room, b.Wants = nil, nil, nil
}
