package dumptool

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"syscall"
)

// feedBuffer is as much as a pipe takes at once.
const feedBuffer = 64 << 10

// feed copies a body to a program's standard input. The program sees the end of its
// input only if the body ended well; otherwise it is killed first.
type feed struct {
	from io.Reader
	to   *os.File
	done chan struct{}
	err  error       // of the body; set before done is closed
	rest atomic.Bool // the program did not take everything
}

// newFeed gives the program's end of the pipe.
func newFeed(from io.Reader) (*os.File, *feed, error) {
	stdin, to, err := newPipe()
	if err != nil {
		return nil, nil, err
	}
	return stdin, &feed{from: from, to: to, done: make(chan struct{})}, nil
}

func (f *feed) run(kill func()) {
	go func() {
		defer close(f.done)
		if f.err = f.copy(); f.err != nil {
			kill()
		}
		// What was written is taken or not; the program's end tells.
		_ = f.to.Close()
	}()
}

func (f *feed) copy() error {
	buf := make([]byte, feedBuffer)
	for {
		n, err := f.from.Read(buf)
		if n > 0 {
			if _, broken := f.to.Write(buf[:n]); broken != nil {
				f.rest.Store(true)
				if errors.Is(broken, syscall.EPIPE) {
					return nil // how the program ended says why
				}
				return broken
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// wait waits for the end of the copying, and gives the body's error. A body that
// blocks for ever is waited for: whoever made it ends it.
func (f *feed) wait() error {
	<-f.done
	return f.err
}

// left reports whether the program ended without having taken everything.
func (f *feed) left() bool { return f.rest.Load() }
