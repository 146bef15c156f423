package archive

import (
	"crypto/sha256"
	"sync"
)

// sumPieces is how many pieces may wait for an asyncSum.
const sumPieces = 8

// asyncSum hashes in another goroutine what one reads.
type asyncSum struct {
	work    chan framePiece
	running sync.WaitGroup
	sum     [sha256.Size]byte
}

// framePiece is content in the frame that it came in.
type framePiece struct {
	content []byte
	frame   *decoding // lent
}

func startSum() *asyncSum {
	s := &asyncSum{work: make(chan framePiece, sumPieces)}
	s.running.Go(s.run)
	return s
}

func (s *asyncSum) run() {
	h := sha256.New()
	for p := range s.work {
		h.Write(p.content)
		p.frame.giveBack()
	}
	h.Sum(s.sum[:0])
}

// add takes the next piece, which nobody may change until its frame is given
// back.
func (s *asyncSum) add(content []byte, frame *decoding) {
	frame.lend()
	s.work <- framePiece{content, frame}
}

// finish waits and gives the hash. It is called once, in any case.
func (s *asyncSum) finish() [sha256.Size]byte {
	close(s.work)
	s.running.Wait()
	return s.sum
}
