package sshconn

import (
	"sync/atomic"
	"time"
)

// distance is the shortest time from something that was said to the next that was heard,
// since start was called. In a login, where each side waits for the other, that is a round
// trip and what the server takes for an answer. Times are ages of the connection.
type distance struct {
	started atomic.Bool
	said    atomic.Int64 // when; 0: what was said last has been answered
	least   atomic.Int64 // 0: nothing was
}

func (d *distance) start() { d.started.Store(true) }
func (d *distance) stop()  { d.started.Store(false) }

func (d *distance) saying(now time.Duration) {
	if d.started.Load() {
		d.said.Store(int64(now))
	}
}

func (d *distance) heard(now time.Duration) {
	if !d.started.Load() {
		return
	}
	said := d.said.Swap(0)
	if took := int64(now) - said; said > 0 && (d.least.Load() == 0 || took < d.least.Load()) {
		d.least.Store(took)
	}
}
