package archive

import (
	"crypto/sha256"
	"sync"
)

// sumBuffers is how many buffers go round between a reader and an asyncSum.
const sumBuffers = 3

// asyncSum hashes what one goroutine reads in another. A buffer is the reader's
// from buffer until add.
type asyncSum struct {
	free    chan []byte
	work    chan []byte
	running sync.WaitGroup
	sum     [sha256.Size]byte
}

// startSum divides memory into the buffers.
func startSum(memory []byte) *asyncSum {
	s := &asyncSum{free: make(chan []byte, sumBuffers), work: make(chan []byte, sumBuffers)}
	size := len(memory) / sumBuffers
	for i := range sumBuffers {
		s.free <- memory[i*size : (i+1)*size : (i+1)*size]
	}
	s.running.Go(s.run)
	return s
}

func (s *asyncSum) run() {
	h := sha256.New()
	for b := range s.work {
		h.Write(b)
		s.free <- b[:cap(b)] // there is always room
	}
	h.Sum(s.sum[:0])
}

// buffer waits for a buffer.
func (s *asyncSum) buffer() []byte { return <-s.free }

// add hashes the first bytes of the buffer that buffer gave last.
func (s *asyncSum) add(b []byte) { s.work <- b }

// finish waits and gives the hash. It is called once, in any case.
func (s *asyncSum) finish() [sha256.Size]byte {
	close(s.work)
	s.running.Wait()
	return s.sum
}
