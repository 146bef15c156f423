package archive

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// readSize is how much of the sealed data is read at once.
const readSize = 256 << 10

// streamSize is the same where frame after frame is read. age takes new memory for
// every read, which costs more than the read where it was never used before.
const streamSize = 1 << 20

func newBuffered(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, readSize) }

// readAtFull fills b.
func readAtFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: it ends too early", ErrCorrupt)
	}
	return err
}
