package archive

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"xvault/internal/entry"
)

// crewBatches is how many batches may be on their way.
const crewBatches = 64

// crew checks and writes small files while the one goroutine that extracts
// reads on: most of a restore is made of them, and of system calls. Files of one
// directory are written by one member at a time: making files in it is what a
// kernel lets only one do, and others would wait for that on a processor.
type crew struct {
	target *target

	members sync.WaitGroup
	failed  atomic.Bool

	mu    sync.Mutex
	ready sync.Cond // there is a place in queue, or nothing more comes
	less  sync.Cond // there are fewer batches on their way
	queue []*place  // with something waiting and nobody at work
	ended bool
	under int      // batches on their way
	spare []*batch // to be used again

	err     error // the first
	content Content
}

func newCrew(t *target) *crew {
	c := &crew{target: t}
	c.ready.L, c.less.L = &c.mu, &c.mu
	for range max(2, min(runtime.GOMAXPROCS(0), 8)) {
		c.members.Go(c.run)
	}
	return c
}

// batch gives an empty batch, which write takes. It waits while too many are on
// their way.
func (c *crew) batch() *batch {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.under >= crewBatches {
		c.less.Wait()
	}
	n := len(c.spare)
	if n == 0 {
		return &batch{}
	}
	b := c.spare[n-1]
	c.spare = c.spare[:n-1]
	return b
}

// write hands a batch over.
func (c *crew) write(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.under++
	b.in.waiting = append(b.in.waiting, b)
	if !b.in.busy {
		c.enqueue(b.in)
	}
}

// enqueue is called with the lock held.
func (c *crew) enqueue(p *place) {
	p.busy = true
	c.queue = append(c.queue, p)
	c.ready.Signal()
}

// settle waits until everything handed over is written.
func (c *crew) settle() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.under > 0 {
		c.less.Wait()
	}
}

// stop ends the crew. Nothing may be handed over any more.
func (c *crew) stop() {
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.ready.Broadcast()
	c.members.Wait()
}

// failure is the first failure, nil while there is none.
func (c *crew) failure() error {
	if !c.failed.Load() {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

func (c *crew) run() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		b := c.next()
		if b == nil {
			return
		}
		c.mu.Unlock()
		content, err := b.write(c.target)
		c.mu.Lock()
		c.finish(b, content, err)
	}
}

// next waits for a batch in a place where nobody is at work; nil: there is none
// any more. It is called with the lock held.
func (c *crew) next() *batch {
	for len(c.queue) == 0 {
		if c.ended {
			return nil
		}
		c.ready.Wait()
	}
	p := c.queue[0]
	c.queue = append(c.queue[:0], c.queue[1:]...)
	b := p.waiting[0]
	p.waiting = append(p.waiting[:0], p.waiting[1:]...)
	return b
}

// finish is called with the lock held.
func (c *crew) finish(b *batch, content Content, err error) {
	c.content.Files += content.Files
	c.content.Bytes += content.Bytes
	c.content.ChangedWhileRead += content.ChangedWhileRead
	if err != nil && c.err == nil {
		c.err = err
		c.failed.Store(true)
	}
	b.in.busy = false
	if len(b.in.waiting) > 0 {
		c.enqueue(b.in)
	}
	b.done()
	b.clear()
	c.spare = append(c.spare, b)
	c.under--
	c.less.Signal()
}

// count takes a file that was written into account.
func (c *Content) count(e *Entry) {
	c.Files++
	c.Bytes += e.Size
	if e.Flags&entry.ChangedWhileRead != 0 {
		c.ChangedWhileRead++
	}
}

// named says which entry it was that failed.
func named(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("extract %s: %w", Escape(path), err)
}
