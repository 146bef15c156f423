package localfs

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// writebackEvery is after how many bytes the kernel is asked to begin writing:
// the fsync at the end then has little left to do.
const writebackEvery = 16 << 20

// writeback asks the kernel to begin writing a file that grows. It has a goroutine of
// its own, as asking waits where the queue of the disk is full, for 100 to 200 ms now and
// then, in which whoever writes the file would do nothing.
type writeback struct {
	file    *os.File
	asked   int64
	size    atomic.Int64 // of the file
	more    chan struct{}
	ended   chan struct{}
	stopped atomic.Bool
}

// grown is called with the size of the file after each write to it.
func (w *writeback) grown(size int64) {
	if size-w.asked < writebackEvery {
		return
	}
	w.asked = size
	w.size.Store(size)
	if w.more == nil {
		w.more, w.ended = make(chan struct{}, 1), make(chan struct{})
		go w.run()
	}
	select {
	case w.more <- struct{}{}:
	default: // it has not come to the last yet
	}
}

// run gives hints: whatever goes wrong shows at fsync. They are small ones, for stop
// waits for one of them.
func (w *writeback) run() {
	defer close(w.ended)
	from := int64(0)
	for range w.more {
		for to := w.size.Load(); from < to && !w.stopped.Load(); to = w.size.Load() {
			n := min(to-from, writebackEvery)
			_ = unix.SyncFileRange(int(w.file.Fd()), from, n, unix.SYNC_FILE_RANGE_WRITE)
			from += n
		}
	}
}

// stop waits until the file is no longer used. It may be called twice.
func (w *writeback) stop() {
	if w.more != nil {
		w.stopped.Store(true)
		close(w.more)
		<-w.ended
		w.more = nil
	}
}
