package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// SelfHashing is a destination that hashes what it is given, as storages do. A
// Writer takes its word rather than hash the whole artifact a second time.
type SelfHashing interface {
	io.Writer
	// SHA256 is the hash of all that was written so far.
	SHA256() [sha256.Size]byte
}

// sink counts and hashes the sealed bytes on their way out.
type sink struct {
	w    io.Writer
	hash hash.Hash   // nil where w hashes
	self SelfHashing // nil where it does not
	size int64
}

func newSink(w io.Writer) *sink {
	if self, ok := w.(SelfHashing); ok {
		return &sink{w: w, self: self}
	}
	return &sink{w: w, hash: sha256.New()}
}

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if s.hash != nil {
		s.hash.Write(p[:n])
	}
	s.size += int64(n)
	return n, err
}

func (s *sink) sum() string {
	if s.self != nil {
		sum := s.self.SHA256()
		return hex.EncodeToString(sum[:])
	}
	return hex.EncodeToString(s.hash.Sum(nil))
}
