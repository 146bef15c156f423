package sshconn

import (
	"sync/atomic"
	"time"
)

// distance is the shortest time from something that was said to the next that was heard, from
// the question how to log in on: from there each side waits for the other, so that it is a
// round trip and what the server takes for an answer. Times are ages of the connection.
type distance struct {
	before atomic.Int64 // how much is said before that
	ended  atomic.Bool
	said   atomic.Int64 // when; 0: what was said last has been answered, or does not count
	least  atomic.Int64 // 0: nothing was
}

// beforeLogin is what a client says once it has accepted the host key: that it uses the new
// keys, and that it wants to log in. What comes then may be what the server said before it
// heard that: its own new keys and what it can do.
const beforeLogin = 2

// start is called when the host key is accepted.
func (d *distance) start() { d.before.Store(beforeLogin + 1) }
func (d *distance) stop()  { d.ended.Store(true) }

func (d *distance) saying(now time.Duration) {
	switch n := d.before.Load(); {
	case n == 0 || d.ended.Load(): // not started, or over
	case n > 1:
		d.before.Store(n - 1)
	default:
		d.said.Store(int64(now))
	}
}

func (d *distance) heard(now time.Duration) {
	if d.ended.Load() {
		return
	}
	said := d.said.Swap(0)
	if took := int64(now) - said; said > 0 && (d.least.Load() == 0 || took < d.least.Load()) {
		d.least.Store(took)
	}
}
