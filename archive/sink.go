package archive

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"io"
)

// sink counts and hashes the sealed bytes on their way out.
type sink struct {
	w    io.Writer
	hash hash.Hash
	size int64
}

func newSink(w io.Writer) *sink { return &sink{w: w, hash: sha256.New()} }

func (s *sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	s.hash.Write(p[:n])
	s.size += int64(n)
	return n, err
}

func (s *sink) sum() string { return hex.EncodeToString(s.hash.Sum(nil)) }
