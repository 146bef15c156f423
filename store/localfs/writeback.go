package localfs

import (
	"os"

	"golang.org/x/sys/unix"
)

// writebackEvery is after how many bytes the kernel is asked to begin writing:
// the fsync at the end then has little left to do.
const writebackEvery = 16 << 20

// writeback asks the kernel to begin writing a file that grows. It has a goroutine of
// its own, as asking waits where the queue of the disk is full, for 100 to 200 ms now and
// then, in which whoever writes the file would do nothing.
type writeback struct {
	file  *os.File
	size  chan int64 // up to where; holds the newest, while the one before is asked for
	ended chan struct{}
	asked int64
}

// grown is called with the size of the file after each write to it.
func (w *writeback) grown(size int64) {
	if size-w.asked < writebackEvery {
		return
	}
	if w.size == nil {
		w.size, w.ended = make(chan int64, 1), make(chan struct{})
		go w.run()
	}
	select {
	case w.size <- size:
		w.asked = size
	default: // the disk is behind: it is asked for with what comes next
	}
}

// run gives hints: whatever goes wrong shows at fsync.
func (w *writeback) run() {
	defer close(w.ended)
	from := int64(0)
	for to := range w.size {
		_ = unix.SyncFileRange(int(w.file.Fd()), from, to-from, unix.SYNC_FILE_RANGE_WRITE)
		from = to
	}
}

// stop waits until the file is no longer used. It may be called twice.
func (w *writeback) stop() {
	if w.size != nil {
		close(w.size)
		<-w.ended
		w.size = nil
	}
}
