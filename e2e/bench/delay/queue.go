package delay

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// piece is what came at once.
type piece struct {
	n    int // bytes; 0: the last piece of its pipe, or the end
	due  time.Time
	from *pipe
}

// queue is what is under way in one direction. The bytes stay in the kernel: they are
// never copied, so that a line costs those who are measured as little of their
// processors as it can.
type queue struct {
	open  time.Time // when the first byte can be sent
	delay time.Duration

	mu     sync.Mutex
	change sync.Cond
	pieces []piece
	held   int64
	limit  int64
	ended  bool // the sender has closed
	broken bool // nobody takes anything any more
	spare  []*pipe
	all    []*pipe
}

func newQueue(limit int64, open time.Time, delay time.Duration) *queue {
	q := &queue{limit: limit, open: open, delay: delay}
	q.change.L = &q.mu
	return q
}

// close gives the pipes back; nobody may use the queue any more.
func (q *queue) close() {
	for _, p := range q.all {
		p.close()
	}
}

// fill takes what a sender sends until it ends.
func (q *queue) fill(from socket) {
	p, err := q.pipe()
	for err == nil {
		var n int
		n, err = from.into(p)
		switch {
		case err != nil:
		case n == 0:
			q.end()
			return
		case n == full:
			q.add(piece{from: p}, 0)
			p, err = q.pipe()
		case !q.put(p, n):
			return
		}
	}
	q.end()
}

// pipe gives an empty pipe.
func (q *queue) pipe() (*pipe, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := len(q.spare); n > 0 {
		p := q.spare[n-1]
		q.spare = q.spare[:n-1]
		return p, nil
	}
	p, err := newPipe()
	if err == nil {
		q.all = append(q.all, p)
	}
	return p, err
}

// put waits for room; false means that nobody takes it.
func (q *queue) put(p *pipe, n int) bool {
	if !q.add(piece{n: n, due: q.due(), from: p}, int64(n)) {
		return false
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.held >= q.limit && !q.broken {
		q.change.Wait()
	}
	return !q.broken
}

func (q *queue) add(p piece, held int64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pieces = append(q.pieces, p)
	q.held += held
	q.change.Broadcast()
	return !q.broken
}

// due is when what is sent now arrives.
func (q *queue) due() time.Time {
	sent := time.Now()
	if sent.Before(q.open) {
		sent = q.open
	}
	return sent.Add(q.delay)
}

// end says that no more comes; the end takes as long as a byte.
func (q *queue) end() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.pieces = append(q.pieces, piece{due: q.due()})
	q.ended = true
	q.change.Broadcast()
}

// abandon lets fill come back.
func (q *queue) abandon() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.broken = true
	q.change.Broadcast()
}

// drain passes every piece on when it is due. It reports whether it came to the
// sender's end.
func (q *queue) drain(to socket) bool {
	clock, err := newAlarm()
	if err != nil {
		return false
	}
	defer func() { _ = clock.file.Close() }()
	for {
		next, ok := q.take()
		if !ok {
			return true
		}
		if err := clock.wait(next.due); err != nil {
			return false
		}
		if next.n == 0 {
			q.reuse(next.from)
			continue
		}
		// What is due by now goes with it.
		next.n += q.takeDue(next.from)
		if err := to.outOf(next.from, next.n); err != nil {
			return false
		}
		q.done(next.n)
	}
}

// take gives the next piece; false after the end.
func (q *queue) take() (piece, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pieces) == 0 {
		if q.ended {
			return piece{}, false
		}
		q.change.Wait()
	}
	p := q.pieces[0]
	q.pieces = q.pieces[1:]
	return p, true
}

// takeDue takes the pieces that are due in the same pipe, and tells how many bytes
// they are.
func (q *queue) takeDue(from *pipe) (n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	for len(q.pieces) > 0 && q.pieces[0].from == from && q.pieces[0].n > 0 && !q.pieces[0].due.After(now) {
		n += q.pieces[0].n
		q.pieces = q.pieces[1:]
	}
	return n
}

func (q *queue) done(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held -= int64(n)
	q.change.Broadcast()
}

// reuse takes back a pipe that is empty; nil is none.
func (q *queue) reuse(p *pipe) {
	if p == nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = append(q.spare, p)
}

// alarm wakes a goroutine when the kernel's clock says so, because a runtime that is idle
// rounds its own timers to a millisecond. Waiting for it keeps no thread, so that the
// runtime need not look after one.
type alarm struct {
	file *os.File
	raw  syscall.RawConn
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("delaying proxy: make a timer: %w", err)
	}
	f := os.NewFile(uintptr(fd), "timer")
	raw, err := f.SyscallConn()
	return &alarm{f, raw}, err
}

// wait until then.
func (a *alarm) wait(due time.Time) error {
	left := time.Until(due)
	if left <= 0 {
		return nil
	}
	var err error
	set := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(left))}
	if ctlErr := a.raw.Control(func(fd uintptr) { err = unix.TimerfdSettime(int(fd), 0, &set, nil) }); ctlErr != nil || err != nil {
		return errors.Join(ctlErr, err)
	}
	var expired [8]byte
	_, err = a.file.Read(expired[:])
	return err
}
