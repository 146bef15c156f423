package localfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncEvery is after how many bytes what was written is made durable, while more is
// written. The fsync at the end has little left to do then: neither to write, nor, which
// takes as long, to have the disk empty its cache.
const syncEvery = 32 << 20

// writeback makes a file durable while it grows. It has a goroutine of its own, as that
// takes its time, in which whoever writes the file would do nothing.
type writeback struct {
	file  *os.File
	asked int64
	more  chan struct{}
	ended chan struct{}
	err   error // the first failure; of run until that has ended
}

// grown is called with the size of the file after each write to it.
func (w *writeback) grown(size int64) {
	if size-w.asked < syncEvery {
		return
	}
	w.asked = size
	if w.more == nil {
		w.more, w.ended = make(chan struct{}, 1), make(chan struct{})
		go w.run()
	}
	select {
	case w.more <- struct{}{}:
	default: // it is as far behind as that already
	}
}

func (w *writeback) run() {
	defer close(w.ended)
	for range w.more {
		for w.err == nil {
			err := unix.Fdatasync(int(w.file.Fd()))
			if errors.Is(err, unix.EINTR) {
				continue
			}
			w.err = err
			break
		}
	}
}

// stop waits until the file is no longer used, and gives what went wrong: a kernel tells
// of each failure to write once, so that fsync may know nothing of it. It may be called
// twice.
func (w *writeback) stop() error {
	if w.more != nil {
		close(w.more)
		<-w.ended
		w.more = nil
	}
	return os.NewSyscallError("fdatasync", w.err)
}
