package archive

import (
	"github.com/klauspost/compress/zstd"

	"xvault/internal/entry"
)

// Databases are full of keys, hashes and tokens, in which there is little to be found
// however long one searches: the fastest level then makes frames as small as the
// default one does, in a third of the time. Samples do not show that, for what counts
// may be a copy a megabyte away. So of a long member a frame is compressed both ways
// now and then, and where the longer search gained next to nothing those that follow
// do without it. One of them that comes out different from the one that was weighed
// is other content, and is searched after all.
//
// All of it depends on the entries alone: when a verdict takes effect is counted in
// frames, however fast the cores are.

const (
	// longMember is the content that a member must have, where that is known.
	longMember = 128 << 20
	// weighFirst is the first frame that is weighed, weighEvery how many frames lie between that
	// and the next, and weighSeldom where the search proves its worth again and again.
	weighFirst  = 4
	weighEvery  = 32
	weighSeldom = 8 * weighEvery
	// weighLag is after how many frames a verdict takes effect. It has to be in by
	// then; with fewer cores than that nothing waits for it.
	weighLag = 8

	// maxQuick is how many frames are compressed at the fastest level at once, whatever
	// the cores: that is as fast as any source, and each takes a frame's worth of memory.
	maxQuick = 4

	// maxLoss is the part of a frame's compressed size that the search must gain to
	// be made: 1/maxLoss.
	maxLoss = 200
	// maxDrift is the part by which the size of a frame may differ from that of the
	// one that was weighed: 1/maxDrift.
	maxDrift = 16
)

// encoders are the two ways to compress a frame. There is no quick one where a level
// was asked for that is not the default.
type encoders struct {
	thorough, quick *zstd.Encoder
}

// encoders gives those for a level, which all archives share. One that is not used
// takes no memory.
func (b *Budget) encoders(level zstd.EncoderLevel) (encoders, error) {
	thorough, err := b.encoder(level)
	if err != nil || level != zstd.SpeedDefault {
		return encoders{thorough: thorough}, err
	}
	quick, err := b.encoder(zstd.SpeedFastest)
	return encoders{thorough, quick}, err
}

// encode compresses a task's frame.
func (e encoders) encode(t *task) []byte {
	if t.slot.out == nil {
		t.slot.out = make([]byte, 0, MaxFrame/4)
	}
	in, out := t.slot.in, t.slot.out[:0]
	switch {
	case e.quick == nil:
	case t.weigh:
		t.quick = len(e.quick.EncodeAll(in, out))
		out = e.thorough.EncodeAll(in, out)
		t.thorough = len(out)
		return out
	case t.expect > 0:
		quick := e.quick.EncodeAll(in, out)
		if alike(len(quick), t.expect) {
			return quick
		}
		out = quick[:0]
	}
	return e.thorough.EncodeAll(in, out)
}

func alike(a, b int) bool { return max(a, b)-min(a, b) <= b/maxDrift }

// effort decides how the frames of a member are compressed. It belongs to the one
// goroutine that puts frames in.
type effort struct {
	long    bool  // the member is worth weighing
	frames  int   // of it so far, without the one that it begins in
	weighed *task // the verdict of which is to come
	at      int   // number of the frame that is or was weighed last, or is next
	gap     int
	expect  int // size of the weighed frame where quick is good enough, or 0
}

// begin notes a new member. Its size may be unknown.
func (e *effort) begin(size int64) {
	*e = effort{long: size == entry.SizeUnknown || size >= longMember, at: weighFirst, gap: weighEvery}
}

// next says how a frame is to be compressed.
func (e *effort) next(t *task) {
	if !e.long || t.marked || len(t.slot.in) < MaxFrame {
		return
	}
	if e.weighed != nil && e.frames == e.at+weighLag {
		e.judge()
	}
	t.expect = e.expect
	if e.weighed == nil && e.frames == e.at {
		t.weigh, e.weighed = true, t
	}
	e.frames++
}

// judge waits for the verdict.
func (e *effort) judge() {
	<-e.weighed.done
	quick, thorough := e.weighed.quick, e.weighed.thorough
	e.weighed, e.expect = nil, 0
	if quick > 0 && quick <= thorough+thorough/maxLoss {
		e.expect, e.gap = quick, weighEvery
	} else {
		e.gap = min(2*e.gap, weighSeldom)
	}
	e.at += e.gap
}
