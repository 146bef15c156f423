package delay

import (
	"io"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// slabSize is what is asked of a connection at once. Many small pieces share
	// a slab, so that what they hold is what they are.
	slabSize = 1 << 20
	// leastRead is how little room is left in a slab before the next is begun.
	leastRead = 64 << 10
)

// piece is what one read brought.
type piece struct {
	bytes []byte
	due   time.Time
	slab  []byte // to be used anew after this piece; nil if more of it is to come
}

// queue is what is under way in one direction.
type queue struct {
	mu     sync.Mutex
	change sync.Cond
	pieces []piece
	held   int64
	limit  int64
	ended  bool // the sender has closed
	broken bool // nobody takes anything any more
	spare  [][]byte
}

// spareSlabs is how many slabs are kept for reuse.
const spareSlabs = 64

func newQueue(limit int64) *queue {
	q := &queue{limit: limit}
	q.change.L = &q.mu
	return q
}

// fill reads until the sender ends.
func (q *queue) fill(from io.Reader, delay time.Duration) {
	slab := make([]byte, slabSize)
	used := 0
	for {
		n, err := from.Read(slab[used:])
		if n > 0 {
			p := piece{bytes: slab[used : used+n], due: time.Now().Add(delay)}
			used += n
			if len(slab)-used < leastRead {
				p.slab = slab
				slab, used = q.newSlab(), 0
			}
			if !q.put(p) {
				return
			}
		}
		if err != nil {
			q.end(time.Now().Add(delay))
			return
		}
	}
}

func (q *queue) newSlab() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.spare); n > 0 {
		slab := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return slab
	}
	return make([]byte, slabSize)
}

// put waits for room; false means that nobody takes it.
func (q *queue) put(p piece) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.held >= q.limit && !q.broken {
		q.change.Wait()
	}
	if q.broken {
		return false
	}
	q.pieces = append(q.pieces, p)
	q.held += int64(len(p.bytes))
	q.change.Broadcast()
	return true
}

// end says that no more comes; the end takes as long as a byte.
func (q *queue) end(due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pieces = append(q.pieces, piece{due: due})
	q.ended = true
	q.change.Broadcast()
}

// abandon lets fill come back.
func (q *queue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = true
	q.change.Broadcast()
}

// drain writes every piece when it is due. It reports whether it came to the
// sender's end.
func (q *queue) drain(to io.Writer) bool {
	var batch []piece
	for {
		batch = q.take(batch[:0])
		if batch == nil {
			return true
		}
		for i := range batch {
			waitUntil(batch[i].due)
			if len(batch[i].bytes) == 0 {
				continue // the end
			}
			if _, err := to.Write(batch[i].bytes); err != nil {
				return false
			}
			q.done(&batch[i])
		}
	}
}

// take gives everything that is under way; nil after the end.
func (q *queue) take(batch []piece) []piece {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pieces) == 0 {
		if q.ended {
			return nil
		}
		q.change.Wait()
	}
	batch = append(batch, q.pieces...)
	clear(q.pieces)
	q.pieces = q.pieces[:0]
	return batch
}

func (q *queue) done(p *piece) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held -= int64(len(p.bytes))
	if p.slab != nil && len(q.spare) < spareSlabs {
		q.spare = append(q.spare, p.slab)
	}
	q.change.Broadcast()
}

// waitUntil sleeps in the kernel, because a runtime that is idle rounds its
// timers to a millisecond.
func waitUntil(due time.Time) {
	for {
		left := time.Until(due)
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(int64(left))
		_ = unix.Nanosleep(&ts, nil) // interrupted: what is left is slept next
	}
}
