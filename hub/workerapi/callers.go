package workerapi

import (
	"sync"

	"xvault/internal/secret"
	"xvault/store/catalog"
)

// maxCallers bounds the tokens that are remembered.
const maxCallers = 4096

// callers remembers whose token it was that was looked up. It proves nothing:
// a worker may have started anew or been removed since, in another hub too. It
// spares the look-up to calls that the catalog judges by the token anyway.
type callers struct {
	mu    sync.RWMutex
	known map[catalog.TokenHash]catalog.Worker
}

func (c *callers) recall(token secret.Text) (catalog.Worker, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	worker, ok := c.known[catalog.HashToken(token)]
	return worker, ok
}

func (c *callers) remember(token secret.Text, worker catalog.Worker) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxCallers {
		c.known = map[catalog.TokenHash]catalog.Worker{} // those at work come back with their next call
	}
	c.known[catalog.HashToken(token)] = worker
}

func (c *callers) forget(token secret.Text) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.known, catalog.HashToken(token))
}
