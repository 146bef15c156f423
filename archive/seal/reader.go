package seal

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"filippo.io/age"
)

// age reports a failing source and a forged chunk alike as plain errors. The
// types here remember what the source itself said, so that a disk's error is
// never shown as a damaged artifact, nor the other way round.

type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

type plainReader struct {
	plain  io.Reader
	source *sourceReader
}

func (r *plainReader) Read(p []byte) (int, error) {
	n, err := r.plain.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	return n, readError(err, r.source.err)
}

type sourceReaderAt struct {
	r  io.ReaderAt
	mu sync.Mutex
	e  error
}

func (s *sourceReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.mu.Lock()
		s.e = err
		s.mu.Unlock()
	}
	return n, err
}

func (s *sourceReaderAt) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.e
}

type plainReaderAt struct {
	plain  io.ReaderAt
	source *sourceReaderAt
	size   int64
}

// ReadAt implements io.ReaderAt; age's own refuses an offset past the end
// with an error that is not io.EOF.
func (r *plainReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off >= r.size {
		return 0, io.EOF
	}
	n, err := r.plain.ReadAt(p, off)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF) && n == len(p):
		return n, nil
	case errors.Is(err, io.EOF) && off+int64(n) == r.size:
		return n, io.EOF
	}
	return n, readError(err, r.source.failure())
}

func checkIntro(head []byte, err error) error {
	if string(head) == intro {
		return nil
	}
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read sealed data: %w", err)
	}
	return ErrNotSealed
}

// openError tells what a failure to open means.
func openError(err, source error) error {
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok {
		return ErrWrongIdentity
	}
	return readError(err, source)
}

func readError(err, source error) error {
	if source != nil {
		return fmt.Errorf("read sealed data: %w", source)
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, err)
}
