package archive

import (
	"os"
	"sync/atomic"
	"testing"
)

// TestHelpInPlaceOfWaiting: whoever waits for a crew of which nobody has time
// writes what is left himself, in the places where nobody is at work.
func TestHelpInPlaceOfWaiting(t *testing.T) {
	t.Parallel()
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer closeRoot(t, root)
	tgt, err := newTarget(root, ExtractOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer tgt.close()
	c := &crew{target: tgt} // without members
	c.ready.L, c.less.L = &c.mu, &c.mu
	if c.help() {
		t.Error("helped where nothing was to be done")
	}
	var done atomic.Int64
	for range crewBatches {
		b := c.batch()
		b.in, b.done = tgt.top, func() { done.Add(1) }
		c.write(b)
	}
	if !c.help() || done.Load() != 1 {
		t.Errorf("%d batches were written with one help", done.Load())
	}
	c.write(helped(c, tgt, &done)) // as many again as may be on their way
	if b := c.batch(); b == nil || done.Load() != 2 {
		t.Errorf("%d batches were written for there to be room for one more", done.Load())
	}
	c.settle()
	if want := int64(crewBatches + 1); done.Load() != want {
		t.Errorf("%d batches were written, want %d", done.Load(), want)
	}
	c.stop()
}

// helped gives one more batch.
func helped(c *crew, tgt *target, done *atomic.Int64) *batch {
	b := c.batch()
	b.in, b.done = tgt.top, func() { done.Add(1) }
	return b
}

// TestIdleOnlyWhereNothingIsUnderWay: the goroutine that reads does something else
// only while no frame is there, being read, or being decompressed, and ends with
// that when there is nothing to do.
func TestIdleOnlyWhereNothingIsUnderWay(t *testing.T) {
	t.Parallel()
	calls, useful := 0, 3
	d := &frameDecoder{order: make(chan *decoding, 1)}
	d.idle = func() bool {
		calls++
		return calls < useful
	}
	d.busy.Add(1)
	d.beIdle()
	if calls != 0 {
		t.Errorf("called %d times while a frame was under way", calls)
	}
	d.busy.Add(-1)
	d.beIdle()
	if calls != useful {
		t.Errorf("called %d times, want %d", calls, useful)
	}
	d.order <- &decoding{}
	d.beIdle()
	if calls != useful {
		t.Error("called while a frame was there")
	}
}
