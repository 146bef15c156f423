package restoring

import (
	"errors"
	"io"
)

// BodyError is the archive's own, met while an entry was written.
type BodyError struct{ Err error }

func (e BodyError) Error() string { return e.Err.Error() }

func (e BodyError) Unwrap() error { return e.Err }

// ReadWhole fills data and makes sure that the content ends there, as it should.
func ReadWhole(body io.Reader, data []byte) error {
	if body == nil {
		body = eof{}
	}
	if _, err := io.ReadFull(body, data); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	return AtEnd(body)
}

// AtEnd reads the end of a body, which is what proves its content.
func AtEnd(body io.Reader) error {
	var more [1]byte
	for range 100 {
		n, err := body.Read(more[:])
		switch {
		case n > 0:
			return errors.New("a file in the archive is longer than announced")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
	return io.ErrNoProgress
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
