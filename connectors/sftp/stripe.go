package sftp

import (
	"bytes"
	"slices"

	"xvault/connectors/sftp/wire"
)

// A large file is read through several lanes at once where there are several. The
// handle of each must be of the very file that the stream opened first: its size,
// time, mode and owner must be the same, and some of its content, because SFTP
// does not tell which file a handle is of. Where one is not, or anything goes
// wrong with the file, the stream goes on with its first handle alone.
const (
	// worthStriping is how much must be left to read.
	worthStriping = 4 << 20
	// sampleSize is how much is compared, at each of three places.
	sampleSize = 4 << 10
)

// stripe is one handle of a stream.
type stripe struct {
	lane    *lane
	handle  string
	opening *wire.Call // until that has told the handle
	guessed bool       // handle is read through before
	look    *wire.Call // until it is proven to be of the same file
	samples *samples
}

// samples are small pieces of a file.
type samples struct {
	calls [3]*wire.Call
	data  [3][sampleSize]byte
}

// sample reads the pieces of a file, which is larger than all of them.
func (s *stripe) sample(size int64) {
	s.samples = &samples{} // another that was asked for may still be written to
	for i, at := range [3]int64{0, size / 2, size - sampleSize} {
		s.samples.calls[i] = s.read(at, s.samples.data[i][:])
	}
}

// equal compares what came; false also where anything is missing.
func (s *samples) equal(o *samples) bool {
	for i := range s.calls {
		n, err := s.calls[i].Data()
		m, otherErr := o.calls[i].Data()
		if err != nil || otherErr != nil || n != sampleSize || m != n || !bytes.Equal(s.data[i][:], o.data[i][:]) {
			return false
		}
	}
	return true
}

func (s *stripe) read(at int64, into []byte) *wire.Call { return s.lane.Read(s.handle, at, into) }

// widen opens the file through the lanes that it is not read through yet, and
// tells how many handles there are to read through.
func (st *stream) widen() (open int) {
	all := st.r.s.all()
	if st.alone {
		return 1
	}
	if st.tried == 0 && st.r.s.near() { // where one brings all that there is
		st.unwant()
		return 1
	}
	if st.size-st.asked >= worthStriping {
		st.r.s.wanted.Store(&st.sl.path)
	} else {
		st.unwant()
	}
	if len(all) == 1 {
		return 1
	}
	for i, s := range st.stripes {
		if s != nil && s.opening != nil && (s.opening.Answered() || s.lane.gone.Load()) {
			s = st.opened(i)
		}
		if s.open() {
			open++
		}
	}
	if st.tried == len(all) || st.size-st.asked < worthStriping {
		return open
	}
	first := st.stripes[0]
	if st.tried == 0 {
		first.sample(st.size)
	}
	for _, l := range all[st.tried:] {
		if l == first.lane {
			continue
		}
		file := l.openOnce(st.r.s, st.sl.path)
		s := &stripe{lane: l, opening: file.call, guessed: file.guess != ""}
		st.stripes = append(st.stripes, s)
		if s.guessed {
			st.use(s, file.guess)
			open++
		}
	}
	st.tried = len(all)
	return open
}

// use asks what a handle is of, before anything is read through it. That is looked at
// before anything of it is given out.
func (st *stream) use(s *stripe, handle string) {
	s.handle, s.look = handle, s.lane.Fstat(handle)
	s.sample(st.size)
}

// opened takes the handle of the ith stripe into use; it gives nil where there is none.
// What was asked for through a handle that was guessed wrong is asked for again.
func (st *stream) opened(i int) *stripe {
	s := st.stripes[i]
	if s.lane.gone.Load() && !s.opening.Answered() {
		return st.without(i)
	}
	handle, err := s.opening.Handle()
	if err != nil {
		return st.without(i) // a lost connection shows elsewhere
	}
	s.opening = nil
	if !s.guessed || handle != s.handle {
		if s.guessed {
			st.r.s.misguessed.Store(true)
		}
		st.use(s, handle)
		st.askAgain(s, s)
	}
	if st.end != nil {
		st.end = append(st.end, s.lane.Fstat(handle))
	}
	return s
}

// without goes on without the ith stripe.
func (st *stream) without(i int) *stripe {
	s := st.stripes[i]
	st.stripes[i] = nil
	st.askAgain(s, nil)
	st.end = nil // what is asked for only now must lie before the last looks
	return nil
}

// askAgain asks for everything that was asked for through a stripe through another, or
// through whichever has the least to do, where that is nil. A buffer that an answer may
// still be written to is left to that.
func (st *stream) askAgain(s, through *stripe) {
	for i, old := range st.pending {
		if old.from != s {
			continue
		}
		s.lane.load.Add(-int64(len(old.buf)))
		if old.call.Answered() {
			st.r.recycle(old.buf)
		}
		from := through
		if from == nil {
			from = st.lightest()
		}
		buf := make([]byte, len(old.buf))
		from.lane.load.Add(int64(len(buf)))
		st.pending[i] = span{from.read(old.at, buf), buf, old.at, from}
	}
}

// proven reports whether a handle is of the same file as the first.
func (st *stream) proven(s *stripe) bool {
	if s.look == nil {
		return true
	}
	now, err := s.look.Attrs()
	if err != nil || now != st.found || !s.samples.equal(st.stripes[0].samples) {
		return false
	}
	s.look = nil
	return true
}

// widening reports whether there will be more handles in a moment.
func (st *stream) widening() bool {
	return slices.ContainsFunc(st.stripes, func(s *stripe) bool { return s != nil && s.opening != nil })
}

// open reports whether a handle is read through.
func (s *stripe) open() bool { return s != nil && (s.opening == nil || s.guessed) }

// lightest gives the handle whose lane has the least to do.
func (st *stream) lightest() *stripe {
	best := st.stripes[0]
	for _, s := range st.stripes[1:] {
		if s.open() && !s.lane.gone.Load() && s.lane.load.Load() < best.lane.load.Load() {
			best = s
		}
	}
	return best
}

// unwant says that no more lanes are wanted for this file, and closes what was opened
// for it and is not used; before its turn, whoever has the next one does that.
func (st *stream) unwant() {
	if !st.r.s.wanted.CompareAndSwap(&st.sl.path, nil) || !st.turn {
		return
	}
	for _, l := range st.r.s.all() {
		l.closeFirst(st.r.s)
	}
}

// goAlone gives all handles but the first back. Reads through them were dropped.
func (st *stream) goAlone() {
	st.alone = true
	st.unwant()
	for _, s := range st.stripes[1:] {
		if s != nil {
			st.closeStripe(s)
		}
	}
	st.stripes = st.stripes[:1]
}

// closeStripe closes a handle, also one that is still being opened.
func (st *stream) closeStripe(s *stripe) {
	if s.opening == nil {
		s.lane.CloseHandle(s.handle)
		return
	}
	st.r.s.running.Go(func() { // a lane may be one whose server never says anything
		if handle, err := s.opening.Handle(); err == nil {
			s.lane.CloseHandle(handle)
		}
	})
}
