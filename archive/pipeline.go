package archive

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// pipeline compresses frames on several cores and writes them in order. One
// goroutine puts tasks in; workers compress; the emitter, which alone knows
// where a frame ends up, writes.
type pipeline struct {
	w       io.Writer // the seal
	budget  *Budget
	encoder encoders

	slots    chan *slot // this archive's free slots
	maxSlots int
	owned    int // slots taken so far; of the one goroutine that puts in
	lent     int // those of them from the shared memory

	work    chan *task
	order   chan *task
	workers sync.WaitGroup
	emitter sync.WaitGroup

	// stopped is closed by the first failure, whose cause err then holds.
	stopped chan struct{}
	failing sync.Once
	err     error

	// Of the emitter alone, until it has ended.
	offset int64 // in the sealed plaintext
	table  seekTable
	blocks []blockRef
	marked map[int64]frameRef
	packed []byte
}

// task is one frame on its way: a data frame, or else an index block.
type task struct {
	slot   *slot
	number int64 // of the data frame
	tar    int64 // offset of its first byte in the tar stream
	marked bool  // an entry begins in it

	block *indexBlock
	keep  int64 // the data frame of the entry still being written, or -1

	stored bool   // the frame is stored as it is; out is not used
	out    []byte // compressed
	done   chan struct{}

	weigh           bool // it is compressed both ways, to compare
	quick, thorough int  // what came out of that; 0: it was not
	expect          int  // about what the quick way makes of it, or 0 where it is not tried
}

func newPipeline(w io.Writer, budget *Budget, encoder encoders) *pipeline {
	maxSlots := max(budget.workers+2, ownSlots)
	p := &pipeline{
		w: w, budget: budget, encoder: encoder,
		slots: make(chan *slot, maxSlots), maxSlots: maxSlots,
		work: make(chan *task, maxSlots), order: make(chan *task, maxSlots),
		stopped: make(chan struct{}),
		marked:  make(map[int64]frameRef),
	}
	for range budget.workers {
		p.workers.Go(p.compress)
	}
	p.emitter.Go(p.emit)
	return p
}

// fail records the first failure; everything waiting wakes up.
func (p *pipeline) fail(err error) {
	p.failing.Do(func() {
		p.err = err
		close(p.stopped)
	})
}

// failure is the first failure, nil while there is none.
func (p *pipeline) failure() error {
	select {
	case <-p.stopped:
		return p.err
	default:
		return nil
	}
}

// slot waits for a free slot. At least one of the archive's own is always on
// its way through the pipeline, so that the wait ends.
func (p *pipeline) slot(ctx context.Context) (*slot, error) {
	if err := p.failure(); err != nil {
		return nil, err
	}
	select {
	case s := <-p.slots:
		return s, nil
	default:
	}
	if s := p.grow(); s != nil {
		return s, nil
	}
	select {
	case s := <-p.slots:
		return s, nil
	case <-p.stopped:
		return nil, p.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (p *pipeline) grow() *slot {
	if p.owned >= p.maxSlots {
		return nil
	}
	if p.owned < ownSlots {
		p.owned++
		return p.budget.ownSlot()
	}
	s := p.budget.extraSlot()
	if s != nil {
		p.owned++
		p.lent++
	}
	return s
}

// put hands a task to the workers and to the emitter.
func (p *pipeline) put(ctx context.Context, t *task) error {
	t.done = make(chan struct{})
	for _, queue := range []chan *task{p.order, p.work} {
		select {
		case queue <- t:
		case <-ctx.Done():
			// In one queue but not in the other: the archive is over.
			p.fail(context.Cause(ctx))
			close(t.done)
			return context.Cause(ctx)
		}
	}
	return nil
}

func (p *pipeline) compress() {
	look := new(prober)
	for t := range p.work {
		if p.failure() == nil {
			t.encode(p.encoder, look)
		}
		close(t.done)
	}
}

func (t *task) encode(enc encoders, look *prober) {
	if t.block != nil {
		t.out = enc.thorough.EncodeAll(t.block.raw, nil)
		return
	}
	if t.stored = look.incompressible(t.slot.in, enc.thorough); t.stored {
		return
	}
	t.slot.out = enc.encode(t)
	t.out = t.slot.out
}

// length is the frame's, as it is written.
func (t *task) length() int {
	if t.stored {
		return int(storedFrame(int64(len(t.slot.in))))
	}
	return len(t.out)
}

func (p *pipeline) emit() {
	for t := range p.order {
		<-t.done
		if p.failure() == nil {
			if err := p.emitTask(t); err != nil {
				p.fail(err)
			}
		}
		if t.slot != nil {
			t.slot.in = t.slot.in[:0]
			p.slots <- t.slot // never blocks: there is room for every slot
		}
	}
}

func (p *pipeline) emitTask(t *task) error {
	if t.block != nil {
		return p.emitIndex(t)
	}
	if t.marked {
		p.marked[t.number] = frameRef{
			offset: p.offset, tar: t.tar, length: int64(t.length()), plain: int64(len(t.slot.in)),
		}
	}
	if !t.stored {
		return p.writeFrame(t.out, len(t.slot.in))
	}
	if err := writeStoredFrame(p.w, t.slot.in); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	p.wrote(t.length(), len(t.slot.in))
	return nil
}

// emitIndex completes an index block with the places of its frames, all of
// which have been written by now.
func (p *pipeline) emitIndex(t *task) error {
	frames := make([]frameRef, len(t.block.frames))
	for i, number := range t.block.frames {
		frames[i] = p.marked[number]
	}
	for number := range p.marked {
		if number != t.keep {
			delete(p.marked, number)
		}
	}
	p.packed = appendIndexFrame(p.packed[:0], t.block.count, frames, t.out)
	p.blocks = append(p.blocks, blockRef{
		offset: p.offset, length: int64(len(p.packed)), count: int64(t.block.count), first: t.block.first,
	})
	return p.writeFrame(p.packed, 0)
}

func (p *pipeline) writeFrame(frame []byte, plain int) error {
	if _, err := p.w.Write(frame); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	p.wrote(len(frame), plain)
	return nil
}

func (p *pipeline) wrote(length, plain int) {
	p.offset += int64(length)
	p.table.add(length, plain)
}

// drain ends the goroutines and gives the memory back. The caller puts no more.
func (p *pipeline) drain() error {
	close(p.work)
	close(p.order)
	p.workers.Wait()
	p.emitter.Wait()
	close(p.slots)
	var slots []*slot
	for s := range p.slots {
		slots = append(slots, s)
	}
	p.budget.putSlots(slots, p.lent)
	return p.failure()
}

// finish writes directory and seek table behind the last frame.
func (p *pipeline) finish(tarSize, entries int64) error {
	dir := directory{blocks: p.blocks, tarSize: tarSize, entries: entries}
	frame, err := appendDirectory(nil, &dir, p.encoder.thorough)
	if err != nil {
		return err
	}
	if err := p.writeFrame(frame, 0); err != nil {
		return err
	}
	if err := p.table.writeTo(p.w); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}
