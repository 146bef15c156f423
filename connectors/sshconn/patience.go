package sshconn

import "time"

// Patience tells for how long a server has owed answers without the time in which
// a limit on bandwidth kept this side from hearing them. It is asked now and
// then, by one goroutine; the zero value is ready.
type Patience struct {
	last time.Duration // what was told the last time
	base time.Duration // what had been held back when the wait at hand was first seen
}

// Lasted turns the time for which nothing was heard, and what the connection was
// held back so far, into the time that counts.
func (p *Patience) Lasted(silent, held time.Duration) time.Duration {
	if silent <= p.last || p.last == 0 {
		p.base = held // it is another wait than the last time
	}
	p.last = silent
	return max(0, silent-(held-p.base))
}
