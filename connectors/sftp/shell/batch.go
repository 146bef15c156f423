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

// bufferLength is of the buffers that files share; larger files have their own.
const bufferLength = 64 << 10

// buffers are lent to batches and used again.
type buffers struct{ pool sync.Pool }

func (bs *buffers) get() []byte {
	if b, ok := bs.pool.Get().(*[bufferLength]byte); ok {
		return b[:]
	}
	return make([]byte, bufferLength)
}

// take gives room for a file's content.
func (bs *buffers) take(b *Batch, size int64) []byte {
	switch n := int(size); {
	case n == 0:
		return nil
	case n <= len(b.room):
		room := b.room[:n:n]
		b.room = b.room[n:]
		return room
	case n > bufferLength/2 || b.bytes < bufferLength/2:
		return make([]byte, n)
	default:
		buf := bs.get()
		b.lent = append(b.lent, buf)
		b.room = buf[n:]
		return buf[:n:n]
	}
}

// Release gives back a batch's buffers; nobody may look at its data any more.
func (t *Tar) Release(b *Batch) {
	for _, buf := range b.lent {
		t.buffers.pool.Put((*[bufferLength]byte)(buf))
	}
	b.lent, b.room, b.Wants = nil, nil, nil
}
