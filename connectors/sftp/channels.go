package sftp

import "sync"

// channels shares out those that OpenSSH allows on the first connection. Whoever opens
// some takes them before that, so that two who do so at once never count on the same
// ones, and gives back what the server refused and what has ended.
type channels struct {
	mu    sync.Mutex
	taken int
	kept  int // that lanes leave to tars, until those have taken theirs
}

// hold counts channels that are open or will be, whatever else there is.
func (c *channels) hold(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken += n
}

// keep has lanes leave so many to tars.
func (c *channels) keep(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = n
}

// forLanes takes up to n of those that lanes may have, and tells how many that are.
func (c *channels) forLanes(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(min(c.taken+n, sessions-c.kept))
}

// forTars takes up to n, and leaves the rest to lanes.
func (c *channels) forTars(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = 0
	return c.take(min(c.taken+n, sessions))
}

// take takes until so many are taken. Called with the lock held.
func (c *channels) take(upTo int) int {
	n := max(0, upTo-c.taken)
	c.taken += n
	return n
}

func (c *channels) giveBack(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.taken -= n
}
