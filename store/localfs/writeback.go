package localfs

import (
	"errors"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// syncEvery is after how many bytes what was written is made durable, while more is
// written. The fsync at the end has little left to do then: neither to write, nor, which
// takes as long, to have the disk empty its cache.
const syncEvery = 16 << 20

// writeback makes a file durable while it grows, and gives back the memory in which the
// kernel keeps what is durable: nobody reads it soon, and what is written next takes the
// same memory, where new one would have to be had, on a virtual machine from its host. It
// has a goroutine of its own, as that takes its time, in which whoever writes the file
// would do nothing.
type writeback struct {
	file  *os.File
	asked int64
	size  atomic.Int64 // when it was asked last
	more  chan struct{}
	ended chan struct{}
	err   atomic.Pointer[error] // the first failure
}

// grown is called with the size of the file after each write to it, or what it will be once
// that has been written. It gives what went wrong with earlier ones.
func (w *writeback) grown(size int64) error {
	if size-w.asked < syncEvery {
		return w.failure()
	}
	w.asked = size
	w.size.Store(size)
	if w.more == nil {
		w.more, w.ended = make(chan struct{}, 1), make(chan struct{})
		go w.run()
	}
	select {
	case w.more <- struct{}{}:
	default: // it is as far behind as that already
	}
	return w.failure()
}

func (w *writeback) failure() error {
	if err := w.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (w *writeback) run() {
	defer close(w.ended)
	given := int64(0)
	for range w.more {
		size := w.size.Load()
		var err error = unix.EINTR
		for errors.Is(err, unix.EINTR) {
			err = unix.Fdatasync(int(w.file.Fd()))
		}
		if err = os.NewSyscallError("fdatasync", err); err != nil {
			w.err.CompareAndSwap(nil, &err)
			continue
		}
		written := size - size%pieceSize
		_ = unix.Fadvise(int(w.file.Fd()), given, written-given, unix.FADV_DONTNEED) // takes more memory without, no more
		given = written
	}
}

// stop waits until the file is no longer used, and gives what went wrong: a kernel tells
// of each failure to write once, so that fsync may know nothing of it. What is being made
// durable is so before stop comes back. It may be called twice.
func (w *writeback) stop() error {
	if w.more != nil {
		close(w.more)
		<-w.ended
		w.more = nil
	}
	return w.failure()
}
